"""The files that a path or a pattern of group data selects, and their names below the folder they go to. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_WILD = re.compile(r"[*?]")


@dataclass(frozen=True)
class SelectedFile:
    """A selected file, and a copy of its bytes."""

    path: str
    """Path in the repository or the project, for errors."""
    name: str
    """Name below the folder it goes to."""
    local: Path
    """The copy."""
    mode: int


def base_of(pattern: str) -> str:
    """The folder that the names of matches are relative to: all parts before the first part with ``*`` or ``?``.

    For a plain path the path itself.
    """
    parts = _clean(pattern).split("/")
    wild = next((number for number, part in enumerate(parts) if _WILD.search(part)), len(parts))
    return "/".join(parts[:wild])


def select(pattern: str, paths: Iterable[str]) -> dict[str, str]:
    """Every selected path, and its name below the folder it goes to.

    Args:
        pattern: a file; a folder, for everything below it; or a pattern: ``*`` and ``?`` match within a name, ``**``
            any number of folders, and at the end any file below. Other characters match themselves.
        paths: of files, with ``/``.
    """
    clean = _clean(pattern)
    if not _WILD.search(clean):
        every = list(paths)
        if clean in every:
            return {clean: clean.rpartition("/")[2]}
        inside = f"{clean}/" if clean else ""
        return {path: path.removeprefix(inside) for path in every if path.startswith(inside)}
    regex, base = _compiled(clean), base_of(clean)
    inside = f"{base}/" if base else ""
    return {path: path.removeprefix(inside) for path in paths if regex.fullmatch(path)}


def _clean(pattern: str) -> str:
    return "/".join(part for part in pattern.replace("\\", "/").split("/") if part not in ("", "."))


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = pattern.split("/")
    text = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            text += ".+" if last else "(?:[^/]+/)*"
            continue
        words = {"*": "[^/]*", "?": "[^/]"}
        text += "".join(words.get(character, re.escape(character)) for character in part) + ("" if last else "/")
    return re.compile(text, re.DOTALL)
