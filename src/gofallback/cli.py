"""``gofallback``: what there is to do without pyinfra.

Exit status: 0 all is well; 1 a problem was found or something cannot be read (a line on standard error says which);
2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from gofallback import cli_approve, cli_journal, cli_word, errors
from gofallback.artifact.binary import BinaryInfo, inspect
from gofallback.artifact.manifest import Manifest
from gofallback.artifact.verify import problems
from gofallback.controller.paths import Home
from gofallback.controller.pins import pins_command
from gofallback.report import html, markdown
from gofallback.report.model import Report
from gofallback.report.screen import console, overview
from gofallback.report.style import size_text

MANIFEST = "manifest.json"
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

    verify = commands.add_parser(
        "verify", help="say what a binary is, and check the manifest beside it", epilog=STATUSES
    )
    verify.add_argument(
        "path", type=Path, metavar="FILE|DIR", help="a binary, or the folder of an artifact or a release"
    )
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run=_verify)

    report = commands.add_parser("report", help="show the table and the timeline of a run", epilog=STATUSES)
    report.add_argument("name", nargs="?", metavar="RUN", help="id of the run, or how it begins; default: the last one")
    form = report.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the report as JSON")
    form.add_argument("--markdown", action="store_true", help="print a summary to paste into an incident")
    report.set_defaults(run=_report)

    cli_approve.register(commands)
    cli_word.register(commands)
    cli_journal.register(commands)

    pins = commands.add_parser("pins", help="look up the SHA-256 the vendor publishes for a toolchain", epilog=STATUSES)
    pins.add_argument("tool", choices=["go"])
    pins.add_argument("versions", nargs="+", metavar="VERSION", help="such as 1.27.0")
    pins.add_argument("--arch", action="append", choices=["amd64", "arm64"], help="default: amd64; may be repeated")
    pins.set_defaults(run=lambda given: pins_command(given.versions, given.arch or ["amd64"], print))
    return parser


def _verify(arguments: argparse.Namespace) -> int:
    binary, manifest = _located(arguments.path)
    info = inspect(binary)
    found = problems(info, manifest.spec, sha256=manifest.sha256, size=manifest.size) if manifest else []
    if manifest and manifest.key != manifest.spec.key:
        found.append(
            f"{MANIFEST}: key should be {manifest.spec.key}, the key of its build, got {manifest.key}; build again"
        )
    if arguments.json:
        known = manifest.model_dump(mode="json") if manifest else None
        data = {"path": str(binary), "binary": info.model_dump(mode="json"), "manifest": known, "problems": found}
        print(json.dumps(data, indent=2))
        return 1 if found else 0
    screen = console()
    screen.print(_facts(binary, info))
    if manifest is None:
        screen.print(Text(f"no {MANIFEST} beside it: nothing to compare with"))
    for line in found:
        screen.print(Text(f"problem: {line}", style="red"))
    if manifest and not found:
        screen.print(Text(f"agrees with {MANIFEST}: built on {manifest.builder} at {manifest.built_at}", style="green"))
    return 1 if found else 0


def _located(path: Path) -> tuple[Path, Manifest | None]:
    """The binary, and the manifest beside it or (in a release) one folder up."""
    if path.is_dir():
        manifest = _manifest(path / MANIFEST)
        if manifest is None:
            raise CliError(f"{path}: holds no {MANIFEST}; name the folder of an artifact or a release, or a binary")
        names = (path / manifest.spec.file_name, path / "bin" / manifest.spec.binary)
        binary = next((name for name in names if name.is_file()), None)
        if binary is None:
            raise CliError(
                f"{path}: holds no {manifest.spec.file_name}, which its {MANIFEST} names; build or copy it again"
            )
        return binary, manifest
    beside = _manifest(path.parent / MANIFEST)
    return path, beside or (_manifest(path.parent.parent / MANIFEST) if path.parent.name == "bin" else None)


def _manifest(path: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CliError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise CliError(f"{path}: is not a manifest of gofallback ({_first(error)}); build again") from None


def _facts(path: Path, info: BinaryInfo) -> Table:
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    build = info.build
    rows = [
        ("file", f"{path} ({size_text(info.size)})"),
        ("sha256", info.sha256),
        (
            "format",
            f"{info.format} {info.bits} bit, {info.machine} ({info.goarch or 'not a GOARCH'}), {info.abi}, {info.kind}",
        ),
        ("linked", _linked(info)),
        ("symbols", "stripped" if info.stripped else "present"),
        ("Go", build.go_version if build else "no build info: not built by Go 1.18 or later"),
    ]
    if build:
        rows += [("program", build.path), ("module", f"{build.module} {build.module_version}".strip())]
        rows += [(key, value) for key, value in build.settings.items()]
    for key, value in rows:
        made.add_row(Text(key), Text(value))
    return made


def _linked(info: BinaryInfo) -> str:
    if info.format == "PE":
        return "against Windows"
    if info.static:
        return "static"
    loader = f" by {info.interpreter}" if info.interpreter else ""
    lowest = f"; needs glibc {info.glibc} or later" if info.glibc else ""
    return f"dynamic{loader}: {', '.join(info.needed) or 'no library'}{lowest}"


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
