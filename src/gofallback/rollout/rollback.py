"""Which release a rollback brings the fleet to: one version, even where the targets differ. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gofallback.errors import GofallbackError
from gofallback.release.state import ServiceState
from gofallback.rollout.records import (
    Version,
    folder_for,
    healthy,
    lately_good,
    listings,
    names,
    records,
    version_of,
    when,
)

REMEDY = (
    "name one that is everywhere (--data release=...), leave a target out (--limit), or send one from the artifact "
    "store (deploys/rollout.py --data version=...)"
)


class CandidateError(GofallbackError):
    """There is no release that all targets can go back to; one line with the releases of each."""


class NeverReleasedError(CandidateError):
    """No target has any release of the service."""


@dataclass(frozen=True)
class RollbackGoal:
    """The release that one target goes back to."""

    release: str
    """Name of the release's folder on this target."""
    sha256: str | None
    """SHA-256 of the binary, from the release's manifest."""
    commit: str | None
    needed: bool
    """False: the release is live, healthy and confirmed there already."""


def rollback_goals(states: Mapping[str, ServiceState], named: str | None = None) -> dict[str, RollbackGoal]:
    """The release every target goes back to, for one service.

    The release being rolled back is the newest live one. The goal is the newest version that was good on the targets
    where that release is live, is on every target, and is bad on none. A version means version and binary; its folder
    is found on each target separately. Where all targets run the same, a second rollback goes forward again.

    Args:
        states: the state of each target, in inventory order.
        named: a release's folder name or version, to go back to that release, even if it is marked bad.

    Returns:
        Target to goal; targets without any release of the service are left out.

    Raises:
        NeverReleasedError: no target has any release of the service.
        CandidateError: no release qualifies; one line with the releases of each target and the remedy.
    """
    released = {host: state for host, state in states.items() if state.releases or state.current}
    if not released:
        service = next((state.name for state in states.values()), "service")
        raise NeverReleasedError(f"{service}: no target has any release of the service; deploys/rollout.py sends one")
    chosen = _last_good(released) if named is None else _named(released, named)
    return {host: _goal(released[host], folder) for host, folder in chosen.items()}


def _goal(state: ServiceState, folder: str) -> RollbackGoal:
    found = version_of(state.releases[folder])
    needed = not (state.current == folder and state.unconfirmed_run is None and healthy(state))
    return RollbackGoal(folder, found.sha256, found.commit, needed)


def _arrivals(states: Mapping[str, ServiceState]) -> dict[str, str]:
    """Target to the time its live release first came to this fleet: after a rollback that was cut off, the release it
    brought must not count as the newest."""
    first: dict[str, str] = {}
    for state in states.values():
        for record in records(state):
            if record.get("state") != "reverted":
                name, at = str(record.get("release")), when(record)
                first[name] = min(at, first.get(name, at))
    return {host: first.get(state.current, "") for host, state in states.items() if state.current}


def _last_good(states: Mapping[str, ServiceState]) -> dict[str, str]:
    """Target to the folder of the last good release before the newest live one."""
    arrived = _arrivals(states)
    newest = max(arrived.values(), default="")
    rolled_back = {host: str(states[host].current) for host, at in arrived.items() if at == newest}
    problems: dict[str, str] = {}
    for version in _candidates({host: states[host] for host in rolled_back or states}):
        folders: dict[str, str] = {}
        for host, state in states.items():
            # Another folder of the version that is rolled back qualifies: then only the rendered files had changed.
            folder = folder_for(state, version, {*state.bad, rolled_back.get(host, "")})
            if folder is not None:
                folders[host] = folder
        if len(folders) == len(states):
            return folders
        problems[str(version)] = _missing(states, version, [host for host in states if host not in folders])
    raise CandidateError(_no_candidate(states, set(rolled_back.values()), problems))


def _candidates(states: Mapping[str, ServiceState]) -> Iterator[Version]:
    """Versions that were good on these targets and are not live there, newest first."""
    good = [[(at, host, name) for at, name in lately_good(state)] for host, state in states.items()]
    # On one target the order of its records counts, whatever its clock; between targets the time of the run.
    for _, host, name in heapq.merge(*good, key=lambda one: one[0], reverse=True):
        if name in states[host].releases and name != states[host].current:
            yield version_of(states[host].releases[name])


def _missing(states: Mapping[str, ServiceState], version: Version, hosts: Sequence[str]) -> str:
    """Why a version does not qualify, over the targets that cannot have it."""
    reasons: dict[str, list[str]] = {}
    for host in hosts:
        state = states[host]
        bad = next((why for name, why in state.bad.items() if version.matches(state.releases[name])), None)
        reasons.setdefault(f"bad ({bad}) on" if bad else "missing on", []).append(host)
    return f"{version} is " + " and ".join(f"{why} {names(at)}" for why, at in reasons.items())


def _no_candidate(states: Mapping[str, ServiceState], rolled_back: Collection[str], problems: Mapping[str, str]) -> str:
    service = next((state.name for state in states.values()), "service")
    before = f" before {names(sorted(rolled_back))}" if rolled_back else ""
    why = "; ".join([*problems.values()][:3])
    return (
        f"{service}: no release that was good{before} is on every target and bad on none{': ' if why else ''}{why}; "
        f"there: {listings(states)}; {REMEDY}"
    )


def _named(states: Mapping[str, ServiceState], named: str) -> dict[str, str]:
    """Target to the folder of the named release."""
    service = next((state.name for state in states.values()), "service")
    meant = _versions_named(states, named)
    if len(meant) > 1:
        raise CandidateError(
            f"{service}: {named} means different binaries: {', '.join(str(version) for version in meant)}; "
            f"there: {listings(states)}; name one by its folder (--data release=...)"
        )
    found = {
        host: named if named in state.releases else _good_or_bad_folder(state, meant[0]) if meant else None
        for host, state in states.items()
    }
    missing = [host for host, folder in found.items() if folder is None]
    if missing:
        raise CandidateError(
            f"{service}: release {named} is not on {names(missing)}; there: {listings(states)}; {REMEDY}"
        )
    return {host: folder for host, folder in found.items() if folder}


def _versions_named(states: Mapping[str, ServiceState], named: str) -> list[Version]:
    """The versions that a folder's name or a version means; several: their binaries differ."""
    folders = [found for state in states.values() for found in state.releases.values()]
    candidates = [found for found in folders if found.id == named] or folders
    meant: list[Version] = []
    for found in candidates:
        version = version_of(found)
        if named in (found.id, version.version) and not any(one.matches(found) for one in meant):
            meant.append(version)
    return meant


def _good_or_bad_folder(state: ServiceState, version: Version) -> str | None:
    """A folder of that version that is not bad, else a bad one: the operator has named it."""
    return folder_for(state, version, state.bad) or folder_for(state, version)
