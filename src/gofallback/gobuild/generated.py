"""Generated code: the files ``go generate`` changed in a tree, and the overlay with which go compiles them. Pure.

The tree itself stays the commit: ``go build -overlay`` takes the changed files from elsewhere (go help build). So the
git status of the tree, which Go stamps into the binary, stays true, and the next build begins from the same files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gofallback.artifact.spec import BuildSpec
from gofallback.errors import GofallbackError

#: Lines of ours around git's output.
CHANGED, END, CLEAN = "@changed", "@end", "@clean"
_STATUS = re.compile(r"([AMDT])\t(.+)")


class GeneratedError(GofallbackError):
    """The result of go generate cannot be used; one line."""


@dataclass(frozen=True)
class Changes:
    """Differences from the commit after ``go generate``; paths relative to the top of the tree, with ``/``."""

    written: tuple[str, ...] = ()
    """New or changed."""
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.written or self.removed)

    def line(self) -> str:
        """For a person."""
        every = (*self.written, *(f"{path} (removed)" for path in self.removed))
        more = f" and {len(every) - 3} more" if len(every) > 3 else ""
        return f"{', '.join(every[:3])}{more}" if every else "nothing that is not in the commit"


def folder_name(spec: BuildSpec) -> str:
    """Folder of a spec's generated files: the same for every binary and platform of one commit and toolchain."""
    identity = "\n".join([spec.service, spec.commit, spec.go_version, *spec.generate, *spec.tags])
    return f"generated-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def read_changes(lines: Iterable[str]) -> Changes:
    """Read ``git diff --name-status`` between `CHANGED` and `END`.

    Raises:
        GeneratedError: the output is cut short, or git writes a file's name in quotes.
    """
    written: list[str] = []
    removed: list[str] = []
    inside = ended = False
    for line in lines:
        if line.strip() in (CHANGED, END):
            inside, ended = line.strip() == CHANGED, line.strip() == END
            continue
        found = _STATUS.fullmatch(line.rstrip()) if inside else None
        if found is None:
            continue
        if found[2].startswith('"'):
            raise GeneratedError(f"makes a file whose name is not plain ASCII: {found[2]}; give it another name")
        (removed if found[1] == "D" else written).append(found[2])
    if not ended:
        raise GeneratedError("git did not list what changed; run again with -vvv")
    return Changes(tuple(written), tuple(removed))


def first_unrestored(lines: Iterable[str]) -> str:
    """The first path that git could not restore, as ``git status`` prints it; empty when the tree is the commit's.

    Raises:
        GeneratedError: the output is cut short.
    """
    printed = [line.rstrip() for line in lines if line.strip()]
    if CLEAN not in printed:
        raise GeneratedError("git cannot put the tree back; remove work/<service> on the builder and run again")
    return next((line for line in printed[: printed.index(CLEAN)] if re.match(r"[ MADRCUT?!]{2} ", line)), "")


def overlay(changes: Mapping[str, str | None]) -> str:
    """Content of the file that ``-overlay`` names.

    Args:
        changes: path in the tree to the file that is compiled in its place, both absolute; None: no file is.
    """
    return json.dumps({"Replace": {path: replacement or "" for path, replacement in changes.items()}}, indent=1) + "\n"
