"""``gofallback``: what there is to do without pyinfra.

Exit status: 0 all is well; 1 a problem was found or something cannot be read (a line on standard error says which);
2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.text import Text

from gofallback import errors
from gofallback.cli import approve, archive, attest, compare, journal, pause, publish, verify
from gofallback.controller.paths import Home
from gofallback.controller.pins import pins_command
from gofallback.report import html, markdown
from gofallback.report.model import Report
from gofallback.report.screen import console, overview

STATUSES = "exit status: 0 all is well, 1 a problem was found (one line says which), 2 the command line is wrong"


class CliError(errors.GofallbackError):
    """Something the command needs is not there."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command; the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except errors.GofallbackError as error:
        print(f"gofallback: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `gofallback report | head`
        sys.stderr.close()
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gofallback", description="What there is to do without pyinfra.", epilog=STATUSES
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    report = commands.add_parser("report", help="show the table and the timeline of a run", epilog=STATUSES)
    report.add_argument("name", nargs="?", metavar="RUN", help="id of the run, or how it begins; default: the last one")
    form = report.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the report as JSON")
    form.add_argument("--markdown", action="store_true", help="print a summary to paste into an incident")
    report.set_defaults(run=_report)

    approve.register(commands)
    pause.register(commands)
    journal.register(commands)
    publish.register(commands)
    archive.register(commands)
    verify.register(commands)
    attest.register(commands)
    compare.register(commands)

    pins = commands.add_parser("pins", help="look up the SHA-256 the vendor publishes for a toolchain", epilog=STATUSES)
    pins.add_argument("tool", choices=["go"])
    pins.add_argument("versions", nargs="+", metavar="VERSION", help="such as 1.27.0")
    pins.add_argument("--arch", action="append", choices=["amd64", "arm64"], help="default: amd64; may be repeated")
    pins.add_argument("--os", action="append", choices=["windows", "linux"], help="default: both; may be repeated")
    pins.set_defaults(
        run=lambda given: pins_command(given.versions, given.arch or ["amd64"], print, given.os or ["windows", "linux"])
    )
    return parser


def _report(arguments: argparse.Namespace) -> int:
    file = _run_file(Home.default().root / "runs", arguments.name)
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


def _run_file(runs: Path, name: str | None) -> Path:
    found = sorted(path.parent.name for path in runs.glob("*/report.json"))
    if not found:
        raise CliError(f"{runs}: no run has been recorded there; GOFALLBACK_HOME names another place")
    if name is None:
        return runs / found[-1] / "report.json"
    matching = [run for run in found if run == name] or [run for run in found if run.startswith(name)]
    if len(matching) != 1:
        problem = "several runs begin so" if matching else "no such run"
        raise CliError(f"{name}: {problem}; recorded: {', '.join((matching or found)[-5:])}")
    return runs / matching[0] / "report.json"


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


if __name__ == "__main__":
    sys.exit(main())
