"""The headers of PE files, which are Windows binaries (learn.microsoft.com/windows/win32/debug/pe-format)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gofallback.artifact.errors import ArtifactError
from gofallback.artifact.headers import Headers

_MACHINES: dict[int, tuple[str, str]] = {
    0x014C: ("I386", "386"),
    0x8664: ("AMD64", "amd64"),
    0xAA64: ("ARM64", "arm64"),
    0x01C4: ("ARMNT", "arm"),
}
_SUBSYSTEMS: dict[int, str] = {1: "native", 2: "Windows GUI", 3: "Windows console", 9: "Windows CE", 10: "EFI"}
_MOST_SECTIONS = 96  # the loader's own limit
_DLL = 0x2000
_INITIALIZED_DATA_READ_WRITE = 0x40 | 0x40000000 | 0x80000000


def parse(data: bytes) -> Headers:
    """The headers of a PE file.

    Raises:
        ArtifactError: a DOS program, or damaged.
        struct.error: cut off.
    """
    (at,) = struct.unpack_from("<I", data, 0x3C)
    if data[at : at + 4] != b"PE\x00\x00":
        raise ArtifactError("is a DOS program or a damaged PE file; build or copy it again")
    machine, count, _, symbols, symbol_count, optional_size, flags = struct.unpack_from("<HHIIIHH", data, at + 4)
    optional = at + 24
    (magic,) = struct.unpack_from("<H", data, optional)
    (subsystem,) = struct.unpack_from("<H", data, optional + 68)
    if magic not in (0x10B, 0x20B) or count > _MOST_SECTIONS:
        raise ArtifactError("is a damaged PE file; build or copy it again")
    name, goarch = _MACHINES.get(machine, (f"machine {machine:#06x}", ""))
    sections = _sections(data, optional + optional_size, count)
    return Headers(
        bits=64 if magic == 0x20B else 32,
        machine=name,
        goarch=goarch,
        abi=_SUBSYSTEMS.get(subsystem, f"subsystem {subsystem}"),
        kind="library" if flags & _DLL else "executable",
        stripped=not _has_debug(data, sections, symbols, symbol_count),
        build_info=tuple((s.offset, s.size) for s in sections if s.flags & 0xC0000040 == _INITIALIZED_DATA_READ_WRITE),
        sections=tuple((_name(data, s, symbols + 18 * symbol_count), s.offset, s.size) for s in sections),
    )


@dataclass(frozen=True)
class _Section:
    name: bytes
    offset: int
    size: int
    flags: int


def _sections(data: bytes, at: int, count: int) -> list[_Section]:
    sections = []
    for index in range(count):
        name, _, _, size, offset, flags = struct.unpack_from("<8sIIII12xI", data, at + 40 * index)
        if offset + size > len(data) and size:
            raise ArtifactError(
                f"is a cut-off PE file: {len(data)} bytes, a section reaches to {offset + size}; copy it again"
            )
        sections.append(_Section(name, offset, size, flags))
    return sections


def _name(data: bytes, section: _Section, strings: int) -> str:
    """The name; long ones are in the string table behind the symbols ("/4")."""
    name = section.name.rstrip(b"\x00")
    if name.startswith(b"/") and name[1:].isdigit():
        start = strings + int(name[1:])
        name = data[start : data.find(b"\x00", start)]
    return name.decode("utf-8", "replace")


def _has_debug(data: bytes, sections: list[_Section], symbols: int, symbol_count: int) -> bool:
    """DWARF sections have long names."""
    names = (_name(data, section, symbols + 18 * symbol_count) for section in sections)
    return any(name.startswith((".debug", ".zdebug")) for name in names)
