"""``gofallback publish``: the artifacts of a version to a folder, an S3 bucket or a package registry."""

from __future__ import annotations

import argparse
import re
import runpy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from gofallback.cli.command import add_command, add_version, artifact_store, exit_statuses, print_error, print_json
from gofallback.model.fleet import parse_publish
from gofallback.model.publish import Publish, PublishStore
from gofallback.publish.errors import PublishError, one_line
from gofallback.publish.files import Item, collect_files, select_artifacts
from gofallback.publish.send import Row, open_store, publish
from gofallback.report.screen import console
from gofallback.report.style import seconds_text, size_text

if TYPE_CHECKING:
    from gofallback.cli.command import Commands

DATA = Path("group_data") / "all.py"
_STYLES = {"sent": "green", "there already": "cyan", "failed": "bold red", "not sent": "dim"}


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "publish",
        _publish,
        "send the artifacts of a version to a store",
        "Sends every file of a version's artifacts, and their checksums, to a folder, an S3 bucket or a package "
        "registry, and checks their SHA-256 there. Files that are already there are not sent again. See "
        "docs/publishing.md.",
        exit_statuses("everything is in the store", "it is not (one line says why)"),
    )
    add_version(command)
    command.add_argument(
        "--to",
        metavar="URL|NAME",
        help="an address, or a store of `publish` in group_data/all.py; default: publish.default, or the only one",
    )
    command.add_argument("--preset", metavar="NAME", help="with an address: the registry whose requests are made")
    command.add_argument("--token", type=_credential, metavar="env:NAME|file:PATH", help="with an address: where it is")
    command.add_argument("--user", metavar="NAME", help="with an address: basic authentication")
    command.add_argument("--header", metavar="NAME", help="with an address: header that takes the token")
    command.add_argument("--archives", action="store_true", default=None, help="also tar.gz and zip")
    command.add_argument("--overwrite", action="store_true", default=None, help="replace files with other content")
    command.add_argument("--json", action="store_true", help="print JSON")


def _credential(text: str) -> dict[str, str]:
    kind, colon, rest = text.partition(":")
    if kind not in ("env", "file") or not colon or not rest:
        # Not shown: it may be the token itself.
        raise argparse.ArgumentTypeError("should be env:NAME or file:PATH, the place of the token")
    return {kind: rest}


def _publish(given: argparse.Namespace) -> int:
    name, data = _store(given)
    service, found = select_artifacts(artifact_store(), given.service, given.version)
    rows: list[Row] = []
    problem = ""
    with tempfile.TemporaryDirectory(prefix="gofallback-publish-") as work:
        items = collect_files(found, Path(work), archives=data.archives)
        store = open_store(data, service, given.version)
        rows = [Row(item, store.address(item)) for item in items]
        with _Screen(quiet=given.json) as screen:
            try:
                publish(rows, store, data, screen)
            except PublishError as error:
                problem = str(error)
            except KeyboardInterrupt:
                problem = "interrupted; run the same command again: files that are in the store are not sent again"
    if given.json:
        record = {"service": service, "version": given.version, "store": name, "url": data.url}
        print_json({**record, "files": [_record(row) for row in rows], "error": problem})
    else:
        out = console()
        out.print(_table(rows))
        if not problem:
            folder = rows[-1].address.removesuffix(rows[-1].item.name)
            out.print(Text(f"{service} {given.version} is in {name}: {folder}"), soft_wrap=True)
    if problem:
        print_error(problem)
    return 1 if problem else 0


def _store(given: argparse.Namespace) -> tuple[str, PublishStore]:
    """Name and data of the store to publish to."""
    details = {key: getattr(given, key) for key in ("preset", "token", "user", "header") if getattr(given, key)}
    rules = {key: True for key in ("archives", "overwrite") if getattr(given, key)}
    if given.to and "://" in given.to:
        raw = {"url": given.to, **details, **rules}
        parsed = parse_publish({"stores": {"url": raw}}, "the command line")
        return re.sub(r"[?].*", "", given.to), parsed.stores["url"]
    if details:
        raise PublishError(f"--{min(details)}: only with --to and an address; a named store has it in {DATA}")
    known = _group_data()
    name = known.store_name(given.to)
    if name is None:
        raise PublishError(f"publish: {', '.join(known.stores)} are known; name one with --to, or set publish.default")
    if name not in known.stores:
        raise PublishError(f"--to {name}: no such store in {DATA}, and no address; known: {', '.join(known.stores)}")
    return name, known.stores[name].model_copy(update=rules)


def _group_data() -> Publish:
    """``publish`` of group_data/all.py, which is Python, as for pyinfra."""
    if not DATA.is_file():
        raise PublishError(f"{DATA}: no such file; run this in the project's folder, or give --to an address")
    try:
        raw: Any = runpy.run_path(str(DATA)).get("publish")
    except Exception as error:
        raise PublishError(f"{DATA}: cannot be read: {type(error).__name__}: {error}") from None
    if raw is None:
        raise PublishError(
            f"{DATA}: has no `publish`; name a store there (docs/publishing.md), or give --to an address"
        )
    return parse_publish(raw, str(DATA))


class _Screen:
    """Progress on standard error: bars on a terminal, else one line a file."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        screen = console(sys.stderr)
        self._bars = Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Screen:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def started(self, item: Item) -> None:
        self._tasks[item.name] = self._bars.add_task(item.name, total=item.size)

    def progressed(self, item: Item, done: int) -> None:
        self._bars.update(self._tasks[item.name], completed=done)

    def finished(self, row: Row) -> None:
        if row.item.name in self._tasks:
            self._bars.remove_task(self._tasks.pop(row.item.name))
        if not self._quiet:
            duration = f", {seconds_text(row.seconds)}" if row.state != "there already" else ""
            self.report(f"{row.item.name}: {row.state}, {size_text(row.item.size)}{duration}")

    def report(self, line: str) -> None:
        self._bars.console.print(Text(one_line(line)), soft_wrap=True)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("checked")
    for row in rows:
        seconds = f"{row.seconds:.2f}" if row.state in ("sent", "failed") else ""
        state = Text(row.state, style=_STYLES[row.state])
        table.add_row(Text(row.item.name), f"{row.item.size}", seconds, state, Text(row.checked))
    return table


def _record(row: Row) -> dict[str, Any]:
    return {
        "file": row.item.name,
        "bytes": row.item.size,
        "sha256": row.item.sha256,
        "address": row.address,
        "seconds": round(row.seconds, 3),
        "state": row.state,
        "checked": row.checked,
    }
