"""Print findings, and write them as JSON and as the tables of docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table

from bench.fleet import ROOT
from bench.model import Figure, Findings, Goal

RESULTS = Path(__file__).parent / "results"
DOCS = ROOT / "docs" / "benchmarks.md"
MARKS = "<!-- figures: written by `make bench` -->", "<!-- end of figures -->"


def about(load_before: float) -> dict[str, object]:
    """The conditions of the measurement besides the code."""
    cpu = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), "?")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "commit": _output("git", "rev-parse", "--short=12", "HEAD"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load_before": round(load_before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssh": _output("ssh", "-V").split(",")[0],
    }


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()


def _output(*argv: str) -> str:
    done = subprocess.run(argv, cwd=ROOT, check=False, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip()


def save(findings: Findings, *, complete: bool = True) -> Path:
    """Store the findings under today's date, as `.json.tmp` (ignored by git) until complete; return the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{str(findings.about['date'])[:10]}.json"
    part = path.with_name(f"{path.name}.tmp")
    part.write_text(json.dumps(findings.as_json(), indent=2) + "\n", encoding="utf-8")
    return part.replace(path) if complete else part


def seconds(value: float) -> str:
    """Format seconds with their significant digits."""
    if value < 0.1:
        return f"{value * 1000:.2f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def render(findings: Findings) -> RenderableType:
    """Both tables for a terminal."""
    figures = Table(title="Figures", title_justify="left", box=None, header_style="bold")
    for name in ("what", "median", "least .. most", "n", "round trips"):
        figures.add_column(name, justify="left" if name == "what" else "right")
    for figure in findings.figures:
        figures.add_row(*_cells(figure))
    goals = Table(title="\nGoals", title_justify="left", box=None, header_style="bold")
    for name in ("what", "measured", "at most", "figures", "verdict"):
        goals.add_column(name, justify="right" if name in ("measured", "at most") else "left")
    for goal in findings.goals:
        goals.add_row(*_goal_cells(goal), style="green" if goal.met else "red")
    return Group(figures, goals)


def _cells(figure: Figure) -> list[str]:
    text = seconds if figure.unit == "s" else "{:g}".format
    spread = f"{text(min(figure.seconds))} .. {text(max(figure.seconds))}"
    trips = "" if figure.round_trips is None else str(figure.round_trips)
    return [figure.what, text(figure.median), spread, str(len(figure.seconds)), trips]


def _goal_cells(goal: Goal) -> list[str]:
    number = f"{goal.value:.0f}" if goal.unit == "round trips" else f"{goal.value:.3f}"
    limit = f"{'below ' if goal.strict else ''}{goal.limit:g}"
    return [goal.what, f"{number} {goal.unit}", f"{limit} {goal.unit}", goal.peer, "met" if goal.met else "MISSED"]


def into_docs(findings: Findings, marks: tuple[str, str] = MARKS) -> None:
    """Write the tables between these marks of docs/benchmarks.md."""
    text = DOCS.read_text(encoding="utf-8")
    head, _, rest = text.partition(marks[0])
    _, _, tail = rest.partition(marks[1])
    DOCS.write_text(f"{head}{marks[0]}\n\n{markdown(findings)}\n{marks[1]}{tail}", encoding="utf-8")


def markdown(findings: Findings) -> str:
    """The tables as Markdown."""
    taken = findings.about
    lines = [
        f"{str(taken['date']).replace('T', ' ').replace('Z', ' UTC')}, commit {taken['commit']}, "
        f"{taken['cores']} cores ({taken['cpu']}), load {taken['load_before']} before and {taken['load_after']} after, "
        f"Python {taken['python']}, {taken['openssh']}.",
        "",
        "| goal | measured | at most | figures | verdict |",
        "|---|--:|--:|---|---|",
        *(_row(_goal_cells(goal)) for goal in findings.goals),
        "",
        "| what | median | least .. most | n | round trips |",
        "|---|--:|--:|--:|--:|",
        *(_row(_cells(figure)) for figure in findings.figures),
        "",
    ]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
