"""Generated code: what ``go generate`` changed in a tree, and the overlay with which go compiles it. Pure.

The tree itself stays the commit: ``go build -overlay`` takes the changed files from elsewhere (go help build), so what
git says of the tree, which Go stamps into the binary, stays true, and the next build begins from the same files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gofallback.artifact.spec import BuildSpec
from gofallback.errors import GofallbackError

#: Lines of ours around git's answer.
CHANGED, END, CLEAN = "@changed", "@end", "@clean"
_STATUS = re.compile(r"([AMDT])\t(.+)")


class GeneratedError(GofallbackError):
    """What go generate did to a tree cannot be used; one line."""


@dataclass(frozen=True)
class Changes:
    """What is different from the commit after ``go generate``; paths relative to the top of the tree, with ``/``."""

    made: tuple[str, ...] = ()
    """New or changed."""
    gone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.made or self.gone)

    def line(self) -> str:
        """For a person."""
        every = (*self.made, *(f"{path} (removed)" for path in self.gone))
        more = f" and {len(every) - 3} more" if len(every) > 3 else ""
        return f"{', '.join(every[:3])}{more}" if every else "nothing that is not in the commit"


def folder_name(spec: BuildSpec) -> str:
    """Folder for what is generated for a spec: the same for every binary and platform of one commit and toolchain."""
    what = "\n".join([spec.service, spec.commit, spec.go_version, *spec.generate, *spec.tags])
    return f"generated-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def read_changes(lines: Iterable[str]) -> Changes:
    """Read ``git diff --name-status`` between `CHANGED` and `END`.

    Raises:
        GeneratedError: the answer is cut short, or a file has a name that git writes in quotes.
    """
    made: list[str] = []
    gone: list[str] = []
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
        (gone if found[1] == "D" else made).append(found[2])
    if not ended:
        raise GeneratedError("git did not tell what changed; run again with -vvv")
    return Changes(tuple(made), tuple(gone))


def left_over(lines: Iterable[str]) -> str:
    """What git could not put back, the first of it; empty when the tree is the commit's again.

    Raises:
        GeneratedError: the answer is cut short.
    """
    told = [line.rstrip() for line in lines if line.strip()]
    if CLEAN not in told:
        raise GeneratedError("git cannot put the tree back; remove work/<service> on the builder and run again")
    return next((line for line in told[: told.index(CLEAN)] if re.match(r"[ MADRCUT?!]{2} ", line)), "")


def overlay(changes: Mapping[str, str | None]) -> str:
    """Content of the file that ``-overlay`` names.

    Args:
        changes: path in the tree to the file that is compiled in its place, absolute both; None: there is none.
    """
    return json.dumps({"Replace": {path: there or "" for path, there in changes.items()}}, indent=1) + "\n"
