"""The header and load commands of Mach-O files, which are macOS binaries (mach-o/loader.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from gofallback.artifact.errors import ArtifactError
from gofallback.artifact.headers import Headers, damaged

MAGICS = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe")
_CPUS: dict[int, tuple[str, str]] = {
    0x01000007: ("X86_64", "amd64"),
    0x0100000C: ("ARM64", "arm64"),
    7: ("I386", "386"),
    12: ("ARM", "arm"),
}
_KINDS: dict[int, str] = {2: "executable", 6: "library", 8: "bundle", 1: "object file"}
_PLATFORMS: dict[int, str] = {1: "macOS", 2: "iOS", 7: "iOS simulator"}
_MOST_COMMANDS = 1000
_LC_SEGMENT, _LC_SEGMENT_64, _LC_BUILD_VERSION, _LC_VERSION_MIN_IOS, _LC_SYMTAB = 0x1, 0x19, 0x32, 0x25, 0x2
_LC_LOAD_DYLIB = (0xC, 0x80000018, 0x8000001F)


@dataclass
class _Commands:
    """What the load commands say."""

    platform: str = "macOS"
    libraries: list[str] = field(default_factory=list)
    build_info: list[tuple[int, int]] = field(default_factory=list)
    """(offset, size) of ``__go_buildinfo``."""
    dwarf: bool = False
    sections: list[tuple[str, int, int]] = field(default_factory=list)
    """(segment and name, offset, size) of sections with content in the file."""


def parse(data: bytes) -> Headers:
    """The headers of a Mach-O file.

    Raises:
        ArtifactError: damaged.
        struct.error: cut off.
    """
    wide = data[:4] == MAGICS[0]
    cpu, _, kind, commands, _ = struct.unpack_from("<IIIII", data, 4)
    if commands > _MOST_COMMANDS:
        raise damaged("Mach-O", "too many load commands")
    name, goarch = _CPUS.get(cpu, (f"cpu {cpu:#x}", ""))
    found = _Commands()
    at = 32 if wide else 28
    for _ in range(commands):
        command, size = struct.unpack_from("<II", data, at)
        if size < 8:
            raise damaged("Mach-O", "empty load command")
        _command(found, data, at, command, size)
        at += size
    return Headers(
        bits=64 if wide else 32,
        machine=name,
        goarch=goarch,
        abi=found.platform,
        kind=_KINDS.get(kind, f"type {kind}"),
        stripped=not found.dwarf,  # the symbol table stays, as the loader needs it
        build_info=tuple(found.build_info),
        needed=tuple(found.libraries),
        sections=tuple(found.sections),
    )


def _command(found: _Commands, data: bytes, at: int, command: int, size: int) -> None:
    if command == _LC_BUILD_VERSION:
        (platform,) = struct.unpack_from("<I", data, at + 8)
        found.platform = _PLATFORMS.get(platform, f"platform {platform}")
    elif command == _LC_VERSION_MIN_IOS:
        found.platform = "iOS"
    elif command in _LC_LOAD_DYLIB:
        (offset,) = struct.unpack_from("<I", data, at + 8)
        found.libraries.append(data[at + offset : at + size].split(b"\x00")[0].decode("utf-8", "replace"))
    elif command in (_LC_SEGMENT, _LC_SEGMENT_64):
        _segment(found, data, at, wide=command == _LC_SEGMENT_64)


def _segment(found: _Commands, data: bytes, at: int, *, wide: bool) -> None:
    segment = data[at + 8 : at + 24].rstrip(b"\x00")
    offset, filesize = struct.unpack_from("<QQ" if wide else "<II", data, at + (40 if wide else 32))
    if filesize and offset + filesize > len(data):
        raise ArtifactError(
            f"is a cut-off Mach-O file: {len(data)} bytes, a segment reaches to {offset + filesize}; copy it again"
        )
    (count,) = struct.unpack_from("<I", data, at + (64 if wide else 48))
    if segment == b"__DWARF":
        found.dwarf = True
    for index in range(min(count, 256)):
        section = at + ((72 + 80 * index) if wide else (56 + 68 * index))
        name = data[section : section + 16].rstrip(b"\x00")
        if wide:
            length, start = struct.unpack_from("<QI", data, section + 40)
        else:
            length, start = struct.unpack_from("<II", data, section + 36)
        if name == b"__go_buildinfo":
            found.build_info.append((start, length))
        if start:
            found.sections.append((b",".join((segment, name)).decode("utf-8", "replace"), start, length))
