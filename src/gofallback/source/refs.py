"""Refs of a repository: by name, by similar name, and all of them as one file. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FULL_SHA = re.compile(r"[0-9a-f]{40}")
_BRANCH_OR_TAG = re.compile(r"refs/(?:heads|tags)/")


@dataclass(frozen=True)
class Ref:
    """One ref of a mirror."""

    target: str
    """Name of the object: a commit, or an annotated tag."""
    peeled: str | None = None
    """Commit behind an annotated tag."""

    @property
    def commit(self) -> str:
        """The commit, whichever kind of ref this is."""
        return self.peeled or self.target


class RefError(Exception):
    """A branch and a tag have one name; ``str`` is the part of the line after the ref."""


def parse_refs(text: str) -> dict[str, Ref]:
    """Read ``git show-ref --dereference``: ``<sha> <ref>``, and ``<sha> <ref>^{}`` for the commit of a tag."""
    refs: dict[str, Ref] = {}
    for line in text.splitlines():
        sha, _, name = line.partition(" ")
        if name.endswith("^{}"):
            name = name.removesuffix("^{}")
            refs[name] = Ref(refs[name].target, sha)
        elif name:
            refs[name] = Ref(sha)
    return refs


def commit_named(ref: str, refs: Mapping[str, Ref]) -> str | None:
    """The commit of a branch or tag; None when no ref has that name.

    Raises:
        RefError: a branch and a tag have that name and mean different commits.
    """
    names = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    found = {name: refs[name].commit for name in names if name in refs}
    if len(set(found.values())) > 1:
        raise RefError("is both a branch and a tag; write " + " or ".join(found))
    return next(iter(found.values()), None)


def is_branch_or_tag(name: str) -> bool:
    """Whether a full name is that of a branch or a tag."""
    return bool(_BRANCH_OR_TAG.match(name))


def short_names(refs: Iterable[str]) -> list[str]:
    """The branches and tags among full names, without ``refs/heads/`` and ``refs/tags/``, sorted."""
    return sorted({_BRANCH_OR_TAG.sub("", name, count=1) for name in refs if is_branch_or_tag(name)})


def similar_names(ref: str, refs: Mapping[str, Ref], *, most: int = 3) -> list[str]:
    """Branches and tags that the user may have meant, best first."""
    names = short_names(refs)
    plain = re.sub(r"^(refs/(heads|tags)/|(refs/remotes/)?(origin|upstream)/)", "", ref)
    by_lower: dict[str, str] = {}
    for name in names:
        by_lower.setdefault(name.lower(), name)
    close = [by_lower[name] for name in difflib.get_close_matches(plain.lower(), by_lower, n=most, cutoff=0.6)]
    partial = [name for name in names if plain.lower() in name.lower() and name not in close]
    return (close + partial)[:most]


def packed_refs(refs: Mapping[str, Ref]) -> str:
    """All branches and tags as the content of git's ``packed-refs`` file.

    Replacing this one file sets a bare repository's refs atomically. Names that differ only in case do not clash in it,
    as loose refs do on Windows' file systems (gitrepository-layout(5)). The header promises that names are sorted and
    that every tag has its commit (refs/packed-backend.c of git).
    """
    lines = ["# pack-refs with: peeled fully-peeled sorted "]
    for name in sorted(refs, key=lambda name: name.encode()):
        if is_branch_or_tag(name):
            lines.append(f"{refs[name].target} {name}")
            if refs[name].peeled:
                lines.append(f"^{refs[name].peeled}")
    return "\n".join(lines) + "\n"


def version_of(described: str) -> str:
    """The output of ``git describe`` as a version that fits a folder name and a Go variable (docs/architecture.md)."""
    return re.sub(r"[^A-Za-z0-9._+-]", "-", described.strip()).lstrip(".-") or "unknown"
