"""`python -m bench.rollouts`: a bad release that goes back, a rollout whose controller dies, requests lost in a switch.

Linux targets only, no Windows host. The lab, the controllers and the moments are those of the fault matrix.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import show
from bench.model import BenchError, Figure, Findings, Goal
from lab.cache import step
from lab.lab import end
from lab.linux.host import LinuxHost
from lab.model import LabError
from tests.faults.ground import SERVICE, VERSIONS, WINDOW, Controller, Ground
from tests.faults.model import CellError, Command
from tests.faults.moments import Follower, await_moment
from tests.faults.play import Watch

RATE = 200.0
"""Requests per second, each on a new connection."""
PORT = 8080
MARKS = "<!-- rollouts: written by `make bench` -->", "<!-- end of rollouts -->"
ONE = {"canary": 0, "waves": [], "confirm_window": WINDOW, "lease_ttl": 6}
BAD = "v1.9.9"


def main() -> int:
    """Return 0 if every goal is met, 1 if one is missed, 2 if the measurement failed."""
    given = _arguments()
    findings, load = Findings(), os.getloadavg()[0]
    parts = {"back": going_back, "kill": controller_killed, "requests": requests_lost}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        try:
            ground = Ground.up(given.lab, Path(scratch), targets=given.targets, versions=(*VERSIONS, BAD))
            for name in given.part or parts:
                parts[name](ground, findings, given.rounds)
        except (BenchError, CellError, LabError) as error:
            print(f"bench: {error}", file=sys.stderr)
            return 2
        finally:
            end(given.lab)
    findings.about = show.about(load)
    name = "-".join((str(findings.about["date"])[:10], "rollouts", *(given.part or ())))
    path = show.RESULTS / f"{name}.json"
    path.write_text(json.dumps(findings.as_json(), indent=2) + "\n", encoding="utf-8")
    if not given.part:
        show.into_docs(findings, MARKS)
    Console(width=150).print(show.render(findings))
    print(f"stored in {path}")
    return 0 if all(goal.met for goal in findings.goals) else 1


def going_back(ground: Ground, findings: Findings, rounds: int) -> None:
    """Measure a release that turns unhealthy in the gate, one whose process dies there, and a bare restart."""
    host = ground.targets[0]
    plain: list[float] = []
    unhealthy: list[float] = []
    crashed: list[float] = []
    for number in range(rounds):
        with step(f"going back {number + 1}/{rounds}"):
            current, _ = ground.settle()
            plain.append(_restart(ground, host, current))
            unhealthy.append(_turns_unhealthy(ground, host, current))
            plain.append(_restart(ground, host, current))
            crashed.append(_dies(ground, host, current))
    restart = Figure("restart", "`systemctl restart` of the service until it answers", plain)
    back = Figure(
        "back-unhealthy", "from the first failed health check in the gate to the old release answering", unhealthy
    )
    dead = Figure("back-crash", "from the process's death in the gate to the old release answering", crashed)
    findings.figures += [restart, back, dead]
    for figure in (back, dead):
        peer = f"{figure.median:.2f} s, restart {restart.median:.2f} s"
        findings.goals.append(
            Goal(figure.key, f"{figure.what}, more than a restart", figure.median - restart.median, 1.0, "s", peer)
        )


def _restart(ground: Ground, host: LinuxHost, version: str) -> float:
    began = time.monotonic()
    host.run(f"systemctl restart {SERVICE}")
    _await_answer(ground, host, version)
    return time.monotonic() - began


def _await_answer(ground: Ground, host: LinuxHost, version: str) -> None:
    until = time.monotonic() + 30
    while ground.answer(host, 0.5) != f"ok {version}":
        if time.monotonic() > until:
            raise BenchError(f"{host.name}: {version} does not answer")
        time.sleep(0.002)


def _turns_unhealthy(ground: Ground, host: LinuxHost, old: str) -> float:
    """Measure from the first failed check (agent's time) to the old release's answer (our time; the same clock)."""
    flaps = {"HELLO_ADDR": f":{PORT}", "HELLO_FAULT": "flap", "HELLO_FAULT_AFTER": "600ms"}
    controller = _controller(ground, unit={"environment": flaps})
    answered = _Answers(ground, host, old)
    done = controller.run("rollout", version=BAD)
    back = answered.stop()
    record = ground.record(host)
    if (record.get("state"), record.get("cause")) != ("reverted", "unhealthy"):
        raise BenchError(
            f"{host.name}: expected a revert because it is unhealthy: {record.get('reason')}; {_end(done)}"
        )
    return back - _wall(str(record["started"])) - float(record["timings"]["failed"])


def _dies(ground: Ground, host: LinuxHost, old: str) -> float:
    controller = _controller(ground, health={"minimum_healthy": 3.0})
    run = controller.start("rollout", version=BAD)
    await_moment(run, Follower(controller.home), "gate")
    _await_answer(ground, host, BAD)
    time.sleep(0.3)
    answered = _Answers(ground, host, old)
    died = time.time()
    host.run(f"systemctl kill --signal=KILL {SERVICE}.service")
    run.end(60)
    back = answered.stop()
    if (record := ground.record(host)).get("state") != "reverted":
        raise BenchError(f"{host.name}: state {record.get('state')}, expected reverted")
    return back - died


class _Answers:
    """Watch from outside since when a version answers again."""

    def __init__(self, ground: Ground, host: LinuxHost, version: str) -> None:
        self._ground, self._host, self._wanted = ground, host, f"ok {version}"
        self._since: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.is_set():
            good = self._ground.answer(self._host, 0.5) == self._wanted
            if not good:
                self._since = None
            elif self._since is None:
                self._since = time.time()
            self._over.wait(0.003)

    def stop(self) -> float:
        """Return since when it has answered, as a Unix time."""
        self._over.set()
        self._thread.join()
        if self._since is None:
            raise BenchError(f"{self._host.name}: its last answer is not {self._wanted!r}")
        return self._since


def _end(done: Command) -> str:
    return " | ".join(done.output.splitlines()[-3:])


def _wall(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _controller(ground: Ground, **hello: Any) -> Controller:
    controller = ground.controller()
    controller.rollout, controller.hello = dict(ONE), hello
    return controller


def controller_killed(ground: Ground, findings: Findings, rounds: int) -> None:
    """Measure SIGKILL between two waves, without help: the switched targets go back by themselves."""
    seconds = []
    for number in range(rounds):
        with step(f"controller killed {number + 1}/{rounds}"):
            _, new = ground.settle()
            controller = ground.controller()
            controller.rollout |= {"pause": 5.0}
            run = controller.start("rollout", version=new)
            await_moment(run, Follower(controller.home), "between")
            watch = Watch(ground)
            run.kill()
            struck = time.monotonic()
            ground.wait_idle(3 * WINDOW + 10)
            took = watch.stop(struck)
            if took is None:
                raise BenchError(f"the fleet did not come to one version: {ground.versions()}")
            seconds.append(took)
    figure = Figure(
        "kill", f"from the kill of the controller between waves to one version (confirm window {WINDOW} s)", seconds
    )
    findings.figures.append(figure)
    findings.goals.append(
        Goal(
            "kill",
            "from the kill of the controller to one version, more than the confirm window",
            figure.median - WINDOW,
            5.0,
            "s",
            f"{figure.median:.2f} s",
        )
    )


def requests_lost(ground: Ground, findings: Findings, rounds: int) -> None:
    """Measure a switch under constant load, with systemd's socket and without, and a bare restart without."""
    host = ground.targets[0]
    for socket in (True, False):
        hello = {"socket_activation": socket, "port": PORT}
        _first(ground, hello)
        found = []
        for number in range(rounds):
            with step(f"switch under load, {'with' if socket else 'without'} a socket, {number + 1}/{rounds}"):
                found.append(_switch(ground, host, hello))
        kind = "with socket activation" if socket else "without socket activation"
        lost, made = [one["lost"] for one in found], sum(one["made"] for one in found)
        findings.figures += [
            Figure(f"lost-{socket}", f"requests lost in one switch {kind}", lost, unit="requests"),
            Figure(f"slowest-{socket}", f"slowest request of a switch {kind}", [one["slowest_s"] for one in found]),
        ]
        if socket:
            requests = f"{made} made, {RATE:.0f} a second"
            findings.goals.append(
                Goal("lost", f"requests lost in {rounds} switches {kind}", sum(lost), 0, "requests", requests)
            )
    plain = "requests lost in one bare `systemctl restart`, without socket activation"
    findings.figures.append(Figure("lost-restart", plain, _restarts(ground, host, rounds), unit="requests"))


def _restarts(ground: Ground, host: LinuxHost, rounds: int) -> list[int]:
    lost = []
    for _ in range(rounds):
        with _load(host) as found:
            time.sleep(0.5)
            host.run(f"systemctl restart {SERVICE}")
            time.sleep(0.5)
        lost.append(int(found["lost"]))
    return lost


def _first(ground: Ground, hello: dict[str, Any]) -> None:
    current, _ = ground.settle()
    if _controller(ground, **hello).run("rollout", version=current).code != 0:
        raise BenchError(f"{current} cannot be rolled out with {hello}")


def _switch(ground: Ground, host: LinuxHost, hello: dict[str, Any]) -> dict[str, Any]:
    _, new = ground.settle()
    with _load(host) as found:
        time.sleep(0.5)
        done = _controller(ground, **hello).run("rollout", version=new)
        time.sleep(0.5)
    if done.code != 0 or not found["answers"].get(new):
        raise BenchError(f"the switch to {new} failed: {_end(done)} {found}")
    return found


@contextmanager
def _load(host: LinuxHost) -> Iterator[dict[str, Any]]:
    """Run a load inside the block; its results are in the yielded mapping afterwards."""
    found: dict[str, Any] = {}
    command = [sys.executable, "-m", "bench.load", host.address, str(PORT), str(RATE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        yield found
        process.stdin.close()
        found.update(json.loads(process.stdout.readline()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rollouts", description=main.__doc__)
    parser.add_argument("--part", action="append", choices=("back", "kill", "requests"), help="only this part")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each figure (default: 7)")
    parser.add_argument("--targets", type=int, default=4, help="targets of its lab (default: 4)")
    parser.add_argument("--lab", default="benchr", help="name of the lab that it starts (default: benchr)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
