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
        signs = _ASCII if options.ascii_only else _UNICODE
        reached = started_waves(self.report)
        marks = frozenset(int(wave.start / _total(self.report) * width) for wave in reached if wave.start)
        for index, wave in enumerate(reached[:MOST_BARS]):
            yield self._wave(wave, width, signs, marks, first=index == 0)
        if len(reached) > MOST_BARS:
            yield Text(f"{'':10} and {len(reached) - MOST_BARS} more waves", style="dim")
        for stage in ordered(self.report):
            yield from self._stage(stage, width, signs, marks)

    def _wave(self, wave: WaveRow, width: int, signs: _Glyphs, marks: frozenset[int], *, first: bool) -> Text:
        start, end = wave.start or 0.0, wave.end or wave.start or 0.0
        line = self._begin("waves" if first else "", wave.name)
        at, length = scaled(Span(host="", start=start, end=end), self.report.seconds, width)
        _cells(line, [(at, length, signs.full, WAVE_COLOURS[wave.state])], width, signs, marks)
        line.append(f"{seconds_text(end - start):>{_SECONDS - 1}}")
        if wave.state != "passed":
            line.append(f" {wave.state}", style=WAVE_COLOURS[wave.state])
        return line

    def _stage(self, stage: Stage, width: int, signs: _Glyphs, marks: frozenset[int]) -> Iterator[Text]:
        shown, hidden = select_spans(stage)
        for index, span in enumerate(shown):
            yield self._bar(stage.name, span, width, signs, marks, first=index == 0)
        if hidden:
            slowest = max(span.seconds for span in hidden)
            yield Text(f"{'':10} and {len(hidden)} more hosts, up to {seconds_text(slowest)}", style="dim")

    def _bar(
        self, name: StageName, span: Span, width: int, signs: _Glyphs, marks: frozenset[int], *, first: bool
    ) -> Text:
        line = self._begin(name if first else "", span.host)
        held = hold_of(self.report, name, span)
        span = before_hold(span, held)
        start, length = scaled(span, self.report.seconds, width)
        colour = STATUS_COLOURS.get(span.status, STAGE_COLOURS[name])
        bars = [(start, length, signs.full, colour)]
        if held is not None:
            at, to = scaled(Span(host="", start=held.start, end=held.end), self.report.seconds, width)
            at, end = max(at, start + length), at + to
            bars += [(at, end - at, signs.hold, hold_colour(held))] if end > at else []
        _cells(line, bars, width, signs, marks)
        line.append(f"{seconds_text(span.seconds):>{_SECONDS - 1}}")
        line.append(_MARKS[span.status], style=STATUS_COLOURS.get(span.status, ""))
        if held is not None and held.ended == "open":
            line.append(" open", style=STATUS_COLOURS["reverted"])
        return line

    def _begin(self, name: str, label: str) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{name:10} ", style="bold")
        line.append(fit(label, _LABEL - 12) + " ")
        return line


def _cells(
    line: Text, bars: list[tuple[int, int, str, str]], width: int, signs: _Glyphs, marks: frozenset[int]
) -> None:
    """Draw bars (start, length, sign, colour) in order of start; begins of waves show between the bars."""
    place = 0
    for start, length, sign, colour in bars:
        _rest(line, place, start, signs, marks)
        line.append(sign * length, style=colour)
        place = start + length
    _rest(line, place, width, signs, marks)


def _rest(line: Text, start: int, end: int, signs: _Glyphs, marks: frozenset[int]) -> None:
    line.append("".join(signs.mark if cell in marks else signs.rest for cell in range(start, end)), style="dim")


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


def _total(report: Report) -> float:
    return max(report.seconds, 0.001)


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
