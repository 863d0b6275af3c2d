"""``gofallback archive``: a version as tar.gz and zip, for people who want files, not a service."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from gofallback.cli.command import add_command, add_version, artifact_store, exit_statuses, print_json
from gofallback.controller.paths import Home
from gofallback.model import Service, parse_fleet
from gofallback.model.load import load_services
from gofallback.publish.download import WrittenFile, complete_platforms, write_archives
from gofallback.publish.errors import PublishError
from gofallback.publish.files import select_artifacts
from gofallback.report.screen import console
from gofallback.report.style import size_text

if TYPE_CHECKING:
    from gofallback.cli.command import Commands

SERVICES = Path("group_data") / "services"


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "archive",
        _archive,
        "write a version as tar.gz and zip archives, with checksums.txt, into a folder",
        "Packs the verified binaries of a version, one archive for each platform, as `archives` of the service in "
        "group_data/services/ says. Equal artifacts give equal bytes. See docs/binaries-and-files.md.",
        exit_statuses("everything is in the folder", "it is not (one line says why)"),
    )
    add_version(command)
    command.add_argument("--to", required=True, type=Path, metavar="DIR", help="the folder; made when missing")
    command.add_argument("--json", action="store_true", help="print JSON")


def _archive(given: argparse.Namespace) -> int:
    name, artifacts = select_artifacts(artifact_store(), given.service, given.version)
    service = _service(name)
    made = write_archives(service, complete_platforms(service, artifacts), Home.default().mirrors, given.to)
    if given.json:
        rows = [
            {"name": one.item.name, "size": one.item.size, "sha256": one.item.sha256, "state": one.state}
            for one in made
        ]
        print_json({"service": name, "version": given.version, "folder": str(given.to), "files": rows})
    else:
        console().print(_table(made))
        console().print(Text(f"{name} {given.version} is in {given.to}"), soft_wrap=True)
    return 0


def _service(name: str) -> Service:
    """The service in the group data of this folder, for its binaries and the content of its archives."""
    if not SERVICES.is_dir():
        raise PublishError(f"{SERVICES}: no such folder; run this in the project's folder")
    services = [one for one in load_services(SERVICES) if one.get("name") == name]
    if not services:
        raise PublishError(f"{SERVICES}/{name}.yml: no such file, so its binaries are not known; add it")
    return parse_fleet({"services": services}).services[name]


def _table(made: list[WrittenFile]) -> Table:
    table = Table(header_style="bold", box=box.SIMPLE)
    for column in ("file", "size", "sha256", ""):
        table.add_column(column, overflow="fold")
    for one in made:
        table.add_row(one.item.name, size_text(one.item.size), one.item.sha256[:16], one.state)
    return table
