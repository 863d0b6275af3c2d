"""Reads a target's records and folders: its activations and releases. Pure; docs/agent.md explains the records."""

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
    """Every activation that the target recorded, oldest first. The last one is in both files, and here once."""
    every = list(state.history)
    if state.outcome:
        last = state.outcome.get("run_id")
        every = [record for record in every if last is None or record.get("run_id") != last]
        every.append(state.outcome)
    return every


def of_run(state: ServiceState, run_id: str) -> list[Mapping[str, Any]]:
    """The records of one run and its continuations, oldest first."""
    return [record for record in records(state) if same_run(str(record.get("run_id") or ""), run_id)]


@dataclass(frozen=True)
class Version:
    """Identifies a release by its binary. Rendered files do not count: they may differ between targets."""

    version: str
    sha256: str | None = None
    commit: str | None = None
    platform: str | None = None

    def matches(self, found: ReleaseState) -> bool:
        """Whether a release has this version. On another platform the commit decides, as the bytes differ."""
        other = version_of(found)
        if self.version != other.version:
            return False
        if self.platform != other.platform and self.commit and other.commit:
            return self.commit == other.commit
        return self.sha256 == other.sha256

    def __str__(self) -> str:
        return self.version + (f" ({self.sha256[:12]})" if self.sha256 else "")


def version_of(found: ReleaseState) -> Version:
    """The version in a release folder, from its manifest, else from its name."""
    try:
        spec = json.loads(found.manifest or b"")["spec"]
        commit, platform = str(spec["commit"]), str(spec["platform"])
    except (ValueError, KeyError, TypeError):
        commit, platform = None, None
    return Version(found.version or found.id.rpartition("-")[0] or found.id, found.sha256, commit, platform)


def phase_of_record(state: ServiceState, run_id: str, release: str | None) -> TargetPhase | None:
    """The phase of a target that a run had lost, by the target's own record; None: not decided yet.

    A record of an earlier part of the same run does not count: an abort finds the record in which the aborted run
    confirmed its release, and that record does not say that the release was taken back.

    Args:
        state: what the target reports now.
        run_id: the run that waits for the target.
        release: the release that the run puts there.
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
    """The time of an activation, comparable between targets: that of its run id, as clocks of targets may be wrong."""
    run_id = str(record.get("run_id") or "")
    if re.match(r"\d{8}T\d{6}Z", run_id):
        return base_of(run_id)
    return re.sub(r"[-:]|\.\d+", "", str(record.get("started") or ""))


def lately_good(state: ServiceState) -> list[tuple[str, str]]:
    """Releases that were good on a target, newest first, each once, also pruned ones: time (see `when`) and folder."""
    good = [
        (when(record), str(record.get("release"))) for record in records(state) if record.get("state") in GOOD_RECORDS
    ]
    if state.last_good and (not good or good[-1][1] != state.last_good):
        good.append((good[-1][0] if good else "", state.last_good))
    if state.outcome and state.outcome.get("previous"):  # it ran before: the only trace of it when the history is lost
        good.insert(0, ("", str(state.outcome["previous"])))
    newest: dict[str, str] = {}
    for at, name in reversed(good):
        newest.setdefault(name, at)
    return [(at, name) for name, at in newest.items()]


def folder_for(state: ServiceState, version: Version, without: Collection[str] = ()) -> str | None:
    """The folder of a version on a target. Of several: the live one, the last good, the newest tried, the last by name.

    Args:
        state: of the service on the target.
        version: the version to find.
        without: folders that do not count.
    """
    fitting = [name for name, found in state.releases.items() if name not in without and version.matches(found)]
    good = [name for _, name in lately_good(state)]
    tried = [str(record.get("release")) for record in reversed(records(state))]
    return next(
        (name for name in (state.current, *good, *tried, *sorted(fitting, reverse=True)) if name in fitting), None
    )


def listing(state: ServiceState) -> str:
    """The releases of a target, with marks for the live and the bad ones."""
    notes = []
    for name, found in sorted(state.releases.items()):
        marks = ["live"] if name == state.current else []
        marks += [f"bad: {found.bad}"] if found.bad else []
        notes.append(name + (f" ({', '.join(marks)})" if marks else ""))
    return ", ".join(notes) or "none"


def names(hosts: Iterable[str], most: int = 5) -> str:
    """Names of targets in a line; of many, the first."""
    every = list(hosts)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def listings(states: Mapping[str, ServiceState]) -> str:
    """The releases of every target; targets with the same releases are listed together."""
    alike: dict[str, list[str]] = {}
    for host, state in states.items():
        alike.setdefault(listing(state), []).append(host)
    return "; ".join(f"{names(hosts)}: {what}" for what, hosts in alike.items())
