"""Facts of Windows hosts. Each is one round trip; `gofallback.facts.builder` tells all that a run needs in one."""

from __future__ import annotations

import re

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from gofallback.builder.cmd import Cmd
from gofallback.builder.paths import literal
from gofallback.builder.state_parser import read_free


def raw(text: str) -> StringCommand:
    """A command line for cmd.exe, passed on as it stands."""
    return StringCommand(text)


class Directory(FactBase[bool]):
    """Whether a folder is there."""

    default = staticmethod(lambda: False)

    def command(self, path: str) -> StringCommand:
        return raw(f"(if exist {literal(path + chr(92))} echo folder)& exit 0")

    def process(self, output: list[str]) -> bool:
        return "folder" in (line.strip() for line in output)


class Exists(FactBase[bool]):
    """Whether a file or a folder is there."""

    default = staticmethod(lambda: False)

    def command(self, path: str) -> StringCommand:
        return raw(f"(if exist {literal(path)} echo there)& exit 0")

    def process(self, output: list[str]) -> bool:
        return "there" in (line.strip() for line in output)


class Children(FactBase["list[str]"]):
    """Names of the files and folders in a folder, hidden ones too; empty when it is not there."""

    default = list

    def command(self, path: str) -> StringCommand:
        return raw(f"dir /b /a {literal(path)} 2>nul& exit 0")

    def process(self, output: list[str]) -> list[str]:
        # Wine lists . and .. as well.
        return [line for line in (line.strip() for line in output) if line not in ("", ".", "..")]


def read_hash(output: list[str]) -> str | None:
    """The SHA-256 in certutil's answer, or in sha256sum's; None: there is none, whatever the exit status was.

    Windows 7 and 8 print the digits in pairs, later ones without blanks; the words around them are translated.
    """
    for line in output:
        digits = line.strip().replace(" ", "").lower()
        if re.fullmatch(r"[0-9a-f]{64}", digits):
            return digits
    return None


class FileSha256(FactBase["str | None"]):
    """SHA-256 of a file, 64 lower-case hex digits; None: no such file, or it cannot be read."""

    default = staticmethod(lambda: None)

    def command(self, path: str) -> StringCommand:
        return raw(f"{Cmd().hash(path)}& exit 0")

    def process(self, output: list[str]) -> str | None:
        return read_hash(output)


class Environment(FactBase[dict[str, str]]):
    """The environment a command gets there, names in upper case. May hold secrets: never print it."""

    default = dict

    def command(self) -> StringCommand:
        return raw("set")

    def process(self, output: list[str]) -> dict[str, str]:
        pairs = (line.partition("=") for line in output if "=" in line[1:])
        return {name.upper(): value for name, _, value in pairs}


class FreeDisk(FactBase["int | None"]):
    """Free bytes of a drive; None: Windows did not say."""

    default = staticmethod(lambda: None)

    def command(self, drive: str = "C:") -> StringCommand:
        return raw(f"dir /-c /ad {drive[:2]}\\")

    def process(self, output: list[str]) -> int | None:
        return read_free(output)
