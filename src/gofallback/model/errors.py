"""How group data is refused: which file a person has to open, and at most three lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from gofallback.model.base import DataError

#: More lines than these hide the first cause.
_MOST_LINES = 3


def refuse(*lines: str) -> NoReturn:
    """Raise DataError with a line per finding."""
    more = len(lines) - _MOST_LINES
    shown_lines = list(lines[:_MOST_LINES])
    if more > 0:
        shown_lines[-1] += f" (and {more} more)"
    raise DataError("\n".join(_printable(line) for line in shown_lines))


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def place(path: Sequence[str | int]) -> str:
    """The file a person has to open."""
    if path[0] != "services":
        return "group_data/builders.py" if path[0] == "toolchain" else "group_data/ or the inventory"
    name = path[1] if len(path) > 1 else ""
    named = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name)
    return f"group_data/services/{name}.yml" if named else "group_data/services/"
