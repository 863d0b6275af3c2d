"""Two builds of one program: are they the same bytes, and if not, why? From the cause to the symptom, in words.

The twin build and the known-good comparison use it (docs/twin-build.md, docs/known-good.md). Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from gofallback.artifact import contents
from gofallback.artifact.binary import BinaryInfo, inspect_bytes
from gofallback.artifact.differences import Finding, causes
from gofallback.artifact.errors import ArtifactError
from gofallback.artifact.sections import Section, sections
from gofallback.model.base import Strict

#: Lines for a person; all of it is in the JSON.
MOST = 4
_CONTEXT = 24
#: Sections in which a difference says something, the most telling first; code moves with every constant.
_SPEAKING = ("rodata", ".rdata", ".data", "__data", "noptrdata", "text")


class SectionRow(Strict):
    """One section that differs."""

    name: str
    sizes: tuple[int | None, int | None]
    """Bytes on either side; None: it has no such section."""
    sha256: tuple[str | None, str | None]
    first: int | None = None
    """Offset in the section of the first byte that differs."""
    context: tuple[str, str] = ("", "")
    """What stands there, what is not ASCII as dots."""


class Comparison(Strict):
    """What came of it."""

    names: tuple[str, str]
    """Who made or has them, such as builder names."""
    sha256: tuple[str, str]
    sizes: tuple[int, int]
    """Bytes."""
    findings: list[Finding] = Field(default_factory=list)
    """Empty when they are the same; else from the cause to the symptom."""
    sections: list[SectionRow] = Field(default_factory=list)
    only: tuple[list[str], list[str]] = ([], [])
    """Functions that only one side has, at most 50."""

    @property
    def same(self) -> bool:
        """Whether they are the same bytes."""
        return self.sha256[0] == self.sha256[1]

    def lines(self, most: int = MOST) -> list[str]:
        """Why they differ, for a person."""
        shown = [finding.line() for finding in self.findings[:most]]
        more = len(self.findings) - most
        return [*shown, f"and {more} more in the report"] if more > 0 else shown

    def brief(self) -> str:
        """The first cause, without its remedy; empty when they are the same."""
        if not self.findings:
            return ""
        more = len(self.findings) - 1
        return self.findings[0].text + (f" (and {more} more)" if more else "")


def compare(one: bytes, other: bytes, names: tuple[str, str]) -> Comparison:
    """Compare two binaries.

    Args:
        one: the one that counts as the first: the builder's.
        other: the twin's, or the one that runs on a target.
        names: how a person calls them.

    Raises:
        ArtifactError: one of them is no binary, or damaged; one line, with its name.
    """
    digests = (hashlib.sha256(one).hexdigest(), hashlib.sha256(other).hexdigest())
    base = Comparison(names=names, sha256=digests, sizes=(len(one), len(other)))
    if base.same:
        return base
    infos = (_inspected(one, names[0]), _inspected(other, names[1]))
    parts = (sections(one), sections(other))
    rows = list(_rows((one, other), parts))
    found = [*causes(*infos, names), *_contents((one, other), parts, infos, names)]
    mine, theirs = contents.functions(one, parts[0]), contents.functions(other, parts[1])
    only = (sorted(mine - theirs)[:50], sorted(theirs - mine)[:50])
    found += _symptoms(found, rows, only, (one, other), parts, names)
    return base.model_copy(update={"findings": found, "sections": rows, "only": only})


def compare_files(one: Path, other: Path, names: tuple[str, str]) -> Comparison:
    """The same for files.

    Raises:
        ArtifactError: one cannot be read, is no binary, or is damaged.
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


def _contents(
    data: tuple[bytes, bytes],
    parts: tuple[list[Section], list[Section]],
    infos: tuple[BinaryInfo, BinaryInfo],
    names: tuple[str, str],
) -> Iterator[Finding]:
    """Causes that only the bytes tell."""
    compilers = [contents.compilers(one, part) for one, part in zip(data, parts, strict=True)]
    if compilers[0] != compilers[1]:
        first, second = (" + ".join(words) or "none" for words in compilers)
        yield Finding(
            kind="compiler",
            text=f"C compiler: {names[0]} has {first}, {names[1]} {second}",
            remedy="pin one compiler for both builders",
        )
    for crlf, lf in ((0, 1), (1, 0)):
        lines = contents.line_ends(data[crlf], data[lf])
        if lines:
            yield Finding(
                kind="line ends",
                text=f"an embedded file has CR LF line ends in what {names[crlf]} built and LF in what {names[lf]} "
                f'built: "{lines[0]}"',
                remedy="check out with core.autocrlf=false, or add `* -text` to .gitattributes",
            )
    yield from _paths(data, infos, names)


