"""Play one cell: bring the fleet up, roll out, strike, and see what is left."""

from __future__ import annotations

import threading
import time

from lab import faketime
from lab.linux.host import LinuxHost
from lab.model import LabError
from tests.faults.faults import FAULTS, Fault, Scene
from tests.faults.ground import WINDOW, Controller, Ground, ended
from tests.faults.invariants import Evidence, check
from tests.faults.model import Cell, CellError, Command, Moment
from tests.faults.moments import Event, Follower, await_moment

LOOK = 0.05
"""Seconds between two looks at what the targets run."""


def play(ground: Ground, fault: str, moment: Moment, *, resume: bool) -> Cell:
    """One cell, from a whole fleet to the invariants.

    Arguments:
        resume: after a killed controller another one resumes; else it aborts.
    """
    cell = Cell(fault, moment)
    began = time.monotonic()
    try:
        ground.use_etcd(FAULTS[fault].etcd)
        _play(ground, cell, FAULTS[fault], moment, resume)
    except (CellError, LabError, OSError) as error:
        cell.error = str(error)
    finally:
        cell.took = time.monotonic() - began
    return cell


def _play(ground: Ground, cell: Cell, fault: Fault, moment: Moment, resume: bool) -> None:
    old, new = ground.settle()
    cell.wanted = new
    ground.another_release()
    scene, event = _until(ground, fault, moment, old, new)
    scene.victims = _victims(ground, event, fault.befalls)
    cell.hosts = [host.name for host in scene.victims]
    watch = Watch(ground)
    fault.strike(scene)
    struck = time.monotonic()
    lifter = threading.Timer(fault.lasts, fault.lift, [scene]) if fault.lasts is not None else None
    if lifter:
        lifter.start()
    try:
        evidence = _to_the_end(scene, fault, resume)
    finally:
        if lifter:
            lifter.join()
        else:
            fault.lift(scene)
    cell.verdicts = [command.verdict for command in evidence.commands]
    if evidence.rival:
        cell.verdicts.insert(0, f"second {evidence.rival.verdict}")
    for host in ground.targets:
        host.wait_up()
    ground.wait_idle(2 * WINDOW + 10)
    cell.versions = ground.versions()
    cell.seconds = watch.stop(struck)
    cell.problems = check(evidence)
    cell.said = [*(f"== {c.what}: {c.code}\n{c.output}" for c in evidence.commands)]
    if evidence.rival:
        cell.said.append(f"== {evidence.rival.what}: {evidence.rival.code}\n{evidence.rival.output}")
    cell.said += [
        path.read_text() for c in evidence.controllers for path in sorted(c.home.glob("runs/*/journal.jsonl"))
    ]


def _until(ground: Ground, fault: Fault, moment: Moment, old: str, new: str) -> tuple[Scene, Event]:
    """Start the rollout, and wait for the moment."""
    first, clock = ground.controller(), None
    if fault.clocked:
        clock = first.home / "clock"
        clock.write_text("+0\n")
        first.environment = faketime.environment(clock)
    run = first.start("rollout", version=new)
    scene = Scene(ground, first, run, old, new, [], clock=clock)
    try:
        event = await_moment(run, Follower(first.home), moment)
        if moment == "gate":
            _await_gate(ground, str(event["host"]), new)
    except CellError:
        run.kill()
        raise
    return scene, event


def _await_gate(ground: Ground, name: str, version: str) -> None:
    """The journal says that the target is told to switch; wait until it has and its gate has begun."""
    host, end = next(host for host in ground.targets if host.name == name), time.monotonic() + 10
    while ground.record(host).get("stage") != "gate" or ground.version(host) != version:
        if time.monotonic() > end:
            raise CellError(f"gate: {name} has not begun its gate: {ground.record(host).get('stage')}")
        time.sleep(0.005)


def _victims(ground: Ground, event: Event, count: int) -> list[LinuxHost]:
    """The target of the event comes first."""
    first = event.get("host") or ground.targets[0].name
    return sorted(ground.targets, key=lambda host: host.name != first)[:count]


def _to_the_end(scene: Scene, fault: Fault, resume: bool) -> Evidence:
    controllers = [scene.first, *([scene.rival_home] if scene.rival_home else [])]
    commands = [_ended(f"rollout {scene.new}", scene)]
    if fault.continues:
        second = scene.ground.controller()
        controllers.append(second)
        commands.append(_continue(scene, second, resume))
    rival = ended(f"second rollout {scene.old}", scene.rival) if scene.rival else None
    if rival is not None and rival.code == 0 and scene.rival_home and _came_after(scene.rival_home, scene.first):
        # the first one had ended when the second came to take the lease: two rollouts, one after the other
        scene.old, scene.new, rival = scene.new, scene.old, None
        commands.append(Command("second rollout", 0))
    reports = [one.report() for one in reversed(controllers) if rival is None or one is not scene.rival_home]
    return Evidence(
        ground=scene.ground,
        old=scene.old,
        new=scene.new,
        commands=commands,
        rival=rival,
        at_end=scene.ground.versions(),
        report=next((report for report in reports if report), {}),
        controllers=controllers,
    )


def _came_after(second: Controller, first: Controller) -> bool:
    """Whether a controller's run took its lease after the other's had ended."""
    taken = [event["at"] for event in _events(second) if event["event"] == "lease"]
    over = [event["at"] for event in _events(first) if event["event"] == "ended"]
    return bool(taken and over and min(taken) >= max(over))


def _events(controller: Controller) -> list[Event]:
    return list(Follower(controller.home).news())


def _ended(what: str, scene: Scene) -> Command:
    return ended(what, scene.run)


def _continue(scene: Scene, second: Controller, resume: bool) -> Command:
    """Another controller finishes what the dead one began, or takes it back: at once, while its windows still run."""
    run = scene.first.runs()[0].name
    how = {"resume": run} if resume else {"abort": run}
    return second.run("rollout", **how)


class Watch:
    """Look at what the targets run, and remember since when it is one version everywhere."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._since: float | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.is_set():
            one = len(set(self._ground.versions().values())) == 1
            if not one:
                self._since = None
            elif self._since is None:
                self._since = time.monotonic()
            self._end.wait(LOOK)

    def stop(self, struck: float) -> float | None:
        """Seconds from the fault until the fleet was on one version for good; None: it is not."""
        self._end.set()
        self._thread.join()
        return None if self._since is None else max(0.0, self._since - struck)
