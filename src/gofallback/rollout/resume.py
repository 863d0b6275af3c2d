"""How a run that was cut off is finished, or taken back, from what the targets themselves know of it. Pure."""

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
    """A run that cannot be finished, or not be taken back; one line with the targets concerned and what to do."""


class UnknownRunError(ResumeError):
    """Neither the targets nor this controller know the run as one of that service."""


@dataclass(frozen=True)
class Continue:
    """What is done on one target."""

    release: str | None
    """Folder that is live afterwards; None: none (the service had never been released there)."""
    sha256: str | None
    """Of that release's binary, as its manifest says."""
    commit: str | None
    how: How
    run_id: str
    """For `confirm` and `revert`: the run id of the target's record. Otherwise the run that was asked for."""
    of: str | None = None
    """For `confirm` and `revert`: folder of the release that waits, whose agent is the one to be told."""


@dataclass(frozen=True)
class Plan:
    """What is done on every target of the run, in the order they were given."""

    hosts: dict[str, Continue]
    notes: list[str] = field(default_factory=list)
    """What a person should know beforehand, one line each."""


def resume(
    run_id: str, service: str, states: Mapping[str, ServiceState], planned: Mapping[str, str] | None = None
) -> Plan:
    """Bring every target to the release of that run.

    Args:
        run_id: the run, or any of its continuations.
        service: its name.
        states: what each target told, in inventory order.
        planned: the run's release folder by target, from the journal of the controller that began it; without it the
            targets' own records tell.

    Raises:
        UnknownRunError: no target knows the run.
        ResumeError: another run came after it; or a target lacks the release.
    """
    run = _Run(run_id, service, states, planned)
    goal, lacking = run.goal(), []
    plan = Plan({}, run.notes)
    for host, state in run.states.items():
        folder = run.begun(host)
        if folder not in state.releases:
            folder = folder_for(state, goal) if goal else None
        if folder is None:
            lacking.append(host)
            continue
        plan.hosts[host] = _forward(run, state, folder)
        if folder in state.bad and plan.hosts[host].how == "activate":
            plan.notes.append(f"{host}: {folder} is marked bad ({state.bad[folder]}); it is tried once more")
    if lacking:
        release = f"{goal}" if goal else "its release"
        raise ResumeError(
            f"{service}: run {run.id} cannot be resumed, {release} is not on {names(lacking)}; take the run back "
            f"(--data abort={run.id}), or resume it from the controller that began it and has the artifact"
        )
    return plan


def _forward(run: _Run, state: ServiceState, folder: str) -> Continue:
    last = state.outcome or {}
    mine, there = same_run(str(last.get("run_id")), run.id), last.get("release") == folder
    if mine and there and last.get("state") == "provisional":
        return _continue(state, folder, "confirm", str(last["run_id"]))
    if state.current == folder and healthy(state) and state.unconfirmed_run is None:
        return _continue(state, folder, "nothing", run.id)
    return _continue(state, folder, "activate", run.id)


def abort(
    run_id: str, service: str, states: Mapping[str, ServiceState], planned: Mapping[str, str] | None = None
) -> Plan:
    """Bring every target to what it had before that run.

    Args:
        run_id: the run, or any of its continuations.
        service: its name.
        states: what each target told, in inventory order.
        planned: as for `resume`.

    Raises:
        UnknownRunError: no target knows the run.
        ResumeError: another run came after it; or a target has nothing to go back to.
    """
    run = _Run(run_id, service, states, planned)
    plan, stuck = Plan({}, run.notes), []
    for host, state in run.states.items():
        found = _backward(run, state, of_run(state, run_id))
        if isinstance(found, str):
            stuck.append(f"{host} {found}")
            continue
        plan.hosts[host] = found
        if found.how == "nothing" and state.current and not healthy(state):
            plan.notes.append(f"{host}: {state.current} is live and not healthy, and not by this run: look at it")
    if stuck:
        raise ResumeError(
            f"{service}: run {run.id} cannot be taken back: {'; '.join([*stuck, *plan.notes])}; finish it "
            f"(--data resume={run.id}), or name a release that is everywhere (deploys/rollback.py --data release=...)"
        )
    _differ(run, plan)
    return plan


