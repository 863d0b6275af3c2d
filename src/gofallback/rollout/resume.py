"""How a run that was cut off is finished, or taken back, from the records on the targets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gofallback.errors import GofallbackError
from gofallback.release.state import ServiceState
from gofallback.rollout.phases import GOOD_RECORDS, OPEN_RECORDS
from gofallback.rollout.records import (
    Version,
    folder_for,
    healthy,
    names,
    of_run,
    records,
    version_of,
)
from gofallback.runid import base_of, same_run

How = Literal["nothing", "confirm", "activate", "revert"]


class ResumeError(GofallbackError):
    """A run that cannot be finished or taken back; one line with the targets and the remedy."""


class UnknownRunError(ResumeError):
    """Neither the targets nor this controller have a record of the run for that service."""


class _NoWayBackError(ResumeError):
    """The earlier release of one target is not there; the rest of a line that begins with the target."""


@dataclass(frozen=True)
class Continue:
    """The step of one target."""

    release: str | None
    """Folder that is live afterwards; None: none, as the service had never been released there."""
    sha256: str | None
    """SHA-256 of that release's binary, from its manifest."""
    commit: str | None
    how: How
    run_id: str
    """For `confirm` and `revert`: the run id of the target's record. Otherwise the run that is resumed or aborted."""
    of: str | None = None
    """For `confirm` and `revert`: folder of the provisional release, whose agent gets the order."""


@dataclass(frozen=True)
class Plan:
    """The step of every target of the run, in inventory order."""

    hosts: dict[str, Continue]
    notes: list[str] = field(default_factory=list)
    """Lines for the operator to read before the run."""


def resume(
    run_id: str, service: str, states: Mapping[str, ServiceState], planned: Mapping[str, str] | None = None
) -> Plan:
    """Bring every target to the release of that run.

    Args:
        run_id: the run, or any of its continuations.
        service: its name.
        states: the state of each target, in inventory order.
        planned: target to the run's release folder, from the journal of the controller that began it; None: from the
            records of the targets.

    Raises:
        UnknownRunError: no target knows the run.
        ResumeError: another run came after it; or a target lacks the release.
    """
    run = _Run(run_id, service, states, planned)
    goal, missing = run.goal(), []
    plan = Plan({}, run.notes)
    for host, state in run.states.items():
        folder = run.release_of(host)
        if folder not in state.releases:
            folder = folder_for(state, goal) if goal else None
        if folder is None:
            missing.append(host)
            continue
        plan.hosts[host] = _forward(run, state, folder)
        if folder in state.bad and plan.hosts[host].how == "activate":
            plan.notes.append(f"{host}: {folder} is marked bad ({state.bad[folder]}); it is tried once more")
    if missing:
        release = f"{goal}" if goal else "its release"
        raise ResumeError(
            f"{service}: run {run.id} cannot be resumed, {release} is not on {names(missing)}; take the run back "
            f"(--data abort={run.id}), or resume it from the controller that began it and has the artifact"
        )
    return plan


def _forward(run: _Run, state: ServiceState, folder: str) -> Continue:
    last = state.outcome or {}
    by_this_run = same_run(str(last.get("run_id")), run.id)
    if by_this_run and last.get("release") == folder and last.get("state") == "provisional":
        return _continue(state, folder, "confirm", str(last["run_id"]))
    if state.current == folder and healthy(state) and state.unconfirmed_run is None:
        return _continue(state, folder, "nothing", run.id)
    return _continue(state, folder, "activate", run.id)


def abort(
    run_id: str, service: str, states: Mapping[str, ServiceState], planned: Mapping[str, str] | None = None
) -> Plan:
    """Bring every target back to the release before that run.

    Args:
        run_id: the run, or any of its continuations.
        service: its name.
        states: the state of each target, in inventory order.
        planned: as for `resume`.

    Raises:
        UnknownRunError: no target knows the run.
        ResumeError: another run came after it; or a target has nothing to go back to.
    """
    run = _Run(run_id, service, states, planned)
    plan, problems = Plan({}, run.notes), []
    for host, state in run.states.items():
        try:
            found = _backward(run, state, of_run(state, run_id))
        except _NoWayBackError as error:
            problems.append(f"{host} {error}")
            continue
        plan.hosts[host] = found
        if found.how == "nothing" and state.current and not healthy(state):
            plan.notes.append(f"{host}: {state.current} is live and not healthy, and not by this run: look at it")
    if problems:
        raise ResumeError(
            f"{service}: run {run.id} cannot be taken back: {'; '.join([*problems, *plan.notes])}; finish it "
            f"(--data resume={run.id}), or name a release that is everywhere (deploys/rollback.py --data release=...)"
        )
    _differ(run, plan)
    return plan


