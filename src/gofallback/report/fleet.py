"""The rows of ``status``: releases on targets, freezes, approvals; and their table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from rich.table import Table
from rich.text import Text

from gofallback.model.base import Strict

Condition = Literal["healthy", "unhealthy", "down", "absent", "unknown"]
_COLOURS: dict[Condition, str] = {
    "healthy": "green",
    "unhealthy": "red",
    "down": "red",
    "absent": "yellow",
    "unknown": "yellow",
}


class StatusRow(Strict):
    """One service on one target, as the target reports it."""

    host: str
    service: str
    condition: Condition
    release: str | None = None
    version: str | None = None
    commit: str | None = None
    sha256: str | None = None
    """Of the live binary, computed from its bytes."""
    further: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the live release's other binaries by name, computed from their bytes."""
    since: str | None = None
    """When the unit became active; RFC 3339, UTC."""
    restarts: int = 0
    """Restarts by systemd since `since`."""
    reason: str = ""
    """The result of the health check, or why there is none."""
    drift: list[str] = Field(default_factory=list)
    """Differences of the unit files on the host from those of the live release, and from group data."""
    last_good: str | None = None
    bad: list[str] = Field(default_factory=list)
    """Releases that failed on this target."""
    leased_to: str | None = None
    unfinished: str | None = None
    """Id of the run that switched this target and has not confirmed the release."""
    standing: str = ""
    """State in the target's record of the last run: intended, provisional, confirmed, reverted or failed."""
    goes_back_at: str | None = None
    """When a provisional release goes back unless the run renews its lease; the target's clock, RFC 3339."""


class FreezeRow(Strict):
    """An environment that is frozen."""

    environment: str
    name: str
    """Of the window."""
    until: str | None
    """RFC 3339 with offset; None: without an end."""
    text: str


class ApprovalRow(Strict):
    """The approvals of one version in one environment that requires them."""

    environment: str
    service: str
    version: str
    digest: str | None = None
    """Of the release to approve; None: not known."""
    required: int
    by: list[str] = Field(default_factory=list)
    """Principals whose approvals count."""
    expires: str | None = None
    """When the first of these approvals ends; RFC 3339, UTC."""
    could_sign: list[str] = Field(default_factory=list)
    refused: list[str] = Field(default_factory=list)
    """A line for each approval that does not count."""
    trouble: str = ""
    """Why the approvals cannot be counted."""
    text: str = ""


def rules_lines(freezes: Sequence[FreezeRow], approvals: Sequence[ApprovalRow]) -> list[Text]:
    """Lines below the table: active freezes, and approvals."""
    lines = [Text(f"{row.environment} is frozen: {row.text}", style="yellow") for row in freezes]
    for row in approvals:
        enough = not row.trouble and len(row.by) >= row.required
        until = f", until {row.expires}" if enough else ""
        head = f"{row.service} {row.version} for {row.environment}: "
        lines.append(Text(f"{head}{row.trouble or row.text}{until}", style="green" if enough else "yellow"))
        lines += [Text(f"    does not count: {line}") for line in row.refused]
    return lines


def version_lines(rows: Sequence[StatusRow]) -> list[Text]:
    """A line for every service with several versions on the fleet, and one for every unfinished run."""
    lines = []
    for service in dict.fromkeys(row.service for row in rows if row.version or row.release):
        on: dict[str, list[str]] = {}
        for row in rows:
            if row.service == service:
                on.setdefault(row.version or row.release or "nothing", []).append(row.host)
        if len(on) > 1:
            versions = "; ".join(f"{version} on {', '.join(hosts)}" for version, hosts in on.items())
            lines.append(Text(f"{service} is not on one version: {versions}", style="yellow"))
    for run in dict.fromkeys(row.unfinished for row in rows if row.unfinished):
        lines.append(
            Text(
                f"run {run} has not ended: deploys/rollout.py --data resume={run}, or --data abort={run}", style="cyan"
            )
        )
    return lines


def status_table(rows: list[StatusRow]) -> Table:
    """One row for each target and service."""
    table = Table(header_style="bold")
    for column in ("target", "service", "release", "since (UTC)", "condition", "notes"):
        table.add_column(column, overflow="fold")
    for row in rows:
        notes = [*row.drift]
        if row.condition != "healthy" and row.reason:
            notes.insert(0, row.reason)
        if row.leased_to:
            notes.append(f"leased to {row.leased_to}")
        if row.unfinished:
            until = f" at {row.goes_back_at} unless it is renewed or confirmed" if row.goes_back_at else ""
            notes.append(f"{row.standing} since run {row.unfinished}: goes back{until}")
        if row.restarts:
            notes.append(f"restarted {row.restarts} times")
        if row.further:
            notes.append(f"with {', '.join(sorted(row.further))}")
        notes += [f"bad: {name}" for name in row.bad]
        table.add_row(
            Text(row.host),
            Text(row.service),
            Text(row.release or "-"),
            Text((row.since or "-").replace("T", " ").removesuffix("Z")),
            Text(row.condition, style=_COLOURS[row.condition]),
            Text("\n".join(notes)),
        )
    return table
