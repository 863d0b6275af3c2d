"""The matrix as a table on the screen, and in docs/faults.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.table import Table
from rich.text import Text

from tests.faults.faults import FAULTS
from tests.faults.model import INVARIANTS, MOMENTS, Cell
from tests.paths import PROJECT

DOCS = PROJECT / "docs" / "faults.md"
MARKS = "<!-- matrix: written by `make faults` -->", "<!-- end of matrix -->"
_COLOURS = {"done": "green", "reverted": "yellow", "partly": "magenta", "refused": "cyan", "failed": "red"}


def table(cells: Iterable[Cell]) -> Table:
    """Fault by moment: outcome, seconds to one version, and the invariants that do not hold."""
    found = {(cell.fault, cell.moment): cell for cell in cells}
    drawn = Table(title="Fault matrix", title_justify="left", header_style="bold", row_styles=["", "dim"])
    drawn.add_column("fault")
    for moment in MOMENTS:
        drawn.add_column(moment)
    for name, fault in FAULTS.items():
        row = [_drawn(found.get((name, moment))) for moment in MOMENTS]
        if any(row):
            drawn.add_row(Text(fault.what), *row)
    drawn.caption = "seconds: from the fault to the whole fleet on one version; ✓: all five invariants hold"
    return drawn


def _drawn(cell: Cell | None) -> Text:
    if cell is None:
        return Text("")
    word = cell.outcome.split(" ")[0]
    said = Text(cell.outcome, style=_COLOURS.get(word, "red"))
    said.append(f"\n{_seconds(cell)} ", style="default")
    said.append("✓" if cell.holds else "✗ " + _wrong(cell), style="green" if cell.holds else "bold red")
    return said


def _seconds(cell: Cell) -> str:
    return "" if cell.error else ("never" if cell.seconds is None else f"{cell.seconds:.1f} s")


def _wrong(cell: Cell) -> str:
    return " ".join(cell.problems) if cell.problems else ("lab" if cell.error else "")


def line(cell: Cell, number: int, count: int) -> Text:
    """One cell, as soon as it has been played."""
    said = Text(f"{number:3}/{count} {cell.fault:8} {cell.moment:12} ")
    said.append(_drawn(cell))
    return Text(" ").join(part for part in said.split("\n")) + Text(f"  (cell {cell.took:.1f} s)", style="dim")


def markdown(cells: Iterable[Cell], about: Mapping[str, object]) -> str:
    """The table of docs/faults.md."""
    found = {(cell.fault, cell.moment): cell for cell in cells}
    held = sum(cell.holds for cell in found.values())
    lines = [
        f"{about['date']}, commit {about['commit']}, {about['cores']} cores: {held} of {len(found)} cells hold all "
        f"five invariants; {about['minutes']} minutes.",
        "",
        "| fault | " + " | ".join(MOMENTS) + " |",
        "|---" * (len(MOMENTS) + 1) + "|",
    ]
    for name, fault in FAULTS.items():
        row = [_plain(found.get((name, moment))) for moment in MOMENTS]
        if any(row):
            lines.append(f"| {fault.what} | " + " | ".join(row) + " |")
    wrong = [cell for cell in found.values() if not cell.holds]
    for cell in wrong:
        for name, text in [*cell.problems.items(), *([("not played", cell.error)] if cell.error else [])]:
            lines += ["", f"* **{cell.fault} / {cell.moment}**: {INVARIANTS.get(name, name)}: {text}"]
    return "\n".join(lines) + "\n"


def _plain(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"{cell.outcome}, {_seconds(cell)} {'✓' if cell.holds else '**✗ ' + _wrong(cell) + '**'}"


def into_docs(cells: Iterable[Cell], about: Mapping[str, object]) -> None:
    """Put the table between the marks of docs/faults.md."""
    text = DOCS.read_text(encoding="utf-8")
    head, _, rest = text.partition(MARKS[0])
    tail = rest.partition(MARKS[1])[2]
    DOCS.write_text(f"{head}{MARKS[0]}\n\n{markdown(cells, about)}\n{MARKS[1]}{tail}", encoding="utf-8")
