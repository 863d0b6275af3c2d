"""``gofallback report``: the table and the timeline of a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from rich.text import Text

from gofallback.cli.command import CliError, add_command, match_run
from gofallback.controller.paths import Home
from gofallback.report import html, markdown
from gofallback.report.model import Report
from gofallback.report.screen import console, overview

if TYPE_CHECKING:
    from gofallback.cli.command import Commands

FILE = "report.json"


def register(commands: Commands) -> None:
    """Add the command."""
    report = add_command(commands, "report", _report, "show the table and the timeline of a run")
    report.add_argument("name", nargs="?", metavar="RUN", help="id of the run, or how it begins; default: the last one")
    form = report.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the report as JSON")
    form.add_argument("--markdown", action="store_true", help="print a summary to paste into an incident")


def _report(arguments: argparse.Namespace) -> int:
    file = _file(Home.default().runs, arguments.name)
    try:
        report = Report.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise CliError(f"{file}: is not a report of this version ({_first(error)})") from None
    if arguments.json:
        print(report.model_dump_json(indent=2))
    elif arguments.markdown:
        print(markdown.render(report), end="")
    else:
        screen = console()
        screen.print(overview(report))
        screen.print(Text(f"report: {_page(file.parent / 'report.html', report)}"), soft_wrap=True)
    return 0


def _file(runs: Path, name: str | None) -> Path:
    recorded = sorted(path.parent.name for path in runs.glob(f"*/{FILE}"))
    if not recorded:
        raise CliError(f"{runs}: no run has been recorded there; GOFALLBACK_HOME names another place")
    return runs / (match_run(recorded, name) if name else recorded[-1]) / FILE


def _page(path: Path, report: Report) -> Path:
    """The HTML page; written when it is missing."""
    if not path.exists():
        try:
            path.write_text(html.render(report), encoding="utf-8")
        except OSError as error:
            raise CliError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in detail['loc']) or 'content'}: {detail['msg'].lower()}"
