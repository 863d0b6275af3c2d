"""The table at the end of a run: the release on each target, and the reason where it is not the intended one."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gofallback.report import audit, comparisons
from gofallback.report.model import GOOD_VERDICTS, Report, version_of
from gofallback.report.rows import TargetRow
from gofallback.report.style import HEALTH_STYLES, OUTCOME_STYLES, seconds_text, some, verdict_words
from gofallback.rollout.phases import GOOD, OPEN, TargetPhase

_DASH = "-"
#: Lines about person and reason that the screen shows; the other forms of the report have all.
_SHOWN = frozenset({"by", "because", "approved"})


def render(report: Report) -> RenderableType:
    """One row a target and service with release, commit, hash, health and outcome; then reasons and the verdict."""
    parts: list[RenderableType] = []
    if report.targets:
        parts += [_rows(report), *_reasons(report), Text("")]
    if report.comparisons:
        parts += [_compared(report), *(Text(line, style="red") for line in comparisons.reasons(report)), Text("")]
    faithful = comparisons.verdict(report)
    if faithful:
        good = "bold yellow" if report.uncompared else "bold green"
        parts.append(Text(faithful, style=good if report.faithful else "bold red"))
    parts += [Text(line, style="bold red") for line in audit.overrides(report)]
    if report.why or report.approvals:
        parts += [Text(f"{label}: {text}") for label, text in audit.lines(report) if label in _SHOWN]
    parts.append(_verdict(report))
    parts += [Text(f"note: {note}") for note in report.notes]
    return Group(*parts)


def new_table() -> Table:
    """An empty table in the style of the screen."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))


def _rows(report: Report) -> Table:
    several = len({row.service for row in report.targets}) > 1
    made = new_table()
    made.add_column("target", overflow="fold")
    if several:
        made.add_column("service", overflow="fold")
    made.add_column("before", overflow="fold", max_width=16)
    made.add_column("release", overflow="fold", max_width=30)
    made.add_column("commit", no_wrap=True)
    made.add_column("sha256", no_wrap=True)
    made.add_column("health", no_wrap=True)
    made.add_column("seconds", justify="right", no_wrap=True)
    made.add_column("outcome", no_wrap=True)
    for row in report.targets:
        made.add_row(
            Text(row.host),
            *([Text(row.service)] if several else []),
            Text(row.version_before or version_of(row.previous) or _DASH),
            Text(row.release or _DASH),
            Text(row.commit[:8] or _DASH),
            Text(row.sha256[:12] or _DASH),
            Text(row.health, style=HEALTH_STYLES[row.health]),
            Text(f"{row.seconds:.1f}"),
            Text(row.outcome, style=OUTCOME_STYLES[row.outcome]),
        )
    return made


def _compared(report: Report) -> Table:
    """The compared builds."""
    made = new_table()
    for name in comparisons.HEAD:
        made.add_column(name, overflow="fold")
    for *cells, same in comparisons.rows(report):
        made.add_row(*(Text(cell) for cell in cells), Text(same, style="green" if same == "yes" else "bold red"))
    return made


def _reasons(report: Report) -> list[Text]:
    """One line a reason, with all its targets: forty targets that were not reached are one line."""
    several = len({row.service for row in report.targets}) > 1
    alike: dict[tuple[str, ...], list[TargetRow]] = {}
    for row in report.targets:
        if row.outcome not in GOOD:
            alike.setdefault((row.outcome, row.reason, runs_now(row), row.deadline), []).append(row)
    return [_reason(rows, several) for rows in alike.values()]


def _reason(rows: list[TargetRow], several: bool) -> Text:
    row = rows[0]
    names = [f"{one.host}{' ' + one.service if several else ''}" for one in rows]
    line = Text()
    line.append(f"{some(names, 50)}: ", style="bold")
    line.append(row.outcome, style=OUTCOME_STYLES[row.outcome])
    if row.reason:
        line.append(f", {row.reason}")
    line.append(f"; {runs_now(row)}")
    if row.outcome in OPEN and row.deadline:
        line.append(f"; it goes back by itself at {row.deadline} (the target's clock) unless it is confirmed")
    return line


def runs_now(row: TargetRow) -> str:
    """The release on the target now, as a sentence."""
    if not row.running and row.outcome in (*OPEN, TargetPhase.FAILED) and row.health == "unknown":
        return "what runs there now is not known"
    if not row.running:
        return "nothing was changed there" if row.outcome is TargetPhase.UNTOUCHED else "no release runs there now"
    same = " (as before)" if row.running == row.previous else ""
    return f"{row.running} runs there now{same}"


def _verdict(report: Report) -> Text:
    good = report.verdict in GOOD_VERDICTS
    line = Text()
    line.append(report.verdict, style="bold green" if good else "bold red")
    line.append(f": {verdict_words(report)}, after {seconds_text(report.seconds)}")
    if report.reason:
        line.append(f"\n{report.reason}")
    return line
