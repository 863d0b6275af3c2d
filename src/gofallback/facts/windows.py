"""Facts of Windows hosts. Each is one round trip; `BuilderState` tells all that a run needs in one."""

from __future__ import annotations

import re

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from gofallback.windows import state
from gofallback.windows.paths import literal


def raw(text: str) -> StringCommand:
    """A command line for cmd.exe, passed on as it stands."""
    return StringCommand(text)


class BuilderState(FactBase[state.BuilderState]):
    """Everything about a builder: Windows, disk, toolchains, mirrors, checkouts, outputs. None: it did not answer.

    Read it through `gofallback.facts.builder.builder_state`, which remembers it.
    """

    _root: str = ""

    def command(self, root: str) -> StringCommand:
        self._root = root
        return raw(state.gather(root))

    def process(self, output: list[str]) -> state.BuilderState:
        try:
            return state.parse(self._root, output)
        except state.StateError as error:
            raise FactProcessError(str(error)) from None


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


def certutil(path: str) -> str:
    """The command line that prints a file's SHA-256; `read_hash` reads its answer."""
    return f'"%SystemRoot%\\System32\\certutil.exe" -hashfile {literal(path)} SHA256'


def read_hash(output: list[str]) -> str | None:
    """The SHA-256 in certutil's answer; None: there is none, whatever the exit status was.

    Windows 7 and 8 print the digits in pairs, later ones without blanks; the words around them are translated.
    """
    for line in output:
        digits = line.strip().replace(" ", "").lower()
        if re.fullmatch(r"[0-9a-f]{64}", digits):
            return digits
    return None


#: SHA-256 of nothing: certutil cannot map an empty file and fails with ERROR_FILE_INVALID.
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def hash_line(path: str) -> str:
    """The command line that prints a file's SHA-256, an empty file's too, and nothing when it is not there."""
    name = literal(path)
    hashed = f"@if %~zF==0 (echo {EMPTY_SHA256}) else ({certutil(path)})"
    return f"(if exist {name} (for %F in ({name}) do {hashed}))& exit 0"


class FileSha256(FactBase["str | None"]):
    """SHA-256 of a file, 64 lower-case hex digits; None: no such file, or it cannot be read."""

    default = staticmethod(lambda: None)

    def command(self, path: str) -> StringCommand:
        return raw(hash_line(path))

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
        return state.read_free(output)
