"""``gofallback journal``: is a journal what was written, and what does it say."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from gofallback.controller.paths import Home
from gofallback.errors import GofallbackError
from gofallback.journal.chain import split
from gofallback.journal.read import FILE, Entry, chosen, entries
from gofallback.journal.verify import Anchor, Problem, verify
from gofallback.journal.words import says
from gofallback.report.screen import console

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

STATUSES = "exit status: 0 all is well, 1 a problem was found (one line says which), 2 the command line is wrong"
REPORT = "report.json"
#: Only in a controller's journal; a host's part has no end.
_CONTROLLERS = frozenset({"started", "resumed", "aborted", "wave", "ended"})
_BAD = frozenset({"failed", "reverted"})


class JournalCommandError(GofallbackError):
    """There is no such journal, or it cannot be read."""


@dataclass
class _Known:
    """What all records of a home say of its journals."""

    anchors: dict[Path, list[Anchor]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """Runs that a later one names and that are gone."""


def register(commands: Commands) -> None:
    """Add the command to those of ``gofallback``."""
    journal = commands.add_parser("journal", help="check and show what runs have written down", epilog=STATUSES)
    parts = journal.add_subparsers(required=True, metavar="COMMAND")
    check = parts.add_parser(
        "verify", help="name every line that was edited, removed, inserted or moved", epilog=STATUSES
    )
    check.add_argument(
        "names",
        nargs="*",
        metavar="RUN|FILE",
        help="id of a run, how it begins, or a journal.jsonl (also a host's); default: every run, and none missing",
    )
    check.set_defaults(run=_verify)
    show = parts.add_parser("show", help="print what a run has written down", epilog=STATUSES)
    show.add_argument("name", nargs="?", metavar="RUN|FILE", help="default: the last run")
    show.add_argument("--json", action="store_true", help="print the lines themselves")
    show.add_argument("--host", help="only what concerns this host or none")
    show.set_defaults(run=_show)


def _verify(arguments: argparse.Namespace) -> int:
    runs = Home.default().root / "runs"
    paths = [_journal(runs, name) for name in arguments.names] or _all(runs)
    known = _known(runs)
    screen = console()
    bad = 0
    for path in paths:
        lines = split(_read(path))
        hosts = _is_of_host(lines)
        anchors = known.anchors.get(path.resolve()) or _reported(path.parent / REPORT)
        problems = verify(lines, anchors, ends=not hosts)
        problems += _heads(lines, runs) if hosts else []
        screen.print(_verdict(_name(path, runs), lines, problems), soft_wrap=True)
        bad += any(problem.kind != "open" for problem in problems)
    missing = [] if arguments.names else known.missing
    for line in missing:
        screen.print(Text(f"missing: {line}", style="bold red"), soft_wrap=True)
    return 1 if bad or missing else 0


def _verdict(name: str, lines: list[bytes], problems: list[Problem]) -> Text:
    shown = Text(f"{name}: ")
    if not problems:
        return shown.append(f"{len(lines)} lines, as they were written", style="green")
    serious = any(problem.kind != "open" for problem in problems)
    shown.append(f"{len(lines)} lines", style="bold red" if serious else "yellow")
    for problem in problems:
        shown.append(f"\n  {problem.text}", style="yellow" if problem.kind == "open" else "red")
    return shown


def _known(runs: Path) -> _Known:
    """Anchors: a report knows how many lines its run had, a first line how the run before stood."""
    found = _Known()
    for path in _all(runs, missing_ok=True):
        # The run's own report, and those of its continuations (`<run>-r1`), which go on in the same journal.
        reports = [path.parent / REPORT, *sorted(runs.glob(f"{path.parent.name}-*/{REPORT}"))]
        found.anchors[path.resolve()] = [anchor for report in reports for anchor in _reported(report)]
    for path in _all(runs, missing_ok=True):
        first = next(iter(entries(_read(path))), None)
        name, head = (first.data.get("previous_run"), first.data.get("previous_head")) if first else (None, None)
        if not isinstance(name, str) or not isinstance(head, str):
            continue
        before = (runs / name / FILE).resolve()
        if before in found.anchors:
            found.anchors[before].append(Anchor(head, f"the journal of {path.parent.name}, which was begun after it,"))
        else:
            found.missing.append(f"run {name}: {path.parent.name} was begun after it, and its journal is not there")
    return found


def _reported(path: Path) -> list[Anchor]:
    try:
        journal = json.loads(path.read_bytes()).get("journal") or {}
        return [Anchor(str(journal["head"]), f"{path.parent.name}/{path.name}", lines=int(journal["lines"]))]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []  # no report, or one of a run that was killed; the chain is checked all the same


def _heads(lines: list[bytes], runs: Path) -> list[Problem]:
    """What a host was told of a run's journal, against that journal, where this controller has it."""
    problems = []
    for entry in entries(b"\n".join(lines)):
        head = entry.data.get("head")
        path = runs / "-".join(entry.run.split("-")[:2]) / FILE
        if not isinstance(head, str) or len(head) != 64 or not path.is_file():
            continue
        if not any(one.hash == head and one.intact for one in entries(_read(path))):
            text = f"line {entry.number}: knows a line of run {entry.run} that {path} does not have (any more)"
            problems.append(Problem(entry.number, "anchor", text))
    return problems


