"""The headers of ELF files, as the loader of a target reads them (elf(5)), by pyelftools."""

from __future__ import annotations

from io import BytesIO
from itertools import islice
from typing import Any

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection, GNUVerSymSection

from gofallback.artifact import glibc
from gofallback.artifact.errors import ArtifactError
from gofallback.artifact.headers import Headers, damaged

#: More than real programs have; a damaged count would keep the parser busy for hours.
_MOST_HEADERS = 10_000
_MOST_VERSIONS = 1_000
_MOST_SYMBOLS = 100_000

#: e_machine, class, little endian -> GOARCH (cmd/link/internal/ld/elf.go).
_GOARCH: dict[tuple[str, int, bool], str] = {
    ("EM_386", 32, True): "386",
    ("EM_X86_64", 64, True): "amd64",
    ("EM_ARM", 32, True): "arm",
    ("EM_AARCH64", 64, True): "arm64",
    ("EM_LOONGARCH", 64, True): "loong64",
    ("EM_MIPS", 32, False): "mips",
    ("EM_MIPS", 32, True): "mipsle",
    ("EM_MIPS", 64, False): "mips64",
    ("EM_MIPS", 64, True): "mips64le",
    ("EM_PPC64", 64, False): "ppc64",
    ("EM_PPC64", 64, True): "ppc64le",
    ("EM_RISCV", 64, True): "riscv64",
    ("EM_S390", 64, False): "s390x",
}

_ABI: dict[str, str] = {
    "ELFOSABI_SYSV": "System V",
    "ELFOSABI_LINUX": "Linux",
    "ELFOSABI_FREEBSD": "FreeBSD",
    "ELFOSABI_NETBSD": "NetBSD",
    "ELFOSABI_OPENBSD": "OpenBSD",
    "ELFOSABI_SOLARIS": "Solaris",
}

_KINDS: dict[str, str] = {
    "ET_EXEC": "executable",
    "ET_DYN": "position independent",
    "ET_REL": "object file",
    "ET_CORE": "core dump",
}


def parse(data: bytes) -> Headers:
    """The headers of an ELF file.

    Raises:
        ArtifactError: damaged or cut off.
    """
    try:
        return _parse(data)
    except ArtifactError:
        raise
    except Exception as error:  # on damaged files pyelftools raises any error
        raise damaged("ELF", type(error).__name__) from None


def _parse(data: bytes) -> Headers:
    file = ELFFile(BytesIO(data))
    if max(file.num_segments(), file.num_sections()) > _MOST_HEADERS:
        raise damaged("ELF", "too many headers")
    header = file.header
    _require_complete(data, header, file)
    machine, little, bits = str(header["e_machine"]), bool(file.little_endian), int(file.elfclass)
    interpreter, needed = _dynamic(file)
    sections = list(file.iter_sections())
    names = {section.name for section in sections}
    linked = bool(interpreter or needed)
    return Headers(
        bits=bits,
        machine=machine.removeprefix("EM_"),
        goarch=_GOARCH.get((machine, bits, little), ""),
        abi=_ABI.get(str(header["e_ident"]["EI_OSABI"]), str(header["e_ident"]["EI_OSABI"])),
        kind=_KINDS.get(str(header["e_type"]), str(header["e_type"])),
        interpreter=interpreter,
        needed=needed,
        glibc=_glibc(sections, data) if linked else None,
        glibc_symbols=_glibc_symbols(sections) if linked else (),
        stripped=not names & {".symtab", ".debug_info", ".zdebug_info"},
        build_info=_ranges(file, sections),
    )


def _require_complete(data: bytes, header: Any, file: Any) -> None:
    """Refuse a file cut off in transfer: its headers are good (Go's linker puts both tables at the start)."""
    tables = (("e_phoff", "e_phentsize", "e_phnum"), ("e_shoff", "e_shentsize", "e_shnum"))
    ends = [header[offset] + header[size] * header[count] for offset, size, count in tables]
    if max(ends) <= len(data):
        ends += [segment["p_offset"] + segment["p_filesz"] for segment in file.iter_segments()]
    if max(ends) > len(data):
        raise ArtifactError(f"is a cut-off ELF file: {len(data)} bytes, its headers say {max(ends)}; copy it again")


def _dynamic(file: Any) -> tuple[str, tuple[str, ...]]:
    interpreter, needed = "", []
    for segment in file.iter_segments():
        if segment["p_type"] == "PT_INTERP":
            interpreter = segment.data().rstrip(b"\x00").decode("utf-8", "replace")
        elif isinstance(segment, DynamicSegment):
            tags: list[Any] = list(segment.iter_tags("DT_NEEDED"))
            needed += [str(tag.needed) for tag in tags]
    return interpreter, tuple(needed)


def _glibc(sections: list[Any], data: bytes) -> str | None:
    versions = [section for section in sections if isinstance(section, GNUVerNeedSection)]
    if not versions:
        return None if sections else glibc.highest_in(data)
    # The counts come from the file: without a limit a damaged count would keep this loop busy for hours.
    needs = (need for section in versions for need in islice(section.iter_versions(), _MOST_VERSIONS))
    return glibc.highest(str(aux.name) for _, names in needs for aux in islice(names, _MOST_VERSIONS))


def _glibc_symbols(sections: list[Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Symbols by the version they need: .gnu.version numbers each of .dynsym, .gnu.version_r names the numbers."""
    numbered = next((section for section in sections if isinstance(section, GNUVerSymSection)), None)
    needed = [section for section in sections if isinstance(section, GNUVerNeedSection)]
    if numbered is None or not needed:
        return ()
    names: dict[int, str] = {}
    for section in needed:
        for _, versions in islice(section.iter_versions(), _MOST_VERSIONS):
            names |= {int(aux["vna_other"]): str(aux.name) for aux in islice(versions, _MOST_VERSIONS)}
    found: dict[str, set[str]] = {}
    for symbol in islice(numbered.iter_symbols(), _MOST_SYMBOLS):
        version = names.get(symbol["ndx"]) if isinstance(symbol["ndx"], int) else None
        if version and glibc.highest([version]):
            found.setdefault(version.removeprefix("GLIBC_"), set()).add(str(symbol.name))
    newest = sorted(found, key=glibc.version_tuple, reverse=True)
    return tuple((version, tuple(sorted(found[version]))) for version in newest)


def _ranges(file: Any, sections: list[Any]) -> tuple[tuple[int, int], ...]:
    named = [(int(s["sh_offset"]), int(s["sh_size"])) for s in sections if s.name == ".go.buildinfo"]
    writable = [
        (int(segment["p_offset"]), int(segment["p_filesz"]))
        for segment in file.iter_segments()
        if segment["p_type"] == "PT_LOAD" and segment["p_flags"] & 3 == 2
    ]
    return (*named, *writable[:1])
