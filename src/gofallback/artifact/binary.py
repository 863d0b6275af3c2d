"""What a binary is: format, architecture, how it is linked, and what Go says about the build. Runs nothing."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Literal, TypedDict

from gofallback.artifact import buildinfo, macho, pe
from gofallback.artifact.buildinfo import BuildInfo
from gofallback.artifact.errors import ArtifactError
from gofallback.model.base import Strict

__all__ = ["ArtifactError", "BinaryInfo", "inspect", "inspect_bytes"]

Format = Literal["ELF", "PE", "Mach-O"]

#: Largest file that is read, in bytes.
LARGEST = 2 << 30


class BinaryInfo(Strict):
    """One binary, as its bytes describe it."""

    format: Format
    sha256: str
    size: int
    """Bytes."""
    bits: Literal[32, 64]
    machine: str
    """Name in the format's own words, such as X86_64."""
    goarch: str
    """Empty for a machine Go does not know."""
    abi: str
    """OS ABI of an ELF file, subsystem of a PE file, platform of a Mach-O file."""
    kind: str
    """Such as executable, position independent, library."""
    interpreter: str = ""
    """Dynamic loader (PT_INTERP), or empty."""
    needed: tuple[str, ...] = ()
    """Shared libraries it asks for."""
    glibc: str | None = None
    """Highest GLIBC symbol version it needs."""
    glibc_symbols: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(version, symbols that need it), newest first."""
    stripped: bool = False
    """Neither symbol table nor DWARF."""
    build: BuildInfo | None = None
    """Go's own build info; None for what Go 1.18 or later did not build."""

    @property
    def static(self) -> bool:
        """Neither a loader nor a shared library is needed."""
        return not self.interpreter and not self.needed


def inspect(path: Path) -> BinaryInfo:
    """Read a file and say what it is.

    Raises:
        ArtifactError: one line; not readable, not a binary, or damaged.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ArtifactError(f"{path}: is larger than {LARGEST >> 30} GiB; a Go binary should not be")
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # a NUL byte in the name
        raise ArtifactError(f"{str(path)!r}: cannot be read ({error})") from None
    try:
        return inspect_bytes(data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None


def inspect_bytes(data: bytes) -> BinaryInfo:
    """The same for a file's content.

    Raises:
        ArtifactError: one line, without a file name.
    """
    if data.startswith(b"\x7fELF"):
        return _elf(data)
    try:
        if data.startswith(b"MZ"):
            return _pe(data)
        if data[:4] in macho.MAGICS:
            return _macho(data)
    except struct.error:
        raise ArtifactError(f"is a cut-off binary ({len(data)} bytes); build or copy it again") from None
    raise ArtifactError(f"is not a binary (ELF, PE or Mach-O): {_looks_like(data)}")


def _elf(data: bytes) -> BinaryInfo:
    from gofallback.artifact import elf  # not above: pyelftools is slow to import, and most runs look at no binary

    found = elf.parse(data)
    return BinaryInfo(
        format="ELF",
        **_digest(data),
        bits=64 if found.bits == 64 else 32,
        machine=found.machine,
        goarch=found.goarch,
        abi=found.abi,
        kind=found.kind,
        interpreter=found.interpreter,
        needed=found.needed,
        glibc=found.glibc,
        glibc_symbols=found.glibc_symbols,
        stripped=found.stripped,
        build=buildinfo.find(data, found.build_info),
    )


def _pe(data: bytes) -> BinaryInfo:
    found = pe.parse(data)
    return BinaryInfo(
        format="PE",
        **_digest(data),
        bits=64 if found.bits == 64 else 32,
        machine=found.machine,
        goarch=found.goarch,
        abi=found.subsystem,
        kind=found.kind,
        stripped=found.stripped,
        build=buildinfo.find(data, found.data_sections),
    )


def _macho(data: bytes) -> BinaryInfo:
    found = macho.parse(data)
    return BinaryInfo(
        format="Mach-O",
        **_digest(data),
        bits=64 if found.bits == 64 else 32,
        machine=found.machine,
        goarch=found.goarch,
        abi=found.platform,
        kind=found.kind,
        needed=found.needed,
        stripped=found.stripped,
        build=buildinfo.find(data, found.build_info),
    )


class _Digest(TypedDict):
    sha256: str
    size: int


def _digest(data: bytes) -> _Digest:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _looks_like(data: bytes) -> str:
    if not data:
        return "the file is empty"
    if data.startswith(b"#!"):
        return "it is a script"
    if data.startswith(b"PK"):
        return "it is a zip archive; unpack it first"
    if data.startswith(b"\x1f\x8b"):
        return "it is a gzip archive; unpack it first"
    if data.startswith(b"!<arch>"):
        return "it is an archive of object files, so the package is not a main package: correct build.package"
    if data.startswith(b"\xca\xfe\xba\xbe"):
        return "it is a universal Mach-O file, which Go does not write"
    return f"it begins with {data[:8].hex(' ')}"
