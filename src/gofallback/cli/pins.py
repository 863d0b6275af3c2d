"""``gofallback pins``: looks up the SHA-256 that a vendor publishes, and prints pins for a person to review."""

from __future__ import annotations

import argparse
import itertools
from typing import TYPE_CHECKING, get_args

from gofallback.cli.command import add_command
from gofallback.controller.downloads import DownloadError
from gofallback.controller.pins import Arch, Os, as_python, look_up
from gofallback.model import ToolchainPin

if TYPE_CHECKING:
    from gofallback.cli.command import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    pins = add_command(commands, "pins", _pins, "look up the SHA-256 the vendor publishes for a toolchain")
    pins.add_argument("tool", choices=["go"])
    pins.add_argument("versions", nargs="+", metavar="VERSION", help="such as 1.27.0")
    pins.add_argument("--arch", action="append", choices=get_args(Arch), help="default: amd64; may be repeated")
    pins.add_argument("--os", action="append", choices=get_args(Os), help="default: both; may be repeated")


def _pins(given: argparse.Namespace) -> int:
    """One pin a version, system and architecture.

    Git for Windows publishes no file beside its archives: its figures are in the notes of each release; copy
    them from there.
    """
    pins: list[ToolchainPin] = []
    failed = False
    for version, os, arch in itertools.product(given.versions, given.os or get_args(Os), given.arch or ["amd64"]):
        try:
            pins.append(look_up(version, arch, os))
        except DownloadError as error:
            failed = True
            print(f"error: {error}")
    if pins:
        print("# review, then paste into toolchain.pins of group_data/builders.py")
        print(as_python(pins))
    return 1 if failed else 0
