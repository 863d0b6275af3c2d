"""How systemd parses values: specifiers, quoting, line continuation. No other module knows it. Pure.

Sources: systemd.syntax(7), systemd.unit(5) "Specifiers", systemd.service(5) "Command lines",
systemd.exec(5) `EnvironmentFile=`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: An argument that needs no quotes: no character has a meaning in systemd.syntax(7) or systemd.service(5).
_BARE = re.compile(r"[A-Za-z0-9_./:=,+@-]+")


class UnitValueError(ValueError):
    """A value that no unit file can hold; ``str(error)`` is the reason, in one line."""


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
    """One argument of ExecStart=: the program gets it unchanged."""
    _one_line(value)
    if _BARE.fullmatch(value):
        return value
    for char, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        value = value.replace(char, escaped)
    return f'"{value}"'


def program(path: str) -> str:
    """The absolute path at the start of ExecStart=. systemd does not expand `$` there, so `$` must not be doubled."""
    if not re.fullmatch(r"/[A-Za-z0-9_./+@-]+", path):
        raise UnitValueError(f"{path!r} should be an absolute path of letters, digits and _ . / + @ -")
    return path


def command(path: str, arguments: Iterable[str]) -> str:
    """Value of ExecStart=."""
    return " ".join([program(path), *map(argument, arguments)])


def environment_line(name: str, value: str) -> str:
    r"""One line of a file for EnvironmentFile=, in double quotes, where only ``" \ ` $`` are special."""
    _one_line(value)
    return f'{name}="' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'
