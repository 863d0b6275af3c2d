"""Compare two builds of one program: the same bytes, or the reasons why not, from cause to symptom. Pure.

The twin build and the known-good comparison use it (docs/twin-build.md, docs/known-good.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from gofallback.artifact import contents
from gofallback.artifact.binary import BinaryInfo, inspect_bytes
from gofallback.artifact.differences import Finding, causes
from gofallback.artifact.errors import ArtifactError
from gofallback.artifact.sections import Section, sections
from gofallback.model.base import Strict

#: Lines for people; the JSON has all of them.
MOST = 4
_CONTEXT = 24
#: Sections whose differences mean something, the most telling first; code moves with every constant.
_TELLING = ("rodata", ".rdata", ".data", "__data", "noptrdata", "text")
_IDS_AND_CODE = frozenset({".note.go.buildid", ".note.gnu.build-id", ".text", "__TEXT,__text"})


class SectionRow(Strict):
    """One section that differs."""

    name: str
    sizes: tuple[int | None, int | None]
    """Bytes on either side; None: no such section."""
    sha256: tuple[str | None, str | None]
    first: int | None = None
    """Offset in the section of the first byte that differs."""
    context: tuple[str, str] = ("", "")
    """The bytes around it, those outside of ASCII as dots."""


class Comparison(Strict):
    """The result."""

    names: tuple[str, str]
    """The owners of both binaries, such as builder names."""
    sha256: tuple[str, str]
    sizes: tuple[int, int]
    """Bytes."""
    findings: list[Finding] = Field(default_factory=list)
    """From cause to symptom; empty for the same bytes."""
    sections: list[SectionRow] = Field(default_factory=list)
    only: tuple[list[str], list[str]] = ([], [])
    """Functions of one side only, at most 50."""

    @property
    def same(self) -> bool:
        """Both have the same bytes."""
        return self.sha256[0] == self.sha256[1]

    def lines(self, most: int = MOST) -> list[str]:
        """The first reasons, for people."""
        shown = [finding.line() for finding in self.findings[:most]]
        more = len(self.findings) - most
        return [*shown, f"and {more} more in the report"] if more > 0 else shown

    def brief(self) -> str:
        """The first reason without its remedy; empty for the same bytes."""
        if not self.findings:
            return ""
        more = len(self.findings) - 1
        return self.findings[0].text + (f" (and {more} more)" if more else "")


@dataclass(frozen=True)
class _Pair:
    """Two binaries that differ."""

    names: tuple[str, str]
    data: tuple[bytes, bytes]
    infos: tuple[BinaryInfo, BinaryInfo]
    sections: tuple[list[Section], list[Section]]


def compare(one: bytes, other: bytes, names: tuple[str, str]) -> Comparison:
    """Compare two binaries.

    Args:
        one: the binary of the builder.
        other: the binary of the twin, or of a target.
        names: their owners, for people.

    Raises:
        ArtifactError: a file is no binary, or damaged; one line, with its owner's name.
    """
    digests = (hashlib.sha256(one).hexdigest(), hashlib.sha256(other).hexdigest())
    base = Comparison(names=names, sha256=digests, sizes=(len(one), len(other)))
    if base.same:
        return base
    infos = (_inspected(one, names[0]), _inspected(other, names[1]))
    pair = _Pair(names, (one, other), infos, (sections(one), sections(other)))
    rows = list(_rows(pair))
    found = [*causes(*infos, names), *_content_causes(pair)]
    mine, theirs = (contents.functions(data, parts) for data, parts in zip(pair.data, pair.sections, strict=True))
    only = (sorted(mine - theirs)[:50], sorted(theirs - mine)[:50])
    found += _symptoms(pair, found, rows, only)
    return base.model_copy(update={"findings": found, "sections": rows, "only": only})


def compare_files(one: Path, other: Path, names: tuple[str, str]) -> Comparison:
    """Compare two files.

    Raises:
        ArtifactError: a file cannot be read, is no binary, or is damaged.
    """
    try:
        return compare(one.read_bytes(), other.read_bytes(), names)
    except OSError as error:
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror})") from None


def _inspected(data: bytes, name: str) -> BinaryInfo:
    try:
        return inspect_bytes(data)
    except ArtifactError as error:
        raise ArtifactError(f"what {name} has {error}") from None


def _content_causes(pair: _Pair) -> Iterator[Finding]:
    """Causes that only the bytes show."""
    names = pair.names
    compilers = [contents.compilers(data, parts) for data, parts in zip(pair.data, pair.sections, strict=True)]
    if compilers[0] != compilers[1]:
        first, second = (" + ".join(words) or "none" for words in compilers)
        yield Finding(
            kind="compiler",
            text=f"C compiler: {names[0]} has {first}, {names[1]} {second}",
            remedy="pin one compiler for both builders",
        )
    for crlf, lf in ((0, 1), (1, 0)):
        lines = contents.line_ends(pair.data[crlf], pair.data[lf])
        if lines:
            yield Finding(
                kind="line ends",
                text=f"an embedded file has CR LF line ends in what {names[crlf]} built and LF in what {names[lf]} "
                f'built: "{lines[0]}"',
                remedy="check out with core.autocrlf=false, or add `* -text` to .gitattributes",
            )
    yield from _paths(pair)


def _paths(pair: _Pair) -> Iterator[Finding]:
    names, found = pair.names, [contents.paths(data) for data in pair.data]
    trimmed = [info.build is None or info.build.settings.get("-trimpath") == "true" for info in pair.infos]
    if found[0] == found[1] and trimmed[0] == trimmed[1]:
        return
    sides = [
        f"{name} has {', '.join(contents.folders(mine - theirs)[:2]) or 'none'}"
        for name, mine, theirs in ((names[0], found[0], found[1]), (names[1], found[1], found[0]))
    ]
    without = [name for name, has in zip(names, trimmed, strict=True) if not has]
    why = f"; {' and '.join(without)} built without -trimpath" if without else ""
    yield Finding(
        kind="path", text=f"paths of the machine: {', '.join(sides)}{why}", remedy="build with -trimpath on both"
    )


def _rows(pair: _Pair) -> Iterator[SectionRow]:
    mine, theirs = (
        {part.name: part.of(data) for part in parts} for data, parts in zip(pair.data, pair.sections, strict=True)
    )
    for name in dict.fromkeys([*mine, *theirs]):
        first, second = mine.get(name), theirs.get(name)
        if first == second:
            continue
        at = _first(first or b"", second or b"")
        sizes = tuple(None if side is None else len(side) for side in (first, second))
        digests = tuple(None if side is None else hashlib.sha256(side).hexdigest() for side in (first, second))
        yield SectionRow(
            name=name,
            sizes=(sizes[0], sizes[1]),
            sha256=(digests[0], digests[1]),
            first=at,
            context=(_shown(first or b"", at), _shown(second or b"", at)),
        )


def _first(one: bytes, other: bytes) -> int:
    """Offset of the first byte that differs, by bisection: comparing slices is fast, comparing bytes is not."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _shown(content: bytes, at: int) -> str:
    piece = content[max(0, at - _CONTEXT) : at + _CONTEXT]
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)