def _backward(run: _Run, state: ServiceState, mine: list[Mapping[str, Any]]) -> Continue | str:
    """What takes the run back on one target, or why that cannot be."""
    last = state.outcome or {}
    if not mine and state.unconfirmed_run is None:
        return _continue(state, state.current, "nothing", run.id)
    if not mine:  # an older run died here; what it left goes back by itself, and so it might as well now
        return _continue(state, last.get("previous"), "revert", str(state.unconfirmed_run))
    before = mine[0].get("previous")
    if state.unconfirmed_run and same_run(state.unconfirmed_run, run.id):
        if last.get("release") == before and last.get("state") == "provisional":  # an earlier abort was cut off here
            return _continue(state, before, "confirm", str(last["run_id"]))
        if last.get("previous") == before:
            return _continue(state, before, "revert", str(last["run_id"]))
    elif state.current == before:
        return _continue(state, state.current, "nothing", run.id)
    if before is None:
        return "had no release before it"
    if before not in state.releases:
        return f"had {before} before it, which is no longer there"
    return _continue(state, before, "activate", run.id)


def _differ(run: _Run, plan: Plan) -> None:
    """Notes it when the targets do not have one version afterwards."""
    alike: dict[str, list[str]] = {}
    for host, to in plan.hosts.items():
        found = run.states[host].releases.get(to.release or "")
        alike.setdefault(str(version_of(found)) if found else to.release or "no release", []).append(host)
    if len(alike) > 1:
        what = ", ".join(f"{version} on {names(hosts)}" for version, hosts in alike.items())
        plan.notes.append(
            f"the targets did not have one version before run {run.id}, and have these again: {what}; "
            "deploys/rollback.py --data release=... brings one everywhere"
        )


def _continue(state: ServiceState, folder: str | None, how: How, run_id: str) -> Continue:
    waits = str((state.outcome or {}).get("release")) if how in ("confirm", "revert") else None
    found = state.releases.get(folder or "")
    if found is None:
        return Continue(folder, None, None, how, run_id, waits)
    version = version_of(found)
    return Continue(folder, version.sha256, version.commit, how, run_id, waits)


class _Run:
    """A run as its targets and its journal know it."""

    def __init__(
        self, run_id: str, service: str, states: Mapping[str, ServiceState], planned: Mapping[str, str] | None
    ) -> None:
        self.id, self.service, self.planned = base_of(run_id), service, dict(planned or {})
        self.states = {host: state for host, state in states.items() if not planned or host in planned}
        others, absent = [h for h in states if h not in self.states], [h for h in self.planned if h not in states]
        self.notes = [f"{names(others)}: no target of run {self.id}, left alone"] if others else []
        if absent:
            self.notes.append(
                f"{names(absent)}: targets of run {self.id} and not of this one; they keep what they have"
            )
        self.mine = {host: of_run(state, run_id) for host, state in self.states.items()}
        if not planned and not any(self.mine.values()):
            raise UnknownRunError(self._unknown(states.values()))
        self._refuse_overtaken()

    def begun(self, host: str) -> str | None:
        """Folder of the run's release on one target, as planned or as the target wrote it down first."""
        if host in self.planned:
            return self.planned[host]
        return next((str(record.get("release")) for record in self.mine[host]), None)

    def goal(self) -> Version | None:
        """The version of the run; None: its release is on no target."""
        for host, state in self.states.items():
            found = state.releases.get(self.begun(host) or "")
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
        """A later run has put something else live: going on with this one would undo that."""
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
    """Where the records of later runs begin: behind the run's own; without any, where newer run ids begin."""
    found = records(state)
    mine = [place for place, record in enumerate(found) if same_run(str(record.get("run_id") or ""), run_id)]
    if mine:
        return mine[-1] + 1
    older = [place for place, record in enumerate(found) if base_of(str(record.get("run_id") or "")) < base_of(run_id)]
    return older[-1] + 1 if older else 0
