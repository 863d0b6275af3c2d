"""The events of the property test of rollouts: runs, messages, time and faults, in any order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gofallback.model.rollout import Budget, Rollout
from gofallback.runid import base_of
from tests.unit.rollout.controller import WAIT, Call, Controller, Kind, Talk
from tests.unit.rollout.world import GATE, TTL, WINDOW, LostError, RefusedError, Target

RELEASES = ("v2.0-22222222", "v3.0-33333333")
#: Seconds after which nothing may be pending any more, once every controller is gone.
SETTLED = WINDOW + TTL + GATE + 4
FATES = st.sampled_from(["arrives", "arrives", "request lost", "answer lost", "late", "cut off", "reboots"])
#: Whether a run may take the leases of the one that has them.
TAKEOVER = st.sampled_from([True, True, False])
#: What becomes of a controller's messages: so many arrive, then one has that fate, and so on. And of itself afterwards.
SCRIPTS = st.tuples(
    st.lists(st.tuples(st.integers(0, 30), FATES), min_size=1, max_size=4),
    st.sampled_from(["lives", "lives", "dies", "vanishes"]),
)
STRATEGIES = st.builds(
    Rollout,
    canary=st.sampled_from([None, 0, 2]),
    waves=st.sampled_from([[], [1], ["50%"]]),
    budget=st.builds(Budget, count=st.integers(0, 2)),
    revert=st.sampled_from(["all", "all", "failed"]),
)


Script = tuple[list[tuple[int, str]], str]


@dataclass
class Running:
    """A controller at work."""

    controller: Controller
    talk: Talk
    waits_for: Call | None = None
    alone: bool = True
    """No other controller was at work at the same time."""
    seen: dict[str, int] = field(default_factory=dict)
    """How many writes each target had let through when it ended."""


class FleetMachine(RuleBasedStateMachine):
    """A fleet, its controllers, and everything that may happen to them. `checks.RolloutMachine` adds what must hold."""

    targets: dict[str, Target]

    @initialize(
        count=st.sampled_from([2, 3, 1, 4, 2, 3, 8]),
        repair=st.sampled_from(["resume", "abort", "rollback", "rollout", ""]),
        strategy=STRATEGIES,
        script=SCRIPTS,
    )
    def fleet(self, count: int, repair: Kind | Literal[""], strategy: Rollout, script: Script) -> None:
        """A fleet, a first rollout, and the way in which a person repairs the fleet at the end."""
        self.targets = {f"t{place}": Target(f"t{place}") for place in range(1, count + 1)}
        self.repair = repair
        self.running: list[Running] = []
        self.ended: list[Running] = []
        self.late: list[tuple[int, Target, Callable[[Target], Any]]] = []
        self.runs: list[str] = []
        self.now = 0
        self._play(self._start("rollout", strategy, release=RELEASES[0]), script)

    # -- controllers --------------------------------------------------------------------------------------------

    def _start(self, kind: Kind, strategy: Rollout, **more: Any) -> Running:
        number = len(self.runs) + 1
        run_id = f"20260102T{number:06d}Z-{number:04x}" if not more.get("of") else f"{base_of(more['of'])}-r{number}"
        self.runs.append(run_id)
        controller = Controller(run_id, tuple(self.targets), kind, strategy, **more)
        started = Running(controller, controller.run(), alone=not self.running)
        for other in self.running:
            other.alone = False
        started.waits_for = next(started.talk)
        self.running.append(started)
        return started

    @precondition(lambda self: len(self.running) < 2)
    @rule(name=st.sampled_from(RELEASES), strategy=STRATEGIES, takeover=TAKEOVER, script=SCRIPTS)
    def rollout(self, name: str, strategy: Rollout, takeover: bool, script: Script) -> None:
        self._play(
            self._start("rollout", strategy, release=name, takeover=self._holder() if takeover else None), script
        )

    @precondition(lambda self: len(self.running) < 2)
    @rule(
        kind=st.sampled_from(["resume", "abort"]),
        data=st.data(),
        strategy=STRATEGIES,
        takeover=TAKEOVER,
        script=SCRIPTS,
    )
    def go_on(self, kind: Kind, data: st.DataObject, strategy: Rollout, takeover: bool, script: Script) -> None:
        of = data.draw(st.sampled_from(self.runs[-2:]))
        self._play(self._start(kind, strategy, of=of, takeover=self._holder() if takeover else None), script)

    @precondition(lambda self: len(self.running) < 2)
    @rule(strategy=STRATEGIES, takeover=TAKEOVER, script=SCRIPTS)
    def rollback(self, strategy: Rollout, takeover: bool, script: Script) -> None:
        self._play(self._start("rollback", strategy, takeover=self._holder() if takeover else None), script)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 1), script=SCRIPTS)
    def messages(self, which: int, script: Script) -> None:
        self._play(self.running[which % len(self.running)], script)

    def _holder(self) -> str | None:
        return next((target.holder for target in self.targets.values() if target.holder), None)

    def _play(self, one: Running, script: Script) -> None:
        parts, end = script
        for steps, fate in parts:
            for step in range(steps + 1):
                if one in self.running:
                    self._step(one, fate if step == steps else "arrives")
        if end != "lives" and one in self.running:
            self._kill(one, noticed=end == "dies")

    def _kill(self, one: Running, noticed: bool) -> None:
        """End a controller. Targets that notice the end of the connection give the lease back."""
        self.running.remove(one)
        one.talk.close()
        for host in one.controller.channels:
            if noticed and self.targets[host].reachable:
                self.targets[host].give_back(one.controller.id, one.controller.numbers[host])

    def _step(self, one: Running, fate: str = "arrives") -> None:
        call = one.waits_for
        try:
            if call is WAIT:
                self._tick()
                one.waits_for = one.talk.send(None)
                return
            try:
                answer = self._deliver(call, fate)
            except (LostError, RefusedError) as error:
                one.waits_for = one.talk.throw(error)
            else:
                one.waits_for = one.talk.send(answer)
        except StopIteration:
            self.running.remove(one)
            self._check_at_end(one)

    def _deliver(self, call: Call, fate: str) -> Any:
        target = self.targets[call.host]
        if fate == "late" and not call.reads:
            self.late.append((self.now + 4, target, call.what))
        if not target.reachable or fate in ("request lost", "late"):
            raise LostError
        answer = call.what(target)
        if fate == "reboots":
            target.reboot()
        if fate == "cut off":
            target.reachable = False
        if fate != "arrives":
            raise LostError
        return answer

    def _check_at_end(self, one: Running) -> None:
        """Called when a controller has ended."""

    # -- time and trouble ---------------------------------------------------------------------------------------

    @rule(seconds=st.integers(1, WINDOW + 2))
    def time_passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self._tick()

    def _tick(self) -> None:
        self.now += 1
        for due, target, what in [one for one in self.late if one[0] <= self.now]:
            self.late.remove((due, target, what))
            with contextlib.suppress(RefusedError):
                what(target)
        for one in self.running:
            for host in list(one.controller.channels):
                self._renew(one.controller, self.targets[host])
        for target in self.targets.values():
            target.tick()

    def _renew(self, controller: Controller, target: Target) -> None:
        try:
            if not target.reachable:
                raise RefusedError("the connection broke")
            target.renew(controller.id, controller.numbers[target.name])
        except RefusedError:
            controller.channels.discard(target.name)

    def _target(self, place: int) -> Target:
        return list(self.targets.values())[place % len(self.targets)]

    @rule(place=st.integers(0, 7), noticed=st.booleans())
    def a_target_is_cut_off(self, place: int, noticed: bool) -> None:
        target = self._target(place)
        target.reachable = False
        if noticed:  # its end of the connection ends
            target.holder = ""

    @rule()
    def the_network_is_well(self) -> None:
        for target in self.targets.values():
            target.reachable = True

    @rule(place=st.integers(0, 7))
    def a_target_reboots(self, place: int) -> None:
        self._target(place).reboot()

    @rule(place=st.integers(0, 7), name=st.sampled_from(RELEASES))
    def a_release_does_not_run_there(self, place: int, name: str) -> None:
        """Only a release that was never confirmed on that target: a good release stays good in this model."""
        target = self._target(place)
        if not any(one["release"] == name and one["state"] == "confirmed" for one in target.ran):
            target.sick.add(name)
