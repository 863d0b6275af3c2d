"""What runs where: the rows of ``status``, and their table. Pure."""

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
    """One service on one target, as the target says it is."""

    host: str
    service: str
    condition: Condition
    release: str | None = None
    version: str | None = None
    commit: str | None = None
    sha256: str | None = None
    """Of the program that is live, computed from its bytes."""
    since: str | None = None
    """When the unit became active; RFC 3339, UTC."""
    restarts: int = 0
    """Restarts by systemd since then."""
    reason: str = ""
    """What the health check says, or why there is none."""
    drift: list[str] = Field(default_factory=list)
    """How the unit files on the host differ from the live release's, and from what group data would render now."""
    last_good: str | None = None
    bad: list[str] = Field(default_factory=list)
    """Releases that failed here."""
    leased_to: str | None = None


class FreezeRow(Strict):
    """An environment that is frozen."""

    environment: str
    name: str
    """Of the window."""
    until: str | None
    """RFC 3339 with offset; None: without an end."""
    text: str


class ApprovalRow(Strict):
    """How one version stands in one environment that demands approvals."""

    environment: str
    service: str
    version: str
    digest: str | None = None
    """Of what would be approved; None: that cannot be told."""
    required: int
    by: list[str] = Field(default_factory=list)
    """Whose approvals count."""
    expires: str | None = None
    """When the first of them ends; RFC 3339, UTC."""
    could_sign: list[str] = Field(default_factory=list)
    refused: list[str] = Field(default_factory=list)
    """A line for each approval that does not count."""
    trouble: str = ""
    """Why they cannot be counted."""
    text: str = ""


def rules_lines(freezes: Sequence[FreezeRow], approvals: Sequence[ApprovalRow]) -> list[Text]:
    """What freeze windows and approvals let through now, below the table."""
    lines = [Text(f"{row.environment} is frozen: {row.text}", style="yellow") for row in freezes]
    for row in approvals:
        enough = not row.trouble and len(row.by) >= row.required
        said = row.trouble or row.text
        until = f", until {row.expires}" if enough else ""
        head = f"{row.service} {row.version} for {row.environment}: "
        lines.append(Text(f"{head}{said}{until}", style="green" if enough else "yellow"))
        lines += [Text(f"    does not count: {line}") for line in row.refused]
    return lines


def status_table(rows: list[StatusRow]) -> Table:
    """One line a target and service; what is wrong stands below its line."""
    table = Table(header_style="bold")
    for column in ("target", "service", "release", "since (UTC)", "condition", "notes"):
        table.add_column(column, overflow="fold")
    for row in rows:
        notes = [*row.drift]
        if row.condition != "healthy" and row.reason:
            notes.insert(0, row.reason)
        if row.leased_to:
            notes.append(f"leased to {row.leased_to}")
        if row.restarts:
            notes.append(f"restarted {row.restarts} times")
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
