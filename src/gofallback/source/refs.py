"""Which ref was meant, what is near it, and a repository's refs as one file. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

FULL_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Ref:
    """One ref of a mirror."""

    target: str
    """Object it names: a commit, or an annotated tag."""
    peeled: str | None = None
    """Commit behind an annotated tag."""

    @property
    def commit(self) -> str:
        """The commit, whichever kind of ref this is."""
        return self.peeled or self.target


class RefError(Exception):
    """Nothing has that name, or two things have; ``str`` is the part of the line after the ref."""


def parse_refs(text: str) -> dict[str, Ref]:
    """Read ``git show-ref --dereference``; ``<sha> <ref>`` and ``<sha> <ref>^{}`` for what a tag points to."""
    refs: dict[str, Ref] = {}
    for line in text.splitlines():
        sha, _, name = line.partition(" ")
        if name.endswith("^{}"):
            name = name.removesuffix("^{}")
            refs[name] = Ref(refs[name].target, sha)
        elif name:
            refs[name] = Ref(sha)
    return refs


def choose(ref: str, refs: Mapping[str, Ref]) -> str | None:
    """The commit that a branch or tag name means; None when no ref has that name.

    Raises:
        RefError: a branch and a tag have that name and mean different commits.
    """
    names = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    found = {name: refs[name].commit for name in names if name in refs}
    if len(set(found.values())) > 1:
        raise RefError("is both a branch and a tag; write " + " or ".join(found))
    return next(iter(found.values()), None)


def near(ref: str, refs: Mapping[str, Ref], *, most: int = 3) -> list[str]:
    """Names a person may have meant, best first."""
    names = sorted({_short(name) for name in refs if name.startswith(("refs/heads/", "refs/tags/"))})
    wanted = re.sub(r"^(refs/(heads|tags)/|(refs/remotes/)?(origin|upstream)/)", "", ref)
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(name.lower(), name)
    close = [folded[name] for name in difflib.get_close_matches(wanted.lower(), folded, n=most, cutoff=0.6)]
    partial = [name for name in names if wanted.lower() in name.lower() and name not in close]
    return (close + partial)[:most]


def packed_refs(refs: Mapping[str, Ref]) -> str:
    """All branches and tags as the content of git's ``packed-refs`` file.

    Setting a bare repository's refs by replacing this one file is atomic, and it knows no clash between names that
    differ only in case, which loose refs have on Windows' file systems (gitrepository-layout(5); the header promises
    that names are sorted and that every tag says what it points to: refs/packed-backend.c of git).
    """
    lines = ["# pack-refs with: peeled fully-peeled sorted "]
    for name in sorted(refs, key=lambda name: name.encode()):
        if name.startswith(("refs/heads/", "refs/tags/")):
            lines.append(f"{refs[name].target} {name}")
            if refs[name].peeled:
                lines.append(f"^{refs[name].peeled}")
    return "\n".join(lines) + "\n"


def version_of(described: str) -> str:
    """``git describe``'s answer as a version: what a folder name and a Go variable can hold (docs/architecture.md)."""
    return re.sub(r"[^A-Za-z0-9._+-]", "-", described.strip()).lstrip(".-") or "unknown"


def _short(name: str) -> str:
    return re.sub(r"^refs/(heads|tags)/", "", name)
