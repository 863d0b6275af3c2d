"""``gofallback compare``: why are two builds of one program not the same bytes?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gofallback.artifact.compare import compare_files
from gofallback.cli.command import add_command, exit_statuses

if TYPE_CHECKING:
    from gofallback.cli.command import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    compare = add_command(
        commands,
        "compare",
        _compare,
        "explain why two builds of one program differ",
        "Compares build info, line ends, paths, compilers and sections of two binaries, and names the cause before its "
        "symptoms. Runs neither of them. See docs/twin-build.md.",
        exit_statuses("the same bytes", "other bytes or a file that is no binary"),
    )
    for name in ("one", "other"):
        compare.add_argument(name, type=Path, metavar=name.upper(), help="a binary: ELF, PE or Mach-O")
    compare.add_argument("--json", action="store_true", help="print all of it, section by section")


def _compare(given: argparse.Namespace) -> int:
    found = compare_files(given.one, given.other, (str(given.one), str(given.other)))
    if given.json:
        print(found.model_dump_json(indent=2))
    elif found.same:
        print(f"the same bytes: {found.sizes[0]}, sha256 {found.sha256[0]}")
    else:
        print("\n".join(finding.line() for finding in found.findings))
    return 0 if found.same else 1
