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
    """There is nothing all targets can go back to; one line with what is there."""


class NeverReleasedError(CandidateError):
    """No target has any release of the service."""


@dataclass(frozen=True)
class RollbackGoal:
    """What one target goes back to."""

    release: str
    """Name of the release's folder on this target."""
    sha256: str | None
    """Of the binary, as the release's manifest says."""
    commit: str | None
    needed: bool
    """False: it is live, healthy and confirmed there already."""


def rollback_goals(states: Mapping[str, ServiceState], named: str | None = None) -> dict[str, RollbackGoal]:
    """The release every target goes back to, for one service.

    What is to be left is that live release which came to the fleet last. The goal is what was good most recently where
    that is live, is there on every target, and is bad on none. The same version means the same version and binary; the
    folder is found on each target by itself. Where all targets run the same, a second rollback goes forth again.

    Args:
        states: what each target of the rollback told, in inventory order.
        named: a release's folder name or its version: that one. A bad mark does not stop it.

    Returns:
        By target; those without any release of the service are left out.

    Raises:
        NeverReleasedError: no target has any release of it.
        CandidateError: there is no such release on all of them; one line says what is where and what to do.
    """
    mine = {host: state for host, state in states.items() if state.releases or state.current}
    if not mine:
        service = next((state.name for state in states.values()), "service")
        raise NeverReleasedError(f"{service}: no target has any release of the service; deploys/rollout.py sends one")
    chosen = _last_good(mine) if named is None else _named(mine, named)
    return {host: _goal(mine[host], folder) for host, folder in chosen.items()}


def _goal(state: ServiceState, folder: str) -> RollbackGoal:
    found = version_of(state.releases[folder])
    needed = not (state.current == folder and state.unconfirmed_run is None and healthy(state))
    return RollbackGoal(folder, found.sha256, found.commit, needed)


def _arrivals(states: Mapping[str, ServiceState]) -> dict[str, str]:
    """When each live release first came to this fleet: a rollback that was cut off must not look like the news."""
    first: dict[str, str] = {}
    for state in states.values():
        for record in records(state):
            if record.get("state") != "reverted":
                name, at = str(record.get("release")), when(record)
                first[name] = min(at, first.get(name, at))
    return {host: first.get(state.current, "") for host, state in states.items() if state.current}


def _last_good(states: Mapping[str, ServiceState]) -> dict[str, str]:
    """By target, the folder of what was good before that which came last."""
    arrived = _arrivals(states)
    newest = max(arrived.values(), default="")
    left = {host: str(states[host].current) for host, at in arrived.items() if at == newest}
    problems: dict[str, str] = {}
    for version in _candidates({host: states[host] for host in left or states}):
        folders: dict[str, str] = {}
        for host, state in states.items():
            # Another folder of the very version that is left will do: then only the rendered files had changed.
            folder = folder_for(state, version, {*state.bad, left.get(host, "")})
            if folder is not None:
                folders[host] = folder
        if len(folders) == len(states):
            return folders
        problems[str(version)] = _missing(states, version, [host for host in states if host not in folders])
    raise CandidateError(_nothing(states, set(left.values()), problems))


def _candidates(states: Mapping[str, ServiceState]) -> Iterator[Version]:
    """What was good on these targets and is not live there, the newest first."""
    good = [[(at, host, name) for at, name in lately_good(state)] for host, state in states.items()]
    # On one target its own order counts, whatever the clocks said; between targets the time of the run.
    for _, host, name in heapq.merge(*good, key=lambda one: one[0], reverse=True):
        if name in states[host].releases and name != states[host].current:
            yield version_of(states[host].releases[name])


def _missing(states: Mapping[str, ServiceState], version: Version, hosts: Sequence[str]) -> str:
    """Why a version will not do, over the targets that cannot have it."""
    reasons: dict[str, list[str]] = {}
    for host in hosts:
        state = states[host]
        bad = next((why for name, why in state.bad.items() if version.matches(state.releases[name])), None)
        reasons.setdefault(f"bad ({bad}) on" if bad else "missing on", []).append(host)
    return f"{version} is " + " and ".join(f"{why} {names(at)}" for why, at in reasons.items())


def _nothing(states: Mapping[str, ServiceState], left: Collection[str], problems: Mapping[str, str]) -> str:
    service = next((state.name for state in states.values()), "service")
    before = f" before {names(sorted(left))}" if left else ""
    why = "; ".join([*problems.values()][:3])
    return (
        f"{service}: no release that was good{before} is on every target and bad on none{': ' if why else ''}{why}; "
        f"there: {listings(states)}; {REMEDY}"
    )


def _named(states: Mapping[str, ServiceState], named: str) -> dict[str, str]:
    """By target, the folder of the release a person named."""
    service = next((state.name for state in states.values()), "service")
    meant = _meant(states, named)
    if len(meant) > 1:
        raise CandidateError(
            f"{service}: {named} means different binaries: {', '.join(str(version) for version in meant)}; "
            f"there: {listings(states)}; name one by its folder (--data release=...)"
        )
    found = {
        host: named if named in state.releases else _either(state, meant[0]) if meant else None
        for host, state in states.items()
    }
    missing = [host for host, folder in found.items() if folder is None]
    if missing:
        raise CandidateError(
            f"{service}: release {named} is not on {names(missing)}; there: {listings(states)}; {REMEDY}"
        )
    return {host: folder for host, folder in found.items() if folder}


def _meant(states: Mapping[str, ServiceState], named: str) -> list[Version]:
    """What a folder's name or a version stands for; more than one: binaries that differ."""
    folders = [found for state in states.values() for found in state.releases.values()]
    named_so = [found for found in folders if found.id == named] or folders
    meant: list[Version] = []
    for found in named_so:
        version = version_of(found)
        if named in (found.id, version.version) and not any(one.matches(found) for one in meant):
            meant.append(version)
    return meant


def _either(state: ServiceState, version: Version) -> str | None:
    """A folder of that version that is not bad, else a bad one: a person has named it."""
    return folder_for(state, version, state.bad) or folder_for(state, version)
