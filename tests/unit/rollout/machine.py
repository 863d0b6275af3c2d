"""The world that the property test of rollouts drives: who does what when, and what must hold afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gofallback.model.rollout import Budget, Rollout
from gofallback.rollout.phases import GOOD, TargetPhase
from gofallback.rollout.resume import resume
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


class RolloutMachine(RuleBasedStateMachine):
    """The world."""

    targets: dict[str, Target]

    @initialize(
        count=st.sampled_from([2, 3, 1, 4, 2, 3, 8]),
        repair=st.sampled_from(["resume", "abort", "rollback", "rollout", ""]),
        strategy=STRATEGIES,
        script=SCRIPTS,
    )
    def fleet(self, count: int, repair: Kind | Literal[""], strategy: Rollout, script: Script) -> None:
        """There is a fleet, a rollout, and a person who will clear up in the end."""
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
        """Targets that notice the end of the connection give the lease back."""
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
            self._hold_to_its_word(one)

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
        """One that was never confirmed on that target: what was good stays good in this world."""
        target = self._target(place)
        if not any(one["release"] == name and one["state"] == "confirmed" for one in target.ran):
            target.sick.add(name)

    # -- what must hold -----------------------------------------------------------------------------------------

    def _hold_to_its_word(self, one: Running) -> None:
        """What a controller says at its end has to be so, of each target nobody has taken from it."""
        controller = one.controller
        if controller.verdict == "refused" or (controller.verdict == "unchanged" and not one.alone):
            return
        one.seen = {host: len(target.writes) for host, target in self.targets.items()}
        self.ended.append(one)
        self._check_words(one)
        self._check_policy(controller)

    def _check_policy(self, controller: Controller) -> None:
        """Past the budget and with `revert: all` nothing is confirmed; within it, nothing is taken back."""
        if controller.decided is None:
            return
        standing, made = controller.decided
        bad = [host for host, how in standing.items() if how is not TargetPhase.PROVISIONAL and how not in GOOD]
        over = len(bad) > (controller.strategy.budget.count or 0)
        if over and controller.strategy.revert == "all":
            assert not made.confirm, (standing, made)
        if not bad:
            assert not made.back, (standing, made)

    def _check_words(self, one: Running) -> None:
        controller = one.controller
        for host, outcome in controller.outcomes.items():
            target = self.targets[host]
            if controller.numbers and target.number > controller.numbers[host]:
                continue  # taken over; whoever did so answers for it
            if any(run != controller.id for _, run in target.writes[one.seen[host] :]):
                continue
            said = f"{controller.kind} {controller.id} ({controller.verdict}): {host} {outcome}, in truth {target}"
            if outcome.phase in GOOD:
                assert target.current == outcome.release, said
                assert target.state().unconfirmed_run is None, said
            had = (outcome.then, target.last["previous"])
            if outcome.phase is TargetPhase.REVERTED and outcome.release not in had:
                assert target.current != outcome.release, said
            if controller.verdict in ("done", "unchanged"):
                assert outcome.phase in GOOD, said

    @rule()
    def all_is_over(self) -> None:
        self._settle()

    def _settle(self) -> None:
        self.the_network_is_well()
        for _ in range(10_000):
            if self.running:
                self._step(self.running[0])
        assert not self.running, f"a run that does not end: {self.running}"
        for _ in range(SETTLED):
            self._tick()
        for target in self.targets.values():
            assert target.free(), f"a lease is left: {target}"
            assert target.state().unconfirmed_run is None, f"undecided: {target}"
            assert target.current not in target.sick, f"a bad release runs: {target}"
            good = {one["release"] for one in target.ran if one["state"] == "confirmed"}
            assert target.current in good, f"what was never confirmed runs: {target}"
        for one in self.ended:
            self._check_words(one)

    def teardown(self) -> None:
        if not getattr(self, "targets", None):
            return
        self._repair_at_once()
        self._settle()
        newest = self._newest()
        if newest is not None and len(self.runs) % 2:
            self._resume(newest)
        if newest is not None:
            self._abort(newest)
        self._roll_back()

    def _repair_at_once(self) -> None:
        """Every controller dies, and the next one does not wait until the targets went back."""
        for one in list(self.running):
            self._kill(one, noticed=True)
        self.the_network_is_well()
        if self.runs and self.repair:
            more = {"of": self._newest() or self.runs[-1]} if self.repair in ("resume", "abort") else {}
            if self.repair == "rollout":
                more = {"release": RELEASES[0]}
            self._start(self.repair, Rollout(), takeover=self._holder(), **more)

    def _newest(self) -> str | None:
        """The run that was the last to do anything."""
        found = [(place, one["run_id"]) for target in self.targets.values() for place, one in enumerate(target.ran)]
        known = [base_of(run) for _, run in found if base_of(run) in {base_of(run) for run in self.runs}]
        return max(known, default=None)

    def _alone(self, kind: Kind, **more: Any) -> Controller:
        started = self._start(kind, Rollout(), **more)
        self._settle()
        return started.controller

    def _versions(self) -> set[str]:
        return {target.current for target in self.targets.values()}

    def _resume(self, run: str) -> None:
        """Without further trouble, a resume ends on one version: the run's, or where that is bad, it says so."""
        states = {host: target.state() for host, target in self.targets.items()}
        done = self._alone("resume", of=run)
        if done.verdict == "refused":
            assert "came after" in done.why or "is not on" in done.why, done.why
            return
        plan = resume(run, "hello", states)
        differ = {host for host, one in plan.hosts.items() if one.how != "nothing"}
        assert differ == {host for host, one in plan.hosts.items() if one.release != states[host].current}
        goal = next(iter(plan.hosts.values())).release
        if not any(goal in target.sick for target in self.targets.values()):
            assert done.verdict in ("done", "unchanged"), done
            assert self._versions() == {goal}

    def _abort(self, run: str) -> None:
        """Without further trouble, an abort ends on one version, or says that there were several before."""
        done = self._alone("abort", of=run)
        if done.verdict == "refused":
            assert "came after" in done.why, done.why
            return
        assert done.verdict in ("done", "unchanged"), done
        assert len(self._versions()) == 1 or any("did not have one version" in note for note in done.notes), done

    def _roll_back(self) -> None:
        """Rollbacks without an argument get any fleet to one version; each one that fails marks what is bad."""
        for _ in range(len(RELEASES) + 1):
            if len(self._versions()) > 1:
                self._alone("rollback")
        assert len(self._versions()) == 1, self.targets
