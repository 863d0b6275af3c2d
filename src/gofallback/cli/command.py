"""What the commands share: registration, exit statuses, output, the artifact store, ids of runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from gofallback.controller.paths import Home
from gofallback.controller.store import ArtifactStore
from gofallback.errors import GofallbackError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


class CliError(GofallbackError):
    """A command that cannot be carried out; one line."""


def exit_statuses(success: str = "all is well", problem: str = "a problem was found (one line says which)") -> str:
    """The line below a command's help."""
    return f"exit status: 0 {success}, 1 {problem}, 2 the command line is wrong"


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    description: str | None = None,
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    """Add a command; returns its parser, for its arguments.

    Args:
        commands: the commands of the parser above.
        name: of the command.
        run: returns the exit status.
        summary: its line in the list of commands.
        description: the text of its help.
        epilog: default: `exit_statuses`.
    """
    command = commands.add_parser(name, help=summary, description=description, epilog=epilog or exit_statuses())
    command.set_defaults(run=run)
    return command


def add_version(
    command: argparse.ArgumentParser, services: str = "default: the only one that has this version"
) -> None:
    """Add the arguments that name a version of the artifact store."""
    command.add_argument("version", metavar="VERSION", help="a version of the artifact store, such as v1.2.3")
    command.add_argument("--service", metavar="NAME", help=services)


def print_error(text: str) -> None:
    """Print a failure on standard error."""
    print(f"gofallback: {text}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2))


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values, one pair a line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table


def artifact_store() -> ArtifactStore:
    """This controller's artifacts; a damaged one is a line on standard error."""
    return ArtifactStore(Home.default().artifacts, log=lambda line: print(line, file=sys.stderr))


def newest_versions(store: ArtifactStore, services: Sequence[str]) -> str:
    """The five newest versions of each service, for an error."""
    return "; ".join(f"{name}: {', '.join(store.versions(name)[:5])}" for name in services) or "nothing"


def match_run(recorded: Sequence[str], given: str, problem: str = "no such run") -> str:
    """The one recorded run whose id is, or begins with, what was given.

    Raises:
        CliError: there is none, or there are several.
    """
    matching = [run for run in recorded if run == given] or [run for run in recorded if run.startswith(given)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        problem = "several runs begin like this"
    raise CliError(f"{given}: {problem}; recorded: {', '.join((matching or recorded)[-5:])}")
