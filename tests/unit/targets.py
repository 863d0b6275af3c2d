"""What targets tell about a service, for tests of the plans made from it."""

from __future__ import annotations

import json
from typing import Any

from gofallback.release.state import HealthResult, ReleaseState, ServiceState, UnitState

#: Binary of each release: the folder's name without its digest, unless a test says otherwise.
PLATFORM = "linux/amd64"


def release(name: str, bad: str | None = None, *, sha256: str | None = None, platform: str = PLATFORM) -> ReleaseState:
    version = name.rpartition("-")[0]
    spec = {"version": version, "commit": f"commit of {version}", "platform": platform}
    binary = sha256 or f"{version} for {platform}"
    manifest = json.dumps({"spec": spec, "sha256": binary}).encode()
    return ReleaseState(name, manifest, binary, version, bad)


def record(run: str, name: str, previous: str | None = None, state: str = "confirmed") -> dict[str, Any]:
    return {"run_id": run, "release": name, "previous": previous, "state": state}


def target(
    current: str | None, *releases: str | ReleaseState, ran: tuple[dict[str, Any], ...] = (), well: bool = True
) -> ServiceState:
    """A target with these releases; the last of the activations it ran is its record."""
    found = [one if isinstance(one, ReleaseState) else release(one) for one in releases]
    good = [one["release"] for one in ran if one["state"] == "confirmed"]
    settled = [one for one in ran if one["state"] not in ("provisional", "intended")]
    return ServiceState(
        "hello",
        "/opt/hello",
        current=current,
        releases={one.id: one for one in found},
        units={"hello.service": UnitState(active="active" if current else "inactive")},
        outcome=ran[-1] if ran else None,
        history=tuple(settled),
        last_good=good[-1] if good else None,
        health=HealthResult(well) if current else None,
    )
