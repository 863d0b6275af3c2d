"""``gofallback archive``: a version as tar.gz and zip, for people who want files and no service."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from gofallback.controller.paths import Home
from gofallback.controller.store import ArtifactStore
from gofallback.model import Service, parse_fleet
from gofallback.model.load import load_services
from gofallback.publish.download import Made, complete, make
from gofallback.publish.errors import PublishError
from gofallback.publish.files import chosen
from gofallback.report.screen import console
from gofallback.report.style import size_text

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

STATUSES = "exit status: 0 everything is in the folder, 1 it is not (one line says why), 2 the command line is wrong"
SERVICES = Path("group_data") / "services"


def register(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "archive",
        help="write a version as tar.gz and zip archives, with checksums.txt, into a folder",
        description="Packs the verified binaries of a version, one archive for each platform, as `archives` of the "
        "service in group_data/services/ says. Equal artifacts give equal bytes. See docs/binaries-and-files.md.",
        epilog=STATUSES,
    )
    command.add_argument("version", metavar="VERSION", help="a version of the artifact store, such as v1.2.3")
    command.add_argument("--to", required=True, type=Path, metavar="DIR", help="the folder; made if need be")
    command.add_argument("--service", metavar="NAME", help="default: the only one that has this version")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=_archive)


def _archive(given: argparse.Namespace) -> int:
    home = Home.default()
    store = ArtifactStore(home.artifacts, say=lambda line: print(line, file=sys.stderr))
    name, artifacts = chosen(store, given.service, given.version)
    service = _service(name)
    made = make(service, complete(service, artifacts), home.mirrors, given.to)
    if given.json:
        rows = [
            {"name": one.item.name, "size": one.item.size, "sha256": one.item.sha256, "state": one.state}
            for one in made
        ]
        whole = {"service": name, "version": given.version, "folder": str(given.to), "files": rows}
        print(json.dumps(whole, indent=2))
    else:
        console().print(_table(made))
        console().print(Text(f"{name} {given.version} is in {given.to}"), soft_wrap=True)
    return 0


def _service(name: str) -> Service:
    """Of group data in this folder: which binaries there are, and what the archives hold."""
    if not SERVICES.is_dir():
        raise PublishError(f"{SERVICES}: not there; run this in the project's folder")
    services = [one for one in load_services(SERVICES) if one.get("name") == name]
    if not services:
        raise PublishError(f"{SERVICES}/{name}.yml: not there, so nobody says which binaries it has; add it")
    return parse_fleet({"services": services}).services[name]


def _table(made: list[Made]) -> Table:
    table = Table(header_style="bold", box=box.SIMPLE)
    for column in ("file", "size", "sha256", ""):
        table.add_column(column, overflow="fold")
    for one in made:
        table.add_row(one.item.name, size_text(one.item.size), one.item.sha256[:16], one.state)
    return table
