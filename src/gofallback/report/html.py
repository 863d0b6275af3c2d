"""The report as one self-contained HTML file: no network, no script."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources

from jinja2 import Environment, StrictUndefined

from gofallback.report import audit, comparisons, rows, vulnerabilities
from gofallback.report.model import Report, Stage
from gofallback.report.rows import WaveRow
from gofallback.report.style import (
    HOLD_COLOUR,
    STAGE_COLOURS,
    STATUS_COLOURS,
    VERDICT_COLOURS,
    WAVE_COLOURS,
    seconds_text,
    size_text,
    some,
    verdict_words,
)
from gofallback.report.table import runs_now
from gofallback.report.timeline import before_hold, hold_colour, hold_of, ordered, started_waves

# Pixels of the drawing.
_STAGE = 84
_CHARACTER = 7
_LONGEST_HOST = 28  # characters; the tooltip has the whole name
_PLOT = 760
_RIGHT = 210
_GAP = 10
_AXIS = 26
#: Heights of a row, its bar and its letters; the small ones for a fleet that would fill many screens.
_LARGE, _SMALL = (20, 14, 12), (13, 9, 9)
_MOST_LARGE_ROWS = 60
_SHORTEST_PAUSE = 0.05  # seconds
_HOLD_ENDS = {"confirmed": "confirmed", "reverted": "reverted", "failed": "failed", "open": "not confirmed"}


@dataclass(frozen=True)
class Hold:
    """The bar of a release that was live and not yet confirmed."""

    x: float
    width: float
    colour: str
    ended: str


@dataclass(frozen=True)
class Bar:
    """The bar of one host in one stage."""

    y: float
    x: float
    width: float
    colour: str
    status: str
    host: str
    label: str
    """Seconds, and the problem if there is one."""
    title: str
    """Tooltip."""
    hold: Hold | None = None
    """The time in which the release was provisional."""


@dataclass(frozen=True)
class Band:
    """The bars of one stage."""

    name: str
    y: float
    height: float
    bars: list[Bar]


@dataclass(frozen=True)
class Tick:
    """One line of the time axis."""

    x: float
    label: str


@dataclass(frozen=True)
class Drawing:
    """The geometry of the SVG; the template only prints it."""

    width: float
    height: float
    left: float
    bottom: float
    bands: list[Band]
    ticks: list[Tick]
    waves: list[Tick]
    """Begin and name of each wave."""
    bar: float
    """Height of a bar."""
    letters: float
    """Height of the letters of a row."""


def render(report: Report) -> str:
    """One self-contained page; every value is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(seconds=seconds_text, size=size_text, runs_now=runs_now, some=some)
    source = resources.files("gofallback.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        report=report,
        drawing=draw(report),
        colour=VERDICT_COLOURS[report.verdict],
        verdict_words=verdict_words(report),
        legend=[(stage.name, STAGE_COLOURS[stage.name]) for stage in ordered(report)],
        status_legend=_status_legend(report),
        audit=audit.lines(report),
        overrides=audit.overrides(report),
        compared_head=comparisons.HEAD,
        compared=comparisons.rows(report),
        compared_reasons=[*filter(None, [comparisons.verdict(report)]), *comparisons.reasons(report)],
        vulnerable_head=vulnerabilities.HEAD,
        vulnerable=vulnerabilities.rows(report.scans),
        scanned=vulnerabilities.lines(report.scans),
        wave_colours=WAVE_COLOURS,
    )


def draw(report: Report) -> Drawing:
    """The position of every bar of the timeline."""
    stages, waves = ordered(report), started_waves(report)
    total = max([report.seconds, 0.001, *(stage.end for stage in stages)])
    row, bar, letters = _SMALL if sum(len(stage.spans) for stage in stages) > _MOST_LARGE_ROWS else _LARGE
    names = [_host(span.host) for stage in stages for span in stage.spans] + [_host(wave.name) for wave in waves]
    left = float(_STAGE + max([8, *map(len, names)]) * _CHARACTER + 8)
    bands: list[Band] = []
    y = float(_AXIS)
    for name, bars in [
        ("waves", _wave_bars(waves, left, total)),
        *((one.name, _bars(report, one, left, total)) for one in stages),
    ]:
        if bars:
            placed = [replace(one, y=y + index * row + (row - bar) / 2) for index, one in enumerate(bars)]
            bands.append(Band(name, y, row * len(bars), placed))
            y += row * len(bars) + _GAP
    marks = [Tick(_x(wave.start or 0.0, left, total), wave.name) for wave in waves]
    return Drawing(left + _PLOT + _RIGHT, y + 4, left, y, bands, _ticks(left, total), marks, bar, letters)


