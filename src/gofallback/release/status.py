"""What runs on a target, in one row a service: for `deploys/status.py`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gofallback.release.plan import drift, live_units
from gofallback.release.render import Rendered
from gofallback.release.state import ServiceState, TargetState


@dataclass(frozen=True)
class ServiceStatus:
    """One service on one target. Plain values only: `dataclasses.asdict` gives the JSON of `--json`."""

    service: str
    release: str | None
    version: str
    commit: str
    sha256: str
    """Of the live binary, hashed there now."""
    active: str
    """systemd's ActiveState."""
    since: str
    """RFC 3339, UTC; empty when it is not active."""
    restarts: int
    healthy: bool | None
    """None: there is no check to run."""
    reason: str
    """What the health check said."""
    last_good: str | None
    drift_release: tuple[str, ...]
    """How the host's unit files and binary differ from those of the live release: somebody changed them by hand."""
    drift_data: tuple[str, ...]
    """How the host's unit files differ from what the group data of now gives: the next rollout changes them."""
    bad: tuple[str, ...]
    """Releases marked as bad."""
    lock: str
    activating: str | None

    @property
    def well(self) -> bool:
        """Live, healthy, and as its release is."""
        return self.active == "active" and self.healthy is True and not self.drift_release


def service_status(target: TargetState, service: str, wanted: Mapping[str, Rendered]) -> ServiceStatus:
    """The row of one service.

    Args:
        target: what the target told.
        service: name.
        wanted: units as the data gives them now (`release.render.render_units`).
    """
    state = target.services[service]
    manifest = _manifest(state)
    found = state.releases.get(state.current or "")
    hashes = [digest for path, digest in state.hashes.items() if path.startswith("bin/")]
    sha256 = hashes[0] if hashes else ""
    own = drift(state, live_units(state)) if state.current else []
    if found and found.sha256 and sha256 != found.sha256:
        own.append(f"the binary has sha256 {sha256[:12] or 'of nothing'}, its manifest says {found.sha256[:12]}")
    since = state.unit.since
    return ServiceStatus(
        service=service,
        release=state.current,
        version=found.version if found else "",
        commit=manifest.get("commit", ""),
        sha256=sha256,
        active=state.unit.active,
        since="" if since is None else f"{datetime.fromtimestamp(target.now - since, UTC):%Y-%m-%dT%H:%M:%SZ}",
        restarts=state.unit.restarts,
        healthy=state.health.healthy if state.health else None,
        reason=state.health.reason if state.health else "",
        last_good=state.last_good,
        drift_release=tuple(own),
        drift_data=tuple(drift(state, wanted)) if state.current else (),
        bad=tuple(sorted(state.bad)),
        lock=str(state.lock) if state.lock else "",
        activating=state.activating,
    )


def _manifest(state: ServiceState) -> dict[str, str]:
    file = state.files.get("manifest.json")
    try:
        spec = json.loads(file.content)["spec"] if file else {}
    except (ValueError, KeyError, TypeError):
        return {}
    return {key: value for key, value in spec.items() if isinstance(value, str)} if isinstance(spec, dict) else {}