def _symptoms(
    pair: _Pair, found: list[Finding], rows: list[SectionRow], only: tuple[list[str], list[str]]
) -> Iterator[Finding]:
    """What follows from a cause; in full only where no cause was found."""
    names = pair.names
    ids = [contents.build_id(data, parts) for data, parts in zip(pair.data, pair.sections, strict=True)]
    if ids[0] != ids[1]:
        yield _build_id(names, ids, code_is_same={row.name for row in rows} <= _IDS_AND_CODE and not found)
    if found:
        return
    if not rows:
        at, sizes = _first(*pair.data), f"{names[0]} has {len(pair.data[0])} bytes, {names[1]} {len(pair.data[1])}"
        yield Finding(
            kind="outside",
            text=f"every section is the same; they differ outside of them, first at byte {at} of the file ({sizes})",
            remedy="it was changed, signed or appended to after the build",
        )
    for name, functions in zip(names, only, strict=True):
        if functions:
            more = f" and {len(functions) - 3} more" if len(functions) > 3 else ""
            yield Finding(
                kind="functions",
                text=f"only {name} has the functions {', '.join(functions[:3])}{more}",
                remedy="other sources, build tags or compiler settings: compare the work trees of both builders",
            )
    telling = [row for end in _TELLING for row in rows if row.name.endswith(end)]
    for row in (telling or rows)[:1]:
        count = f"{len(rows)} sections differ" if len(rows) > 1 else "no other section differs"
        yield Finding(
            kind="section",
            text=f"{row.name} differs first at byte {row.first}: {names[0]} has {row.context[0]!r}, "
            f"{names[1]} {row.context[1]!r} ({count})",
            remedy="a stamp (-X), embedded data or generated code that is not the same on both",
        )


def _build_id(names: tuple[str, str], ids: list[str], *, code_is_same: bool) -> Finding:
    if not all(ids):
        missing = names[0] if not ids[0] else names[1]
        return Finding(
            kind="build id", text=f"Go's build ID: {missing} has none (-buildid=)", remedy="the same -ldflags for both"
        )
    text = f"Go's build ID: {names[0]} has {ids[0].rpartition('/')[2]}, {names[1]} {ids[1].rpartition('/')[2]}"
    if not code_is_same:
        return Finding(kind="build id", text=text, remedy="")
    return Finding(
        kind="build id",
        text=f"{text}; the code is the same",
        remedy="the sources differ in bytes that change no code (line ends, comments): link with -ldflags=-buildid=",
    )
