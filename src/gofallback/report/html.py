"""The report as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, StrictUndefined

from gofallback.report.model import Report, Stage
from gofallback.report.style import (
    STAGE_COLOURS,
    STATUS_COLOURS,
    VERDICT_COLOURS,
    seconds_text,
    size_text,
    verdict_words,
)
from gofallback.report.table import runs_now
from gofallback.report.timeline import ordered

# Pixels of the drawing.
_STAGE = 84
_CHARACTER = 7
_LONGEST_HOST = 28  # characters; the whole name is in what a pointer shows
_PLOT = 760
_RIGHT = 210
_ROW = 20
_BAR = 14
_GAP = 10
_AXIS = 26


@dataclass(frozen=True)
class Bar:
    """One host in one stage."""

    y: float
    x: float
    width: float
    colour: str
    status: str
    host: str
    label: str
    """Seconds, and what is not well."""
    title: str
    """What a pointer shows."""


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
    """The SVG's geometry; the template only prints it."""

    width: float
    height: float
    left: float
    bottom: float
    bands: list[Band]
    ticks: list[Tick]


def render(report: Report) -> str:
    """One self-contained page; every value is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(seconds=seconds_text, size=size_text, runs_now=runs_now)
    source = resources.files("gofallback.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        report=report,
        drawing=draw(report),
        colour=VERDICT_COLOURS[report.verdict],
        verdict_words=verdict_words(report),
        legend=[(stage.name, STAGE_COLOURS[stage.name]) for stage in ordered(report)],
        status_legend=[(status, colour) for status, colour in STATUS_COLOURS.items() if _has(report, status)],
    )


def draw(report: Report) -> Drawing:
    """Where every bar of the timeline is."""
    stages = ordered(report)
    total = max([report.seconds, 0.001, *(stage.end for stage in stages)])
    longest = max((len(_host(span.host)) for stage in stages for span in stage.spans), default=0)
    left = float(_STAGE + max(8, longest) * _CHARACTER + 8)
    bands: list[Band] = []
    y = float(_AXIS)
    for stage in stages:
        height = _ROW * len(stage.spans)
        bands.append(Band(stage.name, y, height, _bars(stage, y, left, total)))
        y += height + _GAP
    return Drawing(left + _PLOT + _RIGHT, y + 4, left, y, bands, _ticks(left, total))


def _host(name: str) -> str:
    return name if len(name) <= _LONGEST_HOST else name[: _LONGEST_HOST - 1] + "…"


def _bars(stage: Stage, top: float, left: float, total: float) -> list[Bar]:
    bars = []
    for index, span in enumerate(sorted(stage.spans, key=lambda span: (span.start, span.host))):
        x = left + span.start / total * _PLOT
        width = max(2.0, span.seconds / total * _PLOT)
        word = _host(span.detail) if span.status == "ok" else span.status
        mark = f" {word}" if word else ""
        times = f"{seconds_text(span.seconds)}, from {span.start:.1f} s to {span.end:.1f} s"
        bars.append(
            Bar(
                y=top + index * _ROW + (_ROW - _BAR) / 2,
                x=round(x, 1),
                width=round(width, 1),
                colour=STATUS_COLOURS.get(span.status, STAGE_COLOURS[stage.name]),
                status=span.status,
                host=_host(span.host),
                label=seconds_text(span.seconds) + mark,
                title=f"{stage.name} on {span.host}: {span.status}, {times}"
                + (f"\n{span.detail}" if span.detail else ""),
            )
        )
    return bars


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


def _has(report: Report, status: str) -> bool:
    return any(span.status == status for stage in report.stages for span in stage.spans)
