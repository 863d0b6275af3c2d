"""What a target's own records and folders say about its releases. Pure; the records are explained in docs/agent.md."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gofallback.release.state import ReleaseState, ServiceState
from gofallback.rollout.phases import GOOD_RECORDS, TargetPhase
from gofallback.runid import base_of, same_run


def records(state: ServiceState) -> list[Mapping[str, Any]]:
    """Every activation the target knows, oldest first; the last one is there once though it may be in both files."""
    found = list(state.history)
    if state.outcome:
        mine = state.outcome.get("run_id")
        found = [record for record in found if mine is None or record.get("run_id") != mine]
        found.append(state.outcome)
    return found


def of_run(state: ServiceState, run_id: str) -> list[Mapping[str, Any]]:
    """The records of one run and its continuations, oldest first."""
    return [record for record in records(state) if same_run(str(record.get("run_id") or ""), run_id)]


@dataclass(frozen=True)
class Version:
    """What makes two releases the same: the binary, not the rendered files, which may differ between targets."""

    version: str
    sha256: str | None = None
    commit: str | None = None
    platform: str | None = None

    def matches(self, found: ReleaseState) -> bool:
        """Whether this release is that version; on another platform the commit decides, the bytes differ there."""
        other = version_of(found)
        if self.version != other.version:
            return False
        if self.platform != other.platform and self.commit and other.commit:
            return self.commit == other.commit
        return self.sha256 == other.sha256

    def __str__(self) -> str:
        return self.version + (f" ({self.sha256[:12]})" if self.sha256 else "")


def version_of(found: ReleaseState) -> Version:
    """What a release folder holds; without a manifest its name tells the version."""
    try:
        spec = json.loads(found.manifest or b"")["spec"]
        commit, platform = str(spec["commit"]), str(spec["platform"])
    except (ValueError, KeyError, TypeError):
        commit, platform = None, None
    return Version(found.version or found.id.rpartition("-")[0] or found.id, found.sha256, commit, platform)


def phase_of_record(state: ServiceState, run_id: str, release: str | None) -> TargetPhase | None:
    """The phase of a target that a run had lost, by the target's own record; None: not decided yet.

    A record of an earlier part of the same run is no answer: what the run that is taken back had confirmed does not
    say that it was taken back.

    Args:
        state: what the target reports now.
        run_id: the run that waits for the target.
        release: the release that the run wants to be live there.
    """
    record = state.outcome or {}
    if not same_run(str(record.get("run_id") or ""), run_id):
        return TargetPhase.UNTOUCHED
    if state.unconfirmed_run is not None:
        return None
    how = record.get("state")
    if record.get("release") == release:
        if how in GOOD_RECORDS:
            return TargetPhase.CONFIRMED
        return TargetPhase.FAILED if how == "failed" else TargetPhase.REVERTED
    return TargetPhase.TAKEN_BACK if how == "reverted" and state.current == release else TargetPhase.UNTOUCHED


def healthy(state: ServiceState) -> bool:
    """Whether the live release runs and passes its health check."""
    return (
        state.current is not None
        and state.unit.active == "active"
        and state.health is not None
        and state.health.healthy
    )


def when(record: Mapping[str, Any]) -> str:
    """When an activation was, to be compared over targets: by its run's id, for the clocks of targets may be wrong."""
    run_id = str(record.get("run_id") or "")
    if re.match(r"\d{8}T\d{6}Z", run_id):
        return base_of(run_id)
    return re.sub(r"[-:]|\.\d+", "", str(record.get("started") or ""))


def lately_good(state: ServiceState) -> list[tuple[str, str]]:
    """Releases that were good here, the newest first, each once, pruned ones too: when (see `when`), and folder."""
    good = [
        (when(record), str(record.get("release"))) for record in records(state) if record.get("state") in GOOD_RECORDS
    ]
    if state.last_good and (not good or good[-1][1] != state.last_good):
        good.append((good[-1][0] if good else "", state.last_good))
    if state.outcome and state.outcome.get("previous"):  # it ran before: all that tells it when the history is lost
        good.insert(0, ("", str(state.outcome["previous"])))
    newest: dict[str, str] = {}
    for at, name in reversed(good):
        newest.setdefault(name, at)
    return [(at, name) for name, at in newest.items()]


def folder_for(state: ServiceState, version: Version, without: Collection[str] = ()) -> str | None:
    """The folder of a version on this target; several: the live one, the last good, the newest tried, the last sorted.

    Args:
        state: what the target told.
        version: which.
        without: folders that do not count.
    """
    there = [name for name, found in state.releases.items() if name not in without and version.matches(found)]
    good = [name for _, name in lately_good(state)]
    tried = [str(record.get("release")) for record in reversed(records(state))]
    return next((name for name in (state.current, *good, *tried, *sorted(there, reverse=True)) if name in there), None)


def listing(state: ServiceState) -> str:
    """The releases of a target, with what is to know about each."""
    notes = []
    for name, found in sorted(state.releases.items()):
        marks = ["live"] if name == state.current else []
        marks += [f"bad: {found.bad}"] if found.bad else []
        notes.append(name + (f" ({', '.join(marks)})" if marks else ""))
    return ", ".join(notes) or "none"


def names(hosts: Iterable[str], most: int = 5) -> str:
    """Targets in a line; of many, the first."""
    told = list(hosts)
    return ", ".join(told[:most]) + (f" and {len(told) - most} more" if len(told) > most else "")


def listings(states: Mapping[str, ServiceState]) -> str:
    """The releases of every target; those that have the same are named together."""
    alike: dict[str, list[str]] = {}
    for host, state in states.items():
        alike.setdefault(listing(state), []).append(host)
    return "; ".join(f"{names(hosts)}: {what}" for what, hosts in alike.items())