def _backward(run: _Run, state: ServiceState, own: list[Mapping[str, Any]]) -> Continue:
    """The step that takes the run back on one target.

    Args:
        run: the run.
        state: of the target.
        own: the run's records there.

    Raises:
        _NoWayBackError: the release before the run is not there.
    """
    last = state.outcome or {}
    if not own and state.unconfirmed_run is None:
        return _continue(state, state.current, "nothing", run.id)
    if not own:  # an older run died here; its release would go back by itself, and goes back now
        return _continue(state, last.get("previous"), "revert", str(state.unconfirmed_run))
    before = own[0].get("previous")
    if state.unconfirmed_run and same_run(state.unconfirmed_run, run.id):
        if last.get("release") == before and last.get("state") == "provisional":  # an earlier abort was cut off here
            return _continue(state, before, "confirm", str(last["run_id"]))
        if last.get("previous") == before:
            return _continue(state, before, "revert", str(last["run_id"]))
    elif state.current == before:
        return _continue(state, state.current, "nothing", run.id)
    if before is None:
        raise _NoWayBackError("had no release before it")
    if before not in state.releases:
        raise _NoWayBackError(f"had {before} before it, which is no longer there")
    return _continue(state, before, "activate", run.id)


def _differ(run: _Run, plan: Plan) -> None:
    """Add a note when the targets do not have the same version afterwards."""
    versions: dict[str, list[str]] = {}
    for host, step in plan.hosts.items():
        found = run.states[host].releases.get(step.release or "")
        versions.setdefault(str(version_of(found)) if found else step.release or "no release", []).append(host)
    if len(versions) > 1:
        what = ", ".join(f"{version} on {names(hosts)}" for version, hosts in versions.items())
        plan.notes.append(
            f"the targets did not have one version before run {run.id}, and have these again: {what}; "
            "deploys/rollback.py --data release=... brings one everywhere"
        )


def _continue(state: ServiceState, folder: str | None, how: How, run_id: str) -> Continue:
    provisional = str((state.outcome or {}).get("release")) if how in ("confirm", "revert") else None
    found = state.releases.get(folder or "")
    if found is None:
        return Continue(folder, None, None, how, run_id, provisional)
    version = version_of(found)
    return Continue(folder, version.sha256, version.commit, how, run_id, provisional)


class _Run:
    """A run, by the records on its targets and its journal."""

    def __init__(
        self, run_id: str, service: str, states: Mapping[str, ServiceState], planned: Mapping[str, str] | None
    ) -> None:
        self.id, self.service, self.planned = base_of(run_id), service, dict(planned or {})
        self.states = {host: state for host, state in states.items() if not planned or host in planned}
        others = [host for host in states if host not in self.states]
        absent = [host for host in self.planned if host not in states]
        self.notes = [f"{names(others)}: no target of run {self.id}, left alone"] if others else []
        if absent:
            self.notes.append(
                f"{names(absent)}: targets of run {self.id} and not of this run; they keep their releases"
            )
        self.records = {host: of_run(state, run_id) for host, state in self.states.items()}
        if not planned and not any(self.records.values()):
            raise UnknownRunError(self._unknown(states.values()))
        self._refuse_overtaken()

    def release_of(self, host: str) -> str | None:
        """Folder of the run's release on one target, as planned, else from the target's first record of the run."""
        if host in self.planned:
            return self.planned[host]
        return next((str(record.get("release")) for record in self.records[host]), None)

    def goal(self) -> Version | None:
        """The version of the run; None: its release is on no target."""
        for host, state in self.states.items():
            found = state.releases.get(self.release_of(host) or "")
            if found:
                return version_of(found)
        return None

    def _unknown(self, states: Iterable[ServiceState]) -> str:
        seen = {base_of(str(record["run_id"])) for state in states for record in records(state) if record.get("run_id")}
        known = ", ".join(sorted(seen, reverse=True)[:3]) or "none"
        return (
            f"{self.service}: no target knows a run {self.id}, and this controller has no journal of it; "
            f"the newest runs the targets know: {known}"
        )

    def _refuse_overtaken(self) -> None:
        """Refuse when a later run has switched a target: going on with this run would undo that."""
        later: dict[str, list[str]] = {}
        for host, state in self.states.items():
            for record in records(state)[_after(state, self.id) :]:
                if record.get("state") in GOOD_RECORDS | OPEN_RECORDS:
                    later.setdefault(base_of(str(record.get("run_id"))), []).append(host)
        if later:
            runs = "; ".join(f"run {run} on {names(dict.fromkeys(hosts))}" for run, hosts in later.items())
            raise ResumeError(
                f"{self.service}: other runs came after {self.id}: {runs}; resume or abort the last one, or go to a "
                "release by name (deploys/rollback.py --data release=...)"
            )


def _after(state: ServiceState, run_id: str) -> int:
    """Index of the first record of later runs: after the run's own; without any, after the last older run id."""
    every = records(state)
    own = [place for place, record in enumerate(every) if same_run(str(record.get("run_id") or ""), run_id)]
    if own:
        return own[-1] + 1
    older = [place for place, record in enumerate(every) if base_of(str(record.get("run_id") or "")) < base_of(run_id)]
    return older[-1] + 1 if older else 0
