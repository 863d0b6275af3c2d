"""The timeline in a terminal: one bar for each host and stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from gofallback.report.model import STAGES, Report, Span, Stage, StageName
from gofallback.report.style import STAGE_COLOURS, STATUS_COLOURS, seconds_text

#: Bars of one stage that are drawn at most; failures first, then the slowest.
MOST_BARS = 12
_LABEL = 28
_SECONDS = 13
_MARKS = {"ok": "", "failed": " failed", "reverted": " reverted", "skipped": " skipped"}
#: Seconds; a stage that was over sooner had nothing to do on that host.
MOMENT = 0.005


@dataclass(frozen=True)
class Timeline:
    """A rich renderable of one report's stages and hosts."""

    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line a bar, as wide as the console."""
        width = max(10, options.max_width - _LABEL - _SECONDS - 10)
        full = "#" if options.ascii_only else "█"
        rest = "." if options.ascii_only else "·"
        for stage in ordered(self.report):
            yield from self._stage(stage, width, full, rest)

    def _stage(self, stage: Stage, width: int, full: str, rest: str) -> Iterator[Text]:
        shown, hidden = chosen(stage)
        for index, span in enumerate(shown):
            yield self._bar(stage.name, span, width, full, rest, first=index == 0)
        if hidden:
            slowest = max(span.seconds for span in hidden)
            yield Text(f"{'':10} and {len(hidden)} more hosts, up to {seconds_text(slowest)}", style="dim")

    def _bar(self, name: StageName, span: Span, width: int, full: str, rest: str, *, first: bool) -> Text:
        start, length = scaled(span, self.report.seconds, width)
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{name if first else '':10} ", style="bold")
        line.append(fit(span.host, _LABEL - 12) + " ")
        line.append(rest * start, style="dim")
        line.append(full * length, style=STATUS_COLOURS.get(span.status, STAGE_COLOURS[name]))
        line.append(rest * (width - start - length), style="dim")
        line.append(f"{seconds_text(span.seconds):>{_SECONDS - 1}}")
        line.append(_MARKS[span.status], style=STATUS_COLOURS.get(span.status, ""))
        return line


def render(report: Report) -> Timeline:
    """The bars of a report, to print with rich."""
    return Timeline(report)


def ordered(report: Report) -> list[Stage]:
    """The stages that have anything to draw, in the order of the flow; hosts with nothing to do are left out."""
    drawn = [
        stage.model_copy(
            update={"spans": [span for span in stage.spans if span.status != "ok" or span.seconds >= MOMENT]}
        )
        for stage in report.stages
    ]
    return sorted((stage for stage in drawn if stage.spans), key=lambda stage: STAGES.index(stage.name))


def chosen(stage: Stage) -> tuple[list[Span], list[Span]]:
    """The spans to draw (in order of start) and those there is no room for."""
    ranked = sorted(stage.spans, key=lambda span: (span.status == "ok", -span.seconds))
    shown = ranked[:MOST_BARS]
    return sorted(shown, key=lambda span: (span.start, span.host)), ranked[MOST_BARS:]


def scaled(span: Span, total: float, width: int) -> tuple[int, int]:
    """Start and length of a bar in cells; every bar is at least one cell long and inside the width."""
    total = max(total, span.end, 0.001)
    start = min(int(span.start / total * width), width - 1)
    length = max(1, round(span.end / total * width) - start)
    return start, min(length, width - start)


def fit(text: str, cells: int) -> str:
    """A text cut or filled to so many cells; a cut one ends in ``~``."""
    return set_cell_size(text, cells - 1) + "~" if cell_len(text) > cells else set_cell_size(text, cells)
