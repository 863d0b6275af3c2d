"""Raises the errors of group data: at most three lines, each with the file that a person has to open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from gofallback.model.base import DataError

#: More lines would hide the first cause.
_MOST_LINES = 3


def refuse(*lines: str) -> NoReturn:
    """Raise DataError with one line per problem."""
    more = len(lines) - _MOST_LINES
    first = list(lines[:_MOST_LINES])
    if more > 0:
        first[-1] += f" (and {more} more)"
    raise DataError("\n".join(_printable(line) for line in first))


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def file_of(path: Sequence[str | int]) -> str:
    """The file that a key path is written in."""
    if path[0] != "services":
        return "group_data/builders.py" if path[0] == "toolchain" else "group_data/ or the inventory"
    name = path[1] if len(path) > 1 else ""
    is_file_name = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name)
    return f"group_data/services/{name}.yml" if is_file_name else "group_data/services/"
