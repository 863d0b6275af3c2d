"""Stage `status`: what runs where, since when, healthy or not, and where unit files drifted. Changes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from gofallback.deploys.checks.approval_status import approval_rows, freeze_rows
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.stage import stage
from gofallback.deploys.run.target_state import state_of
from gofallback.model import DataError, Service, Strict
from gofallback.pyinfra_patches.flags import cli_parameters
from gofallback.release import templates
from gofallback.release.drift import live_units, manual_changes
from gofallback.release.render import render
from gofallback.release.state import ServiceState, TargetState
from gofallback.report import screen
from gofallback.report.fleet import Condition, StatusRow, rules_lines, status_table, version_lines

_ROWS: Key[dict[str, list[StatusRow]]] = Key("rows of status")


@stage("status", "targets")
def status(ctx: RunContext, host: Host) -> None:
    """Make the rows of one target; the last target prints the table."""
    rows = ctx.once(_ROWS, dict)
    try:
        target = state_of(ctx, host)
    except PyinfraError as error:
        rows[host.name] = [StatusRow(host=host.name, service="-", condition="unknown", reason=str(error))]
    else:
        rows[host.name] = [_row(ctx, host, service, target) for service in ctx.services(host)]
    if len(rows) == len(ctx.targets):
        _show(ctx, [row for target_host in ctx.targets for row in rows[target_host.name]])


def _show(ctx: RunContext, rows: list[StatusRow]) -> None:
    rows += [
        StatusRow(host=name, service="-", condition="unknown", reason="cannot be reached")
        for name in ctx.unreachable_targets
    ]
    freezes, approvals = freeze_rows(ctx), approval_rows(ctx, rows)
    if cli_parameters().get("json_output"):
        parts: dict[str, Sequence[Strict]] = {"status": rows, "freeze": freezes, "approvals": approvals}
        print(json.dumps({key: [row.model_dump(mode="json") for row in part] for key, part in parts.items()}, indent=2))
    else:
        screen.console().print(status_table(rows))
        for line in version_lines(rows):
            screen.console().print(line, soft_wrap=True)
        for line in rules_lines(freezes, approvals):
            screen.console().print(line, soft_wrap=True)
    # Nothing is left to execute, so the run ends before pyinfra asks whether to go on. A SystemExit in a greenlet ends
    # the program through pyinfra's own way out (gevent throws it into the main greenlet), which disconnects.
    sys.exit(0 if all(row.condition == "healthy" for row in rows) else 1)


def _row(ctx: RunContext, host: Host, service: Service, target: TargetState) -> StatusRow:
    found = target.services[service.name]
    release = found.releases.get(found.current or "")
    manifest = _manifest(release.manifest if release else None)
    spec: Mapping[str, Any] = manifest.get("spec") or {}
    active = found.unit.since
    since = datetime.fromtimestamp(target.now - active, UTC) if active is not None else None
    return StatusRow(
        host=host.name,
        service=service.name,
        condition=_condition(found),
        release=found.current,
        version=spec.get("version"),
        commit=spec.get("commit"),
        sha256=found.hashes.get(f"bin/{service.binary}"),
        further=_extra_binaries(found),
        since=since.strftime("%Y-%m-%dT%H:%M:%SZ") if since else None,
        restarts=found.unit.restarts,
        reason=_reason(found),
        drift=_drift(found, service, manifest, ctx.project) if found.current else [],
        last_good=found.last_good,
        bad=sorted(found.bad),
        leased_to=_lease(found),
    ).model_copy(update=_last_run(found))


def _extra_binaries(found: ServiceState) -> dict[str, str]:
    """The extra binaries of the live release: names by its manifest, hashes by their bytes now."""
    release = found.releases.get(found.current or "")
    main = f"bin/{release.binary}" if release else ""
    named = [path for path in (release.contents if release else {}) if path.startswith("bin/") and path != main]
    return {path.removeprefix("bin/"): found.hashes[path] for path in named if path in found.hashes}


def _last_run(found: ServiceState) -> dict[str, str | None]:
    """The target's record of the last run there."""
    record = found.outcome or {}
    state = str(record.get("state", ""))
    if state not in ("intended", "provisional"):
        return {"standing": state}
    at = str((record.get("confirm") or {}).get("deadline") or "") or None
    return {"standing": state, "unfinished": str(record.get("run_id", "")), "goes_back_at": at}


def _lease(found: ServiceState) -> str | None:
    """The holder of the lease, with its number. A lapsed lease blocks nothing; its run did not end in order."""
    if found.lease is None:
        return None
    left = f"expires in {found.lease.expires_in or 0:.0f} s unless renewed"
    return f"{found.lease}, number {found.lease.number}, {'lapsed' if found.lease.expired else left}"


def _condition(found: ServiceState) -> Condition:
    if found.current is None:
        return "absent"
    if found.unit.active != "active":
        return "down"
    if found.health is None:
        return "unknown"
    return "healthy" if found.health.healthy else "unhealthy"


def _reason(found: ServiceState) -> str:
    if found.current is None:
        return "never released here"
    if found.unit.active != "active":
        return f"{found.name}.service is {found.unit.active} ({found.unit.sub})"
    return found.health.reason if found.health else "the agent is missing, so nothing was checked"


def _drift(found: ServiceState, service: Service, manifest: Mapping[str, Any], project: Path) -> list[str]:
    """Unit files that differ from the live release, then those that differ from group data today."""
    drift = manual_changes(found)
    spec = manifest.get("spec") or {}
    try:
        now = render(
            service,
            version=str(spec.get("version", "")),
            artifact_key=str(manifest.get("key", "")),
            agent_key="",  # names the release's folder only
            templates=templates.load(project),
        )
    except DataError as error:
        return [*drift, str(error)]
    live = live_units(found)
    changed = sorted(name for name, file in now.units.items() if name in live and live[name].content != file.content)
    return drift + [f"{name} differs from group data: the next rollout changes it" for name in changed]


def _manifest(content: bytes | None) -> dict[str, Any]:
    """The manifest of a release. A target may be damaged, so only text fields of its spec are kept."""
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    spec = found.get("spec")
    texts = {key: value for key, value in spec.items() if isinstance(value, str)} if isinstance(spec, dict) else {}
    return {**found, "spec": texts}
