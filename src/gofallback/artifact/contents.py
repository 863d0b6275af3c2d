"""The parts of a binary's bytes that explain differences of two builds: line ends, paths, functions, build IDs.

No symbols are needed: Go's linker leaves names of functions and files in every binary (the pclntab).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from gofallback.artifact.sections import Section

#: Bytes before a line end that are searched in the other binary. The linker puts strings side by side: more bytes
#: would often include the neighbouring string.
_ANCHOR = 10
_MOST_LINES = 5
_MOST_TRIES = 20_000
_FILE = re.compile(rb"(?<=\x00)((?:[A-Za-z]:[/\\]|/)[\x20-\x7e]{2,250}?\.(?:go|s|c|h|cc|cpp))(?=\x00)")
_FUNCTION = re.compile(rb"(?<=\x00)([A-Za-z_][\x21-\x7e]{0,250}\.[\x21-\x7e\x80-\xff]{1,250})(?=\x00)")
_GO_ID = re.compile(rb'\xff Go build ID: "([\x20-\x7e]{0,400}?)"\n \xff')
_NOTE_ID = re.compile(rb"\x04\x00\x00\x00(....)\x04\x00\x00\x00Go\x00\x00", re.DOTALL)


def line_ends(crlf: bytes, lf: bytes) -> list[str]:
    """Lines with CR LF in one binary and LF in the other: an embedded file of a checkout with CRLF.

    Args:
        crlf: the binary that may have CR LF.
        lf: the other one.

    Returns:
        The last words of each such line, at most five.
    """
    ends: list[str] = []
    for number, hit in enumerate(re.finditer(rb"[^\r\n\x00]{%d}\r\n" % _ANCHOR, crlf)):
        if number >= _MOST_TRIES or len(ends) >= _MOST_LINES:
            break
        line = hit.group()[:-2]
        if not _is_text(line) or line + b"\r\n" in lf or line + b"\n" in crlf:
            continue
        at = lf.find(line + b"\n")
        if at >= 0:
            ends.append(_common_end(crlf[: hit.end() - 2], lf[: at + len(line)]))
    return ends


def _is_text(line: bytes) -> bool:
    try:
        return line.decode("utf-8", "strict").isprintable()
    except UnicodeDecodeError:
        return False


def _common_end(one: bytes, other: bytes, most: int = 48) -> str:
    size = 0
    while size < most and one[-size - 1] == other[-size - 1] and 0x20 <= one[-size - 1] < 0x7F:
        size += 1
    return one[len(one) - max(size, 1) :].decode("utf-8", "replace").strip()


def paths(data: bytes) -> frozenset[str]:
    """Absolute paths of source files; a build with -trimpath has none."""
    return frozenset(hit[1].decode("utf-8", "replace").replace("\\", "/") for hit in _FILE.finditer(data))


def folders(files: Iterable[str]) -> list[str]:
    """Folders of source files: GOROOT, and the common folder of all others."""
    files = sorted(files)
    roots = {name.split("/src/runtime/")[0] for name in files if "/src/runtime/" in name}
    others = [name for name in files if not any(name.startswith(f"{root}/") for root in roots)]
    tops = sorted(roots)
    try:
        tops += [posixpath.commonpath([posixpath.dirname(name) for name in others])] if others else []
    except ValueError:  # on two drives
        tops += [posixpath.dirname(others[0])]
    return [top or "/" for top in tops]


def functions(data: bytes, parts: Iterable[Section]) -> frozenset[str]:
    """Names of Go functions in the pclntab, with inlined ones."""
    tables = [part for part in parts if part.name.endswith(("gopclntab", ".rdata"))]
    names = (hit[1] for table in tables for hit in _FUNCTION.finditer(table.of(data)))
    return frozenset(
        name.decode("utf-8", "replace") for name in names if not name.endswith((b".go", b".s", b".c", b".h"))
    )


def build_id(data: bytes, parts: Iterable[Section]) -> str:
    """Go's build ID; empty after ``-ldflags=-buildid=``."""
    for part in parts:
        if part.name == ".note.go.buildid":
            note = part.of(data)
            found = _NOTE_ID.match(note)
            size = int.from_bytes(found[1], "little") if found else 0
            return note[16 : 16 + size].decode("ascii", "replace")
    found = _GO_ID.search(data)
    return found[1].decode("ascii", "replace") if found else ""


def compilers(data: bytes, parts: Iterable[Section]) -> tuple[str, ...]:
    """Names that C compilers and linkers left (`.comment`); empty without cgo."""
    words = {word for part in parts if part.name == ".comment" for word in part.of(data).split(b"\x00") if word}
    return tuple(sorted(word.decode("utf-8", "replace") for word in words))