def _paths(
    data: tuple[bytes, bytes], infos: tuple[BinaryInfo, BinaryInfo], names: tuple[str, str]
) -> Iterator[Finding]:
    found = [contents.paths(one) for one in data]
    trimmed = [info.build is None or info.build.settings.get("-trimpath") == "true" for info in infos]
    if found[0] == found[1] and trimmed[0] == trimmed[1]:
        return
    told = [
        f"{name} has {', '.join(contents.folders(mine - theirs)[:2]) or 'none'}"
        for name, mine, theirs in ((names[0], found[0], found[1]), (names[1], found[1], found[0]))
    ]
    without = [name for name, has in zip(names, trimmed, strict=True) if not has]
    why = f"; {' and '.join(without)} built without -trimpath" if without else ""
    yield Finding(
        kind="path", text=f"paths of the machine: {', '.join(told)}{why}", remedy="build with -trimpath on both"
    )


def _rows(data: tuple[bytes, bytes], parts: tuple[list[Section], list[Section]]) -> Iterator[SectionRow]:
    mine, theirs = ({one.name: one.of(content) for one in part} for content, part in zip(data, parts, strict=True))
    for name in dict.fromkeys([*mine, *theirs]):
        first, second = mine.get(name), theirs.get(name)
        if first == second:
            continue
        at = _first(first or b"", second or b"")
        sizes = tuple(None if one is None else len(one) for one in (first, second))
        digests = tuple(None if one is None else hashlib.sha256(one).hexdigest() for one in (first, second))
        yield SectionRow(
            name=name,
            sizes=(sizes[0], sizes[1]),
            sha256=(digests[0], digests[1]),
            first=at,
            context=(_shown(first or b"", at), _shown(second or b"", at)),
        )


def _first(one: bytes, other: bytes) -> int:
    """Offset of the first byte that differs, by halves: comparing slices is fast, comparing bytes is not."""
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
    found: list[Finding],
    rows: list[SectionRow],
    only: tuple[list[str], list[str]],
    data: tuple[bytes, bytes],
    parts: tuple[list[Section], list[Section]],
    names: tuple[str, str],
) -> Iterator[Finding]:
    """What follows from a cause: told in full only where no cause was found."""
    ids = [contents.build_id(one, part) for one, part in zip(data, parts, strict=True)]
    if ids[0] != ids[1]:
        yield _build_id(ids, rows, found, names)
    if found:
        return
    if not rows:
        at, sizes = _first(*data), f"{names[0]} has {len(data[0])} bytes, {names[1]} {len(data[1])}"
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
    speaking = [row for end in _SPEAKING for row in rows if row.name.endswith(end)]
    for row in (speaking or rows)[:1]:
        count = f"{len(rows)} sections differ" if len(rows) > 1 else "no other section differs"
        yield Finding(
            kind="section",
            text=f"{row.name} differs first at byte {row.first}: {names[0]} has {row.context[0]!r}, "
            f"{names[1]} {row.context[1]!r} ({count})",
            remedy="a stamp (-X), embedded data or generated code that is not the same on both",
        )


def _build_id(ids: list[str], rows: list[SectionRow], found: list[Finding], names: tuple[str, str]) -> Finding:
    alone = {row.name for row in rows} <= {
        ".note.go.buildid",
        ".note.gnu.build-id",
        ".text",
        "__TEXT,__text",
    } and not found
    if not all(ids):
        missing = names[0] if not ids[0] else names[1]
        return Finding(
            kind="build id", text=f"Go's build ID: {missing} has none (-buildid=)", remedy="the same -ldflags for both"
        )
    text = f"Go's build ID: {names[0]} has {ids[0].rpartition('/')[2]}, {names[1]} {ids[1].rpartition('/')[2]}"
    return Finding(
        kind="build id",
        text=f"{text}; the code is the same" if alone else text,
        remedy="the sources differ in bytes that change no code (line ends, comments): link with -ldflags=-buildid="
        if alone
        else "",
    )
