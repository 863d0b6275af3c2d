"""The one place that knows how systemd reads a value: specifiers, quoting, line continuation.

Sources: systemd.syntax(7), systemd.unit(5) "Specifiers", systemd.service(5) "Command lines",
systemd.exec(5) `EnvironmentFile=`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: What an argument may hold without quotes: nothing that systemd.syntax(7) or systemd.service(5) gives a meaning.
_BARE = re.compile(r"[A-Za-z0-9_./:=,+@-]+")


class UnitValueError(ValueError):
    """A value that no unit file can hold; ``str(error)`` says why, in one line."""


def _one_line(value: str) -> None:
    if any(ord(ch) < 0x20 or ord(ch) == 0x7F for ch in value):
        raise UnitValueError("should be one line without control characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnitValueError("should be text that UTF-8 can hold") from None


def verbatim(value: str) -> str:
    """A value in systemd's own syntax, such as one of `unit.directives`: checked, not changed.

    Raises:
        UnitValueError: control characters, or an odd number of backslashes at the end, which join the next line.
    """
    _one_line(value)
    stripped = value.rstrip(" \t")
    if (len(stripped) - len(stripped.rstrip("\\"))) % 2:
        raise UnitValueError("should not end with a backslash: systemd would join the next line to it")
    return value


def text(value: str) -> str:
    """A plain value of a directive that takes the rest of its line (Description=, WorkingDirectory=): no specifiers."""
    return verbatim(value).replace("%", "%%")


def argument(value: str) -> str:
    """One argument of ExecStart=: arrives in the program exactly as it is here."""
    _one_line(value)
    if _BARE.fullmatch(value):
        return value
    for char, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        value = value.replace(char, escaped)
    return f'"{value}"'


def program(path: str) -> str:
    """The absolute path that begins ExecStart=. systemd does not expand `$` there, so it must not be doubled."""
    if not re.fullmatch(r"/[A-Za-z0-9_./+@-]+", path):
        raise UnitValueError(f"{path!r} should be an absolute path of letters, digits and _ . / + @ -")
    return path


def command(path: str, arguments: Iterable[str]) -> str:
    """Value of ExecStart=."""
    return " ".join([program(path), *map(argument, arguments)])


def environment_line(name: str, value: str) -> str:
    r"""One line of a file for EnvironmentFile=, in double quotes: only ``" \ ` $`` are special there."""
    _one_line(value)
    return f'{name}="' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'