def _x(seconds: float, left: float, total: float) -> float:
    return round(left + seconds / total * _PLOT, 1)


def _wave_bars(waves: list[WaveRow], left: float, total: float) -> list[Bar]:
    bars = []
    for wave in waves:
        start, end = wave.start or 0.0, wave.end or wave.start or 0.0
        hosts = f"{len(wave.hosts)} host{'s' if len(wave.hosts) != 1 else ''}"
        pause = f", then a pause of {seconds_text(wave.pause)}" if wave.pause >= _SHORTEST_PAUSE else ""
        bars.append(
            Bar(
                y=0,
                x=_x(start, left, total),
                width=round(max(2.0, (end - start) / total * _PLOT), 1),
                colour=WAVE_COLOURS[wave.state],
                status=wave.state.replace(" ", "-"),
                host=_host(wave.name),
                label=f"{hosts}, {wave.state}{pause}",
                title=f"wave {wave.name}: {wave.state}, {hosts}, from {start:.1f} s to {end:.1f} s{pause}",
            )
        )
    return bars


def _host(name: str) -> str:
    """A name cut in its middle: begin and end distinguish hosts and waves."""
    if len(name) <= _LONGEST_HOST:
        return name
    tail = _LONGEST_HOST // 3
    return f"{name[: _LONGEST_HOST - tail - 1]}…{name[-tail:]}"


def _bars(report: Report, stage: Stage, left: float, total: float) -> list[Bar]:
    bars = []
    for whole in sorted(stage.spans, key=lambda span: span.start):
        held = hold_of(report, stage.name, whole)
        span = before_hold(whole, held)
        x = _x(span.start, left, total)
        width = max(2.0, span.seconds / total * _PLOT)
        note = _host(span.detail) if span.status == "ok" else span.status
        title = f"{stage.name} on {span.host}: {span.status}, {seconds_text(span.seconds)}"
        title += f", from {span.start:.1f} s to {span.end:.1f} s"
        if held:
            provisional = seconds_text(max(0.0, held.end - span.end))
            title += f"\nprovisional for {provisional}, then {_HOLD_ENDS[held.ended]}"
            note = note if held.ended == "confirmed" else _HOLD_ENDS[held.ended]
        bars.append(
            Bar(
                y=0,
                x=x,
                width=round(width, 1),
                colour=STATUS_COLOURS.get(span.status, STAGE_COLOURS[stage.name]),
                status=span.status,
                host=_host(span.host),
                label=seconds_text(span.seconds) + (f" {note}" if note else ""),
                title=title + (f"\n{span.detail}" if span.detail else ""),
                hold=_hold(held, x + width, left, total) if held else None,
            )
        )
    return bars


def _hold(held: rows.Hold, after: float, left: float, total: float) -> Hold | None:
    """The bar from the end of the stage to the confirmation."""
    end = _x(min(held.end, total), left, total)
    return Hold(round(after, 1), round(end - after, 1), hold_colour(held), held.ended) if end > after else None


def _ticks(left: float, total: float) -> list[Tick]:
    """Four to ten lines at round seconds."""
    step = next(
        (size for size in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if total / size <= 10), 3600.0
    )
    step = max(step, total / 50)
    count = int(total / step)
    return [Tick(round(left + index * step / total * _PLOT, 1), _axis(index * step)) for index in range(count + 1)]


def _axis(seconds: float) -> str:
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:g} s"


def _status_legend(report: Report) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    if any(hold.ended == "confirmed" for hold in report.holds):
        found["provisional"] = HOLD_COLOUR
    seen = {span.status for stage in report.stages for span in stage.spans}
    seen |= {hold.ended for hold in report.holds if hold.ended in STATUS_COLOURS}
    return [*found.items(), *((status, colour) for status, colour in STATUS_COLOURS.items() if status in seen)]
