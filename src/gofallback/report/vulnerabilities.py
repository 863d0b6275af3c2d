"""Known vulnerabilities as a table, for the screen and for every form of the report."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from gofallback.report.rows import ScanRow, VulnerabilityRow

HEAD = ("id", "module", "has", "fixed in", "in the binary", "counts", "what", "binaries")


def rows(scans: Iterable[ScanRow]) -> list[tuple[str, ...]]:
    """Cells for `HEAD`: a row for each vulnerability and module with all its binaries, but none below the level."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for scan in scans:
        for one in scan.findings:
            if one.state != "lesser":
                alike.setdefault(_cells(one, scan.stripped), []).append(f"{scan.service} {scan.platform}")
    return [(*cells, ", ".join(dict.fromkeys(names))) for cells, names in alike.items()]


def _cells(one: VulnerabilityRow, stripped: bool) -> tuple[str, ...]:
    inside = ", ".join(one.symbols) or ("unknown: stripped" if stripped else one.level)
    counts = {"counts": "yes", "expired": "yes"}.get(one.state, "no")
    note = one.note if one.state in ("ignored", "expired") else ""
    return (
        " ".join([one.id, *one.aliases[:1]]),
        one.module,
        one.version,
        one.fixed or "-",
        inside,
        f"{counts}: {note}" if note else counts,
        one.summary,
    )


def lines(scans: Iterable[ScanRow]) -> list[str]:
    """A line for each binary: scanner, database, result."""
    return [_line(scan) for scan in scans]


def _line(scan: ScanRow) -> str:
    name = f"{scan.service} {scan.version} {scan.platform}"
    if scan.problem and not scan.scanner:
        return f"{name}: {scan.problem}"
    states = [one.state for one in scan.findings]
    result = f"{states.count('counts') + states.count('expired')} count"
    result += f", {states.count('ignored')} ignored" if "ignored" in states else ""
    result += f", {states.count('lesser')} in modules whose vulnerable code is not in it" if "lesser" in states else ""
    about = f"{scan.scanner}, database of {scan.modified[:10] or 'unknown age'}"
    return f"{name}: {result} ({about})" + (f"; {scan.problem}" if scan.problem else "")


def table(scans: Iterable[ScanRow]) -> Table:
    """The rows as a table for the screen."""
    made = Table(title="known vulnerabilities", title_justify="left", header_style="bold")
    for name in HEAD:
        made.add_column(name, overflow="fold", min_width=len("CVE-2026-12345") if name == "id" else None)
    for row in rows(scans):
        counts = HEAD.index("counts")
        cells = [Text(cell) for cell in row]
        cells[counts] = Text(row[counts], style="red" if row[counts].startswith("yes") else "yellow")
        made.add_row(*cells)
    return made
