"""``gofallback journal``: verifies that a journal is as it was written, and shows it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from gofallback.cli.command import CliError, add_command, exit_statuses, match_run
from gofallback.controller.paths import Home
from gofallback.journal.chain import split
from gofallback.journal.entry_text import entry_text
from gofallback.journal.read import FILE, Entry, about, entries
from gofallback.journal.verify import Anchor, Problem, verify
from gofallback.report.screen import console
from gofallback.report.table import new_table
from gofallback.rollout.phases import FAILED_HERE

if TYPE_CHECKING:
    from gofallback.cli.command import Commands

REPORT = "report.json"
#: Events of a controller's journal only; a host's part has none of them.
_CONTROLLER_EVENTS = frozenset({"started", "resumed", "aborted", "wave", "ended"})


@dataclass
class _Records:
    """The hashes that the records of a home have of its journals."""

    anchors: dict[Path, list[Anchor]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """A line for each run that a later run names and that is gone."""


def register(commands: Commands) -> None:
    """Add the command."""
    journal = commands.add_parser("journal", help="verify and show the journals of runs", epilog=exit_statuses())
    parts = journal.add_subparsers(required=True, metavar="COMMAND")
    check = add_command(parts, "verify", _verify, "name every line that was edited, removed, inserted or moved")
    check.add_argument(
        "names",
        nargs="*",
        metavar="RUN|FILE",
        help="id of a run, how it begins, or a journal.jsonl (also a host's); default: every run, and that none is "
        "missing",
    )
    show = add_command(parts, "show", _show, "print the journal of a run")
    show.add_argument("name", nargs="?", metavar="RUN|FILE", help="default: the last run")
    show.add_argument("--json", action="store_true", help="print the lines themselves")
    show.add_argument("--host", help="only entries about this host, and those about none")


def _verify(arguments: argparse.Namespace) -> int:
    runs = Home.default().runs
    paths = [_journal(runs, name) for name in arguments.names] or _all(runs)
    records = _records(runs)
    screen = console()
    failed = False
    for path in paths:
        lines = split(_read(path))
        of_host = _is_of_host(lines)
        anchors = records.anchors.get(path.resolve()) or _report_anchors(path.parent / REPORT)
        problems = verify(lines, anchors, ends=not of_host)
        problems += _unknown_heads(lines, runs) if of_host else []
        screen.print(_verdict(_name(path, runs), lines, problems), soft_wrap=True)
        failed |= any(problem.kind != "open" for problem in problems)
    missing = [] if arguments.names else records.missing
    for line in missing:
        screen.print(Text(f"missing: {line}", style="bold red"), soft_wrap=True)
    return 1 if failed or missing else 0


def _verdict(name: str, lines: list[bytes], problems: list[Problem]) -> Text:
    text = Text(f"{name}: ")
    if not problems:
        return text.append(f"{len(lines)} lines, as they were written", style="green")
    serious = any(problem.kind != "open" for problem in problems)
    text.append(f"{len(lines)} lines", style="bold red" if serious else "yellow")
    for problem in problems:
        text.append(f"\n  {problem.text}", style="yellow" if problem.kind == "open" else "red")
    return text


def _records(runs: Path) -> _Records:
    """A report has the number of its run's lines; the first line of a run has the last hash of the run before."""
    found = _Records()
    for path in _all(runs, missing_ok=True):
        # The run's own report, and those of its continuations (`<run>-r1`), which append to the same journal.
        reports = [path.parent / REPORT, *sorted(runs.glob(f"{path.parent.name}-*/{REPORT}"))]
        found.anchors[path.resolve()] = [anchor for report in reports for anchor in _report_anchors(report)]
    for path in _all(runs, missing_ok=True):
        first = next(iter(entries(_read(path))), None)
        name, head = (first.data.get("previous_run"), first.data.get("previous_head")) if first else (None, None)
        if not isinstance(name, str) or not isinstance(head, str):
            continue
        before = (runs / name / FILE).resolve()
        if before in found.anchors:
            found.anchors[before].append(Anchor(head, f"the journal of {path.parent.name}, which began after it,"))
        else:
            found.missing.append(f"run {name}: {path.parent.name} began after it, and its journal is not there")
    return found


def _report_anchors(path: Path) -> list[Anchor]:
    try:
        journal = json.loads(path.read_bytes()).get("journal") or {}
        return [Anchor(str(journal["head"]), f"{path.parent.name}/{path.name}", lines=int(journal["lines"]))]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []  # no report, or that of a killed run; the chain is checked all the same


def _unknown_heads(lines: list[bytes], runs: Path) -> list[Problem]:
    """Hashes in a host's journal that the run's own journal, where this controller has it, does not have."""
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
    runs = Home.default().runs
    path = _journal(runs, arguments.name) if arguments.name else _all(runs)[-1]
    content = _read(path)
    found = about(entries(content), arguments.host)
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
    made = new_table()
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
            Text(entry.event, style="bold red" if entry.event in FAILED_HERE else ""),
            Text(entry.host or ""),
            Text(" ".join(part for part in (f"{entry.service}:" if entry.service else "", entry_text(entry)) if part)),
        )
    return made


def _is_of_host(lines: list[bytes]) -> bool:
    found = entries(b"\n".join(lines))
    return bool(found) and not any(entry.event in _CONTROLLER_EVENTS for entry in found)


def _journal(runs: Path, name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    recorded = [path.parent.name for path in _all(runs)]
    return runs / match_run(recorded, name, "no such run, and no such file") / FILE


def _all(runs: Path, *, missing_ok: bool = False) -> list[Path]:
    found = sorted(runs.glob(f"*/{FILE}"))
    if not found and not missing_ok:
        raise CliError(f"{runs}: no run has written a journal there; GOFALLBACK_HOME names another place")
    return found


def _name(path: Path, runs: Path) -> str:
    return path.parent.name if path.resolve().is_relative_to(runs.resolve()) else str(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path}: cannot be read ({error.strerror})") from None