def _show(arguments: argparse.Namespace) -> int:
    runs = Home.default().root / "runs"
    path = _journal(runs, arguments.name) if arguments.name else _all(runs)[-1]
    content = _read(path)
    found = chosen(entries(content), host=arguments.host)
    if arguments.json:
        lines = split(content)
        for entry in found:
            print(lines[entry.number - 1].decode("utf-8", "replace"))
        return 0
    screen = console()
    screen.print(_table(found))
    problems = verify(split(content), ends=False)
    for problem in problems:
        screen.print(Text(problem.text, style="red"), soft_wrap=True)
    return 1 if problems else 0


def _table(found: Iterable[Entry]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    made.add_column("time (UTC)", no_wrap=True)
    made.add_column("event", no_wrap=True)
    made.add_column("host", overflow="fold")
    made.add_column("what", overflow="fold")
    day = ""
    for entry in found:
        today = f"{entry.at:%Y-%m-%d}" if entry.at else ""
        if today and today != day:
            made.add_row(Text(today, style="dim"))
            day = today
        made.add_row(
            Text(f"{entry.at:%H:%M:%S}.{entry.at.microsecond // 1000:03d}" if entry.at else "?", style="dim"),
            Text(entry.event, style="bold red" if entry.event in _BAD else ""),
            Text(entry.host or ""),
            Text(" ".join(part for part in (f"{entry.service}:" if entry.service else "", says(entry)) if part)),
        )
    return made


def _is_of_host(lines: list[bytes]) -> bool:
    found = entries(b"\n".join(lines))
    return bool(found) and not any(entry.event in _CONTROLLERS for entry in found)


def _journal(runs: Path, name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    found = [path.parent.name for path in _all(runs)]
    matching = [run for run in found if run == name] or [run for run in found if run.startswith(name)]
    if len(matching) != 1:
        problem = "several runs begin so" if matching else "no such run, and no such file"
        raise JournalCommandError(f"{name}: {problem}; recorded: {', '.join((matching or found)[-5:])}")
    return runs / matching[0] / FILE


def _all(runs: Path, *, missing_ok: bool = False) -> list[Path]:
    found = sorted(runs.glob(f"*/{FILE}"))
    if not found and not missing_ok:
        raise JournalCommandError(f"{runs}: no run has kept a journal there; GOFALLBACK_HOME names another place")
    return found


def _name(path: Path, runs: Path) -> str:
    return path.parent.name if path.resolve().is_relative_to(runs.resolve()) else str(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise JournalCommandError(f"{path}: cannot be read ({error.strerror})") from None
