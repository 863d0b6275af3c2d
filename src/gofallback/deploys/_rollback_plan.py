"""rollback.py: which release each target goes back to, from what is on the target itself."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pyinfra.api.host import Host

from gofallback.deploys._site import RefusedError, Site
from gofallback.deploys._wanted import state_of
from gofallback.model import Service
from gofallback.release.candidate import CandidateError, candidate


@dataclass(frozen=True)
class Candidate:
    """One release to go back to."""

    service: Service
    release: str
    sha256: str | None
    needed: bool


def candidates(here: Site, host: Host) -> list[Candidate]:
    """What each service of a target goes back to; worked out once.

    Raises:
        RefusedError: there is no such release, or none that was ever good.
    """
    key = f"candidates:{host.name}"
    with here.lock:
        if key not in here.memo:
            here.memo[key] = [_candidate(here, host, service) for service in here.services(host)]
        found: list[Candidate] = here.memo[key]
        return found


def _commit(manifest: bytes | None) -> str | None:
    try:
        return str(json.loads(manifest or b"")["spec"]["commit"])
    except (ValueError, KeyError, TypeError):
        return None


def _candidate(here: Site, host: Host, service: Service) -> Candidate:
    state = state_of(here, host).services[service.name]
    try:
        release = candidate(state, here.run.options.release)
    except CandidateError as error:
        raise RefusedError(f"{host.name}: {error}") from None
    outcome = here.run.outcome(host.name, service.name)
    outcome.release, outcome.previous, outcome.live = release, state.current, state.current
    found = state.releases[release]
    outcome.sha256 = found.sha256
    outcome.commit = _commit(found.manifest)
    live = state.current == release and state.unit.active == "active"
    healthy = state.health is not None and state.health.healthy
    if live and healthy:
        outcome.state, outcome.healthy = "unchanged", True
    host.log(
        f"{service.name}: {state.current or 'nothing'} -> {release}"
        if not live
        else f"{service.name}: {release} is live"
    )
    return Candidate(service, release, found.sha256, needed=not (live and healthy))
