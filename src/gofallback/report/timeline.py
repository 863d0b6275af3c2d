"""The timeline in a terminal: a bar for each wave, and for each host and stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from gofallback.report.model import STAGES, Report, Span, Stage, StageName
from gofallback.report.rows import Hold, WaveRow
from gofallback.report.style import HOLD_COLOUR, STAGE_COLOURS, STATUS_COLOURS, WAVE_COLOURS, seconds_text

#: Most bars of one stage; failures first, then the slowest hosts.
MOST_BARS = 12
_LABEL = 28
_SECONDS = 13
_MARKS = {"ok": "", "failed": " failed", "reverted": " reverted", "skipped": " skipped"}
#: Seconds; a stage that was shorter had nothing to do on that host.
_SHORTEST = 0.005


@dataclass(frozen=True)
class _Glyphs:
    full: str
    hold: str
    rest: str
    mark: str


_UNICODE = _Glyphs("█", "▒", "·", "│")
_ASCII = _Glyphs("#", "=", ".", "|")


@dataclass(frozen=True)
class Timeline:
    """A rich renderable of a report's waves, stages and hosts."""

    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A line for each bar, as wide as the console."""
        width = max(10, options.max_width - _LABEL - _SECONDS - 10)
        total = max(self.report.seconds, 0.001)
        waves = started_waves(self.report)
        marks = frozenset(int(wave.start / total * width) for wave in waves if wave.start)
        canvas = _Canvas(self.report, width, _ASCII if options.ascii_only else _UNICODE, marks)
        for index, wave in enumerate(waves[:MOST_BARS]):
            yield canvas.wave(wave, first=index == 0)
        if len(waves) > MOST_BARS:
            yield Text(f"{'':10} and {len(waves) - MOST_BARS} more waves", style="dim")
        for stage in ordered(self.report):
            yield from canvas.stage(stage)


@dataclass(frozen=True)
class _Canvas:
    """Draws the lines of one timeline."""

    report: Report
    width: int
    """Cells of a line's bars."""
    glyphs: _Glyphs
    marks: frozenset[int]
    """Cells in which a wave begins."""

    def wave(self, wave: WaveRow, *, first: bool) -> Text:
        start, end = wave.start or 0.0, wave.end or wave.start or 0.0
        line = _label("waves" if first else "", wave.name)
        at, length = self._scaled(start, end)
        self._bars(line, [(at, length, self.glyphs.full, WAVE_COLOURS[wave.state])])
        line.append(f"{seconds_text(end - start):>{_SECONDS - 1}}")
        if wave.state != "passed":
            line.append(f" {wave.state}", style=WAVE_COLOURS[wave.state])
        return line

    def stage(self, stage: Stage) -> Iterator[Text]:
        shown, hidden = select_spans(stage)
        for index, span in enumerate(shown):
            yield self._host(stage.name, span, first=index == 0)
        if hidden:
            slowest = max(span.seconds for span in hidden)
            yield Text(f"{'':10} and {len(hidden)} more hosts, up to {seconds_text(slowest)}", style="dim")

    def _host(self, name: StageName, span: Span, *, first: bool) -> Text:
        line = _label(name if first else "", span.host)
        held = hold_of(self.report, name, span)
        span = before_hold(span, held)
        start, length = self._scaled(span.start, span.end)
        bars = [(start, length, self.glyphs.full, STATUS_COLOURS.get(span.status, STAGE_COLOURS[name]))]
        if held is not None:
            at, held_length = self._scaled(held.start, held.end)
            end = at + held_length
            at = max(at, start + length)
            bars += [(at, end - at, self.glyphs.hold, hold_colour(held))] if end > at else []
        self._bars(line, bars)
        line.append(f"{seconds_text(span.seconds):>{_SECONDS - 1}}")
        line.append(_MARKS[span.status], style=STATUS_COLOURS.get(span.status, ""))
        if held is not None and held.ended == "open":
            line.append(" open", style=STATUS_COLOURS["reverted"])
        return line

    def _scaled(self, start: float, end: float) -> tuple[int, int]:
        return scaled(Span(host="", start=start, end=end), self.report.seconds, self.width)

    def _bars(self, line: Text, bars: list[tuple[int, int, str, str]]) -> None:
        """Append bars (start, length, glyph, colour) in order of start; begins of waves show between the bars."""
        end = 0
        for start, length, glyph, colour in bars:
            self._gap(line, end, start)
            line.append(glyph * length, style=colour)
            end = start + length
        self._gap(line, end, self.width)

    def _gap(self, line: Text, start: int, end: int) -> None:
        glyphs = (self.glyphs.mark if cell in self.marks else self.glyphs.rest for cell in range(start, end))
        line.append("".join(glyphs), style="dim")


def _label(name: str, label: str) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{name:10} ", style="bold")
    line.append(fit(label, _LABEL - 12) + " ")
    return line


def started_waves(report: Report) -> list[WaveRow]:
    """The waves that began, if there are several: a single wave is the whole rollout."""
    return [wave for wave in report.waves if wave.start is not None] if len(report.waves) > 1 else []


def hold_of(report: Report, stage: StageName, span: Span) -> Hold | None:
    """The time in which a host was provisional in this stage: from its first service to its last."""
    found = [hold for hold in report.holds if hold.host == span.host] if stage == "activate" else []
    if not found:
        return None
    worst = min(found, key=lambda hold: _ENDS.index(hold.ended))
    return worst.model_copy(update={"start": min(hold.start for hold in found), "end": max(hold.end for hold in found)})


def before_hold(span: Span, held: Hold | None) -> Span:
    """The part of a bar before its release was provisional: the stage includes gates and pauses of later waves."""
    if held is None or not span.start <= held.start < span.end:
        return span
    return span.model_copy(update={"end": held.start})


def hold_colour(held: Hold) -> str:
    """Pale if the release was confirmed, loud if not."""
    if held.ended == "confirmed":
        return HOLD_COLOUR
    return STATUS_COLOURS["failed" if held.ended == "failed" else "reverted"]


_ENDS = ("failed", "reverted", "open", "confirmed")


def render(report: Report) -> Timeline:
    """The bars of a report, to print with rich."""
    return Timeline(report)


def ordered(report: Report) -> list[Stage]:
    """The stages with something to draw, in the order of the flow, without hosts that had nothing to do."""
    drawn = [
        stage.model_copy(
            update={"spans": [span for span in stage.spans if span.status != "ok" or span.seconds >= _SHORTEST]}
        )
        for stage in report.stages
    ]
    return sorted((stage for stage in drawn if stage.spans), key=lambda stage: STAGES.index(stage.name))


def select_spans(stage: Stage) -> tuple[list[Span], list[Span]]:
    """The spans to draw (in order of start), and those without room."""
    ranked = sorted(stage.spans, key=lambda span: (span.status == "ok", -span.seconds))
    shown = ranked[:MOST_BARS]
    return sorted(shown, key=lambda span: span.start), ranked[MOST_BARS:]


def scaled(span: Span, total: float, width: int) -> tuple[int, int]:
    """Start and length of a bar in cells: at least one cell, inside the width."""
    total = max(total, span.end, 0.001)
    start = min(int(span.start / total * width), width - 1)
    length = max(1, round(span.end / total * width) - start)
    return start, min(length, width - start)


def fit(text: str, cells: int) -> str:
    """A text cut or filled to a number of cells; a cut text ends in ``~``."""
    return set_cell_size(text, cells - 1) + "~" if cell_len(text) > cells else set_cell_size(text, cells)
