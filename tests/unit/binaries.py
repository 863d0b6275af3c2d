"""Tiny binaries made byte by byte, so that unit tests need no Go: only headers, no code."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"\xff Go " + b"buildinf:"
SETTINGS = {
    "-buildmode": "exe",
    "-compiler": "gc",
    "-trimpath": "true",
    "CGO_ENABLED": "0",
    "GOARCH": "amd64",
    "GOOS": "linux",
    "GOAMD64": "v1",
    "vcs": "git",
    "vcs.revision": "c" * 40,
    "vcs.time": "2026-11-22T03:00:00Z",
    "vcs.modified": "false",
}


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def module_text(settings: dict[str, str] | None = None, extra: str = "") -> str:
    lines = [
        "path\texample.com/hello/cmd/hello",
        "mod\texample.com/hello\tv1.1.0\t",
        "dep\texample.com/dep\tv0.3.0\th1:x=",
    ]
    lines += [f"build\t{key}={value}" for key, value in (SETTINGS if settings is None else settings).items()]
    return "\n".join(lines) + "\n" + extra


def build_info(text: str, version: str = "go1.27.0") -> bytes:
    """The blob of Go 1.18 and later."""
    module = b"\x30\x77\xaf\x0c\x92\x74\x08\x02AAAAAAAA" + text.encode() + b"BBBBBBBB\x00\x82\x42\x10\x41\x16\xd8\xf2"
    head = MAGIC + bytes([8, 2])
    return head.ljust(32, b"\x00") + varint(len(version)) + version.encode() + varint(len(module)) + module


@dataclass
class ElfMaker:
    """An ELF file; every field can be told."""

    machine: int = 62  # x86-64
    bits: int = 64
    little: bool = True
    abi: int = 0
    kind: int = 2
    info: bytes = b""
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    symbols: bool = False
    """A symbol table."""
    sections: tuple[tuple[str, bytes], ...] = ()
    """Further sections: name and content."""

    def _pack(self, narrow: str, wide: str, *values: int) -> bytes:
        return struct.pack(("<" if self.little else ">") + (wide if self.bits == 64 else narrow), *values)

    def _strings(self) -> tuple[bytes, dict[str, int]]:
        table, at = b"\x00", {}
        for name in (*self.needed, *self.versions):
            at[name] = len(table)
            table += name.encode() + b"\x00"
        return table, at

    def _verneed(self, at: dict[str, int]) -> bytes:
        end = "<" if self.little else ">"
        out = struct.pack(end + "HHIII", 1, len(self.versions), at[self.needed[0]], 16, 0)
        for index, name in enumerate(self.versions):
            following = 16 if index + 1 < len(self.versions) else 0
            out += struct.pack(end + "IHHII", 0, 0, index + 2, at[name], following)
        return out

    def bytes(self) -> bytes:
        """The file."""
        strings, at = self._strings()
        dynamic = b"".join(self._pack("II", "QQ", 1, at[name]) for name in self.needed) + self._pack("II", "QQ", 0, 0)
        # (name, type, content, link, info, entry size)
        parts: list[tuple[str, int, bytes, int, int, int]] = []
        if self.needed or self.symbols:
            parts.append((".dynstr", 3, strings, 0, 0, 0))
        if self.needed:
            parts.append((".dynamic", 6, dynamic, 1, 0, self.bits // 4))
        if self.versions:
            parts.append((".gnu.version_r", 0x6FFFFFFE, self._verneed(at), 1, 1, 0))
        if self.interpreter:
            parts.append((".interp", 1, self.interpreter.encode() + b"\x00", 0, 0, 0))
        if self.symbols:
            parts.append((".symtab", 2, b"\x00" * (24 if self.bits == 64 else 16), 1, 0, 24 if self.bits == 64 else 16))
        if self.info:
            parts.append((".go.buildinfo", 1, self.info, 0, 0, 0))
        parts += [(name, 1, content, 0, 0, 0) for name, content in self.sections]
        return self._assemble(parts)

    def _assemble(self, parts: list[tuple[str, int, bytes, int, int, int]]) -> bytes:
        head, program, section = (64, 56, 64) if self.bits == 64 else (52, 32, 40)
        segments = [
            (name, kind) for name, kind in ((".interp", 3), (".dynamic", 2)) if any(p[0] == name for p in parts)
        ]
        names = b"\x00" + b"".join(part[0].encode() + b"\x00" for part in parts) + b".shstrtab\x00"
        parts = [*parts, (".shstrtab", 3, names, 0, 0, 0)]
        at = -(-(head + program * len(segments)) // 16) * 16
        body, where = b"", {}
        for name, _, content, *_ in parts:
            where[name] = (at + len(body), len(content))
            body += content.ljust(-(-len(content) // 16) * 16, b"\x00")  # type: ignore[attr-defined]
        shoff = at + len(body)
        table = b"\x00" * section
        for name, kind, _, link, info, entry in parts:
            offset, size = where[name]
            table += self._pack(
                "IIIIIIIIII", "IIQQQQIIQQ", names.index(name.encode()), kind, 0, 0, offset, size, link, info, 8, entry
            )
        phdrs = b""
        for name, kind in segments:
            offset, size = where[name]
            wide = (kind, 4, offset, 0, 0, size, size, 8)
            narrow = (kind, offset, 0, 0, size, size, 4, 4)
            phdrs += self._pack("IIIIIIII", "IIQQQQQQ", *(wide if self.bits == 64 else narrow))
        ident = b"\x7fELF" + bytes([2 if self.bits == 64 else 1, 1 if self.little else 2, 1, self.abi]) + b"\x00" * 8
        counts = (head, program, len(segments), section, len(parts) + 1, len(parts))
        header = ident + self._pack(
            "HHIIIIIHHHHHH", "HHIQQQIHHHHHH", self.kind, self.machine, 1, 0, head if segments else 0, shoff, 0, *counts
        )
        return (header + phdrs).ljust(at, b"\x00") + body + table


def pe(machine: int = 0x14C, info: bytes = b"", wide: bool = False, dll: bool = False, debug: bool = False) -> bytes:
    """A PE file with one section of data."""
    dos = b"MZ".ljust(0x3C, b"\x00") + struct.pack("<I", 0x40)
    optional = struct.pack("<H", 0x20B if wide else 0x10B).ljust(68, b"\x00") + struct.pack("<H", 3)
    optional = optional.ljust(96, b"\x00")
    sections = [(b".data", info, 0xC0000040)] + ([(b".debug_i", b"x" * 16, 0x42000040)] if debug else [])
    coff = struct.pack("<HHIIIHH", machine, len(sections), 0, 0, 0, len(optional), 0x2000 if dll else 2)
    head = dos + b"PE\x00\x00" + coff + optional
    at = -(-(len(head) + 40 * len(sections)) // 512) * 512
    table = body = b""
    for name, content, flags in sections:
        table += struct.pack("<8sIIII12xI", name, len(content), 0x1000, len(content), at + len(body), flags)
        body += content.ljust(-(-len(content) // 16) * 16, b"\x00")
    return (head + table).ljust(at, b"\x00") + body


def macho(cpu: int = 0x0100000C, info: bytes = b"", platform: int = 1, segment: bytes = b"__DATA") -> bytes:
    """A 64-bit Mach-O file with one segment."""
    library = b"/usr/lib/libSystem.B.dylib\x00".ljust(32, b"\x00")
    load = struct.pack("<IIIIII", 0xC, 24 + len(library), 24, 0, 0, 0) + library
    build = struct.pack("<IIIIII", 0x32, 24, platform, 0, 0, 0)
    size = 32 + 152 + len(load) + len(build)
    at = -(-size // 16) * 16
    section = struct.pack("<16s16sQQIIIIIIII", b"__go_buildinfo", segment, 0, len(info), at, 4, 0, 0, 0, 0, 0, 0)
    one = struct.pack("<II16sQQQQIIII", 0x19, 152, segment, 0, 0, at, len(info), 3, 3, 1, 0) + section
    header = b"\xcf\xfa\xed\xfe" + struct.pack("<IIIIIII", cpu, 0, 2, 3, len(one) + len(load) + len(build), 0, 0)
    return (header + one + load + build).ljust(at, b"\x00") + info
