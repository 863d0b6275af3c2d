"""What must hold in the property test of rollouts: after every run, and when everything has come to rest."""

from __future__ import annotations

from typing import Any

from hypothesis.stateful import rule

from gofallback.model.rollout import Rollout
from gofallback.rollout.phases import GOOD, TargetPhase
from gofallback.rollout.resume import resume
from gofallback.runid import base_of
from tests.unit.rollout.controller import Controller, Kind
from tests.unit.rollout.machine import RELEASES, SETTLED, FleetMachine, Running


class RolloutMachine(FleetMachine):
    """Checks every controller at its end, then repairs the fleet in each way and checks the result."""

    def _check_at_end(self, one: Running) -> None:
        """The report of a controller at its end has to be true of every target that no other run has taken."""
        controller = one.controller
        if controller.verdict == "refused" or (controller.verdict == "unchanged" and not one.alone):
            return
        one.seen = {host: len(target.writes) for host, target in self.targets.items()}
        self.ended.append(one)
        self._check_report(one)
        self._check_policy(controller)

    def _check_policy(self, controller: Controller) -> None:
        """Past the budget and with `revert: all` nothing is confirmed; within it, nothing is taken back."""
        if controller.decided is None:
            return
        phases, made = controller.decided
        bad = [host for host, how in phases.items() if how is not TargetPhase.PROVISIONAL and how not in GOOD]
        over = len(bad) > (controller.strategy.budget.count or 0)
        if over and controller.strategy.revert == "all":
            assert not made.confirm, (phases, made)
        if not bad:
            assert not made.back, (phases, made)

    def _check_report(self, one: Running) -> None:
        controller = one.controller
        for host, outcome in controller.outcomes.items():
            target = self.targets[host]
            if controller.numbers and target.number > controller.numbers[host]:
                continue  # taken over: the other run answers for it
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
            self._check_report(one)

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
        """Every controller dies, and the next run does not wait until the targets went back."""
        for one in list(self.running):
            self._kill(one, noticed=True)
        self.the_network_is_well()
        if self.runs and self.repair:
            more = {"of": self._newest() or self.runs[-1]} if self.repair in ("resume", "abort") else {}
            if self.repair == "rollout":
                more = {"release": RELEASES[0]}
            self._start(self.repair, Rollout(), takeover=self._holder(), **more)

    def _newest(self) -> str | None:
        """The last run that wrote a record."""
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
