"""The faults: what is done to controller, network and targets, when it is undone, and what is done after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.linux.host import LinuxHost
from tests.faults.ground import WINDOW, Controller, Ground
from tests.lab.fleet import Running

DAY = 86_400


@dataclass
class Scene:
    """One rollout under way."""

    ground: Ground
    first: Controller
    run: Running
    old: str
    new: str
    victims: list[LinuxHost]
    """One target for faults of one, two for those of half of them."""
    rival: Running | None = None
    rival_home: Controller | None = None
    clock: Path | None = None
    """What the controller's clock follows."""
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Fault:
    """One row of the matrix.

    Arguments:
        what: in words, for the table.
        strike: lets it befall.
        lift: undoes it.
        lasts: seconds until it is lifted; None: until the rollout has ended.
        befalls: how many targets.
        continues: the controller is gone, so another one resumes or aborts the run.
    """

    what: str
    strike: Callable[[Scene], None]
    lift: Callable[[Scene], None] = lambda scene: None
    lasts: float | None = None
    befalls: int = 0
    continues: bool = False
    etcd: bool = False
    clocked: bool = False


def _each(action: Callable[[LinuxHost], None]) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        for host in scene.victims:
            action(host)

    return act


def _boot(host: LinuxHost) -> None:
    host.boot()
    host.wait_up()


def _second(scene: Scene) -> None:
    scene.rival_home = scene.ground.controller()
    scene.rival = scene.rival_home.start("rollout", version=scene.old)


def _clock(scene: Scene) -> None:
    assert scene.clock is not None
    scene.clock.write_text(f"-{DAY}\n")


def _etcd_gone(scene: Scene) -> None:
    assert scene.ground.etcd is not None
    for member in scene.ground.etcd.members:
        member.kill()


def _etcd_back(scene: Scene) -> None:
    assert scene.ground.etcd is not None
    for member in scene.ground.etcd.members:
        member.start()
    scene.ground.etcd.wait_up()


LONGER = WINDOW + 3.0

FAULTS: dict[str, Fault] = {
    "kill": Fault("SIGKILL of the controller", lambda scene: scene.run.kill(), continues=True),
    "cut": Fault("network cut of one target", _each(lambda h: h.cut()), _each(lambda h: h.uncut()), LONGER, 1),
    "half": Fault("network cut of half the targets", _each(lambda h: h.cut()), _each(lambda h: h.uncut()), LONGER, 2),
    "loss": Fault("packet loss 20 %", _each(lambda h: h.loss(20)), _each(lambda h: h.loss(0)), befalls=4),
    "latency": Fault("latency 500 ms", _each(lambda h: h.latency(250)), _each(lambda h: h.latency(0)), befalls=4),
    "reboot": Fault("target rebooted", _each(lambda h: h.reboot()), befalls=1),
    "power": Fault("target killed, back later", _each(lambda h: h.kill()), _each(_boot), LONGER, 1),
    "disk": Fault("disk full on a target", _each(lambda h: h.fill_disk()), _each(lambda h: h.free_disk()), befalls=1),
    "clock": Fault(
        "clock of a target off by a day", _each(lambda h: h.set_clock(DAY)), _each(lambda h: h.set_clock(0)), befalls=1
    ),
    "clocks": Fault("clock of every target off by a day", _clock, clocked=True),
    "two": Fault("two controllers at once", _second),
    "etcd": Fault("etcd gone in mid-run", _etcd_gone, _etcd_back, etcd=True),
}
