"""A controller for the property test of rollouts: the stages activate and confirm, one message at a time.

Everything that is decided is decided by the product's own code: `rollout.{waves,decide,resume,rollback}`, the verdict.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gofallback.errors import GofallbackError
from gofallback.model.rollout import Rollout
from gofallback.release.state import ServiceState
from gofallback.rollout import decide, waves
from gofallback.rollout.decide import Decision
from gofallback.rollout.phases import TargetPhase, after_activation
from gofallback.rollout.phases import verdict as verdict_of
from gofallback.rollout.records import phase_of_record
from gofallback.rollout.resume import abort, resume
from gofallback.rollout.rollback import rollback_goals
from gofallback.rollout.waves import Member, Wave
from tests.unit.rollout.world import GATE, WINDOW, LostError, RefusedError, Target

Kind = Literal["rollout", "rollback", "resume", "abort"]


@dataclass(frozen=True)
class Call:
    """One message to one target."""

    host: str
    what: Callable[[Target], Any]
    reads: bool = False


#: Asks for a second to pass.
WAIT = None
Talk = Generator[Call | None, Any, Any]


@dataclass
class Outcome:
    """What a controller knows about one target."""

    how: str
    release: str | None
    run_id: str
    then: str | None
    """What was live when the run was planned."""
    phase: TargetPhase = TargetPhase.PLANNED

    @property
    def lost(self) -> bool:
        return self.phase is TargetPhase.LOST


@dataclass
class Controller:
    """One run. `run()` is driven from outside, which may stop it for good at any message."""

    id: str
    hosts: tuple[str, ...]
    kind: Kind
    strategy: Rollout
    release: str = ""
    of: str = ""
    """The run that is resumed or taken back."""
    takeover: str | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    channels: set[str] = field(default_factory=set)
    """Targets on which the lease is renewed."""
    notes: list[str] = field(default_factory=list)
    verdict: str = ""
    why: str = ""
    waves: tuple[Wave, ...] = ()
    decided: tuple[dict[str, TargetPhase], Decision] | None = None
    """Where the targets stood at the verdict, and what it was."""

    @property
    def window(self) -> int:
        return WINDOW if self.kind in ("rollout", "resume") else 0

    def run(self) -> Talk:
        try:
            yield from self._plan()
            if all(one.how == "nothing" for one in self.outcomes.values()):
                self.verdict = "unchanged"
                return
            yield from self._take_all()
        except (GofallbackError, LostError, RefusedError) as error:
            self.verdict, self.why = "refused", str(error)
        else:
            if self.kind == "rollout":
                yield from self._upload()
            for wave in self.waves:
                yield from self._wave(wave)
            yield from self._end()
        yield from self._give_back()
        self.verdict = self.verdict or self._verdict()

    # -- before anything changes --------------------------------------------------------------------------------

    def _plan(self) -> Talk:
        states = {}
        for host in self.hosts:
            states[host] = yield from self._ask(host, Target.state)
        self.outcomes = {host: self._outcome(states[host], *found) for host, found in self._wanted(states).items()}
        members = [Member(host) for host in self.hosts]
        together = self.kind in ("rollback", "abort")
        self.waves = (Wave(0, "all", self.hosts),) if together else waves.plan(members, self.strategy, self.hosts)

    def _wanted(self, states: Mapping[str, ServiceState]) -> dict[str, tuple[str, str | None, str]]:
        if self.kind in ("resume", "abort"):
            plan = (resume if self.kind == "resume" else abort)(self.of, "hello", states)
            self.notes = plan.notes
            return {host: (one.how, one.release, one.run_id) for host, one in plan.hosts.items()}
        if self.kind == "rollback":
            back = rollback_goals(states)
            return {host: ("activate" if one.needed else "nothing", one.release, self.id) for host, one in back.items()}
        return {host: (self._needed(state), self.release, self.id) for host, state in states.items()}

    def _needed(self, state: ServiceState) -> str:
        """As `release.plan.diff` says."""
        live = state.health_problem(self.release) is None and state.unconfirmed_run is None
        return "nothing" if live else "activate"

    def _outcome(self, state: ServiceState, how: str, name: str | None, run_id: str) -> Outcome:
        own_run = run_id if how in ("confirm", "revert") else self.id
        known = {"nothing": TargetPhase.UNCHANGED, "confirm": TargetPhase.PROVISIONAL}
        return Outcome(how, name, own_run, state.current, known.get(how, TargetPhase.PLANNED))

    def _take_all(self) -> Talk:
        for host in self.hosts:
            yield from self._take(host)

    def _take(self, host: str) -> Talk:
        before = self.numbers.get(host, 0)
        self.numbers[host] = yield from self._ask(host, lambda at: at.take(self.id, before, self.takeover))
        self.channels.add(host)
        now = yield from self._ask(host, Target.state)
        if now.current != self.outcomes[host].then:
            raise RefusedError(f"{host}: {now.current} is live, not what was planned from")

    def _upload(self) -> Talk:
        for host, outcome in self.outcomes.items():
            try:
                yield from self._write(host, lambda at, number: at.upload(self.id, number, self.release))
            except (LostError, RefusedError):
                outcome.phase = TargetPhase.FAILED

    # -- wave after wave ----------------------------------------------------------------------------------------

    def _wave(self, wave: Wave) -> Talk:
        started = []
        for host in wave.hosts:
            outcome = self.outcomes[host]
            if outcome.phase is TargetPhase.PLANNED and self.window and self.stop_reason() is not None:
                outcome.phase = TargetPhase.UNTOUCHED
            elif outcome.phase is TargetPhase.PLANNED and (yield from self._start(host, outcome)):
                started.append(host)
        for host in started:
            yield from self._follow(host, self.outcomes[host])
        if wave is not self.waves[-1]:
            yield from self._recheck()

    def _start(self, host: str, outcome: Outcome) -> Talk:
        """Whether something may have started there."""
        try:
            if host not in self.channels:
                yield from self._take(host)
        except (LostError, RefusedError):
            outcome.phase = TargetPhase.UNTOUCHED if outcome.how == "revert" else TargetPhase.FAILED
            return False
        try:
            if outcome.how == "revert":
                yield from self._write(host, lambda at, number: at.revert(outcome.run_id, number))
            else:
                name, window = str(outcome.release), self.window
                yield from self._write(host, lambda at, number: at.activate(self.id, number, name, window))
        except RefusedError:
            outcome.phase = TargetPhase.FAILED
            return False
        except LostError:
            pass  # it may have started
        return True

    def _follow(self, host: str, outcome: Outcome) -> Talk:
        silent = 0
        for _ in range(4 * GATE):  # a renewed lease would make it wait for ever
            try:
                state = yield from self._ask(host, Target.state)
            except LostError:
                silent += 1
            else:
                record = state.outcome or {}
                started = record.get("run_id") == outcome.run_id
                if started and not (
                    record["state"] == "intended" or (outcome.how == "revert" and state.unconfirmed_run)
                ):
                    self._record(outcome, str(record["state"]))
                    return
                silent += not started
            if silent == 4:
                break
            yield WAIT
        outcome.phase = TargetPhase.LOST

    def _record(self, outcome: Outcome, said: str) -> None:
        outcome.phase = after_activation(said, taking_back=outcome.how == "revert")  # type: ignore[arg-type]

    def _recheck(self) -> Talk:
        """The gate of a wave, and the check before the verdict: of every target that has the release."""
        for host, outcome in self.outcomes.items():
            if outcome.phase is not TargetPhase.PROVISIONAL or self.stop_reason() is not None:
                continue
            try:
                state = yield from self._ask(host, Target.state)
            except LostError:
                outcome.phase = TargetPhase.LOST
                continue
            if state.health_problem(outcome.release) is not None:
                yield from self._take_back(host, outcome)

    # -- the end ------------------------------------------------------------------------------------------------

    def _end(self) -> Talk:
        yield from self._recheck()
        made = decide.decide(self.target_phases(), self.stop_reason(), self.strategy.revert)
        self.decided = self.target_phases(), made
        for host in made.back:
            yield from self._take_back(host, self.outcomes[host])
        for host in made.confirm:
            yield from self._confirm(host, self.outcomes[host])
        for host, outcome in self.outcomes.items():
            if outcome.lost:
                yield from self._wait_for_lost(host, outcome)

    def _take_back(self, host: str, outcome: Outcome) -> Talk:
        try:
            said = yield from self._write(host, lambda at, number: at.revert(outcome.run_id, number))
        except LostError:
            outcome.phase = TargetPhase.LOST
        except RefusedError:
            outcome.phase = TargetPhase.FAILED
        else:
            outcome.phase = TargetPhase.REVERTED if said == "reverted" else TargetPhase.FAILED

    def _confirm(self, host: str, outcome: Outcome) -> Talk:
        try:
            said = yield from self._write(host, lambda at, number: at.confirm(outcome.run_id, number))
        except LostError:
            self.confirmation_lost(outcome)
        except RefusedError:
            outcome.phase = TargetPhase.FAILED
        else:
            outcome.phase = TargetPhase(said) if said in ("confirmed", "reverted") else TargetPhase.FAILED

    def confirmation_lost(self, outcome: Outcome) -> None:
        outcome.phase = TargetPhase.LOST

    def _wait_for_lost(self, host: str, outcome: Outcome) -> Talk:
        for _ in range(WINDOW + GATE + 6):
            try:
                state = yield from self._ask(host, Target.state)
            except LostError:
                yield WAIT
                continue
            found = phase_of_record(state, self.id, outcome.release)
            if found is not None:
                outcome.phase = found
                return
            yield WAIT

    def _give_back(self) -> Talk:
        for host in sorted(self.channels):
            number = self.numbers[host]
            with contextlib.suppress(LostError):
                yield from self._ask(host, lambda at, number=number: at.give_back(self.id, number))  # type: ignore[misc]
        self.channels.clear()

    def target_phases(self) -> dict[str, TargetPhase]:
        return {host: one.phase for host, one in self.outcomes.items()}

    def stop_reason(self) -> str | None:
        return decide.stop(self.target_phases(), self.waves, self.strategy.budget)

    def _verdict(self) -> str:
        return verdict_of([(one.phase, True) for one in self.outcomes.values()])

    def _ask(self, host: str, what: Callable[[Target], Any]) -> Talk:
        return (yield Call(host, what, reads=what is Target.state))

    def _write(self, host: str, what: Callable[[Target, int], Any]) -> Talk:
        number = self.numbers.get(host, 0)
        return (yield Call(host, lambda at: what(at, number)))
