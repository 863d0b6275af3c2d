"""The description of a binary: format, architecture, linking, and Go's build info. Reads the file, runs nothing."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Literal

from gofallback.artifact import buildinfo, macho, pe
from gofallback.artifact.buildinfo import BuildInfo
from gofallback.artifact.errors import ArtifactError
from gofallback.artifact.headers import Headers
from gofallback.model.base import Strict

__all__ = ["ArtifactError", "BinaryInfo", "inspect", "inspect_bytes"]

Format = Literal["ELF", "PE", "Mach-O"]

#: Bytes of the largest file that is read.
LARGEST = 2 << 30


class BinaryInfo(Strict):
    """One binary. `gofallback.artifact.headers` explains the fields of its headers."""

    format: Format
    sha256: str
    size: int
    """Bytes."""
    bits: Literal[32, 64]
    machine: str
    goarch: str
    abi: str
    kind: str
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    glibc: str | None = None
    glibc_symbols: tuple[tuple[str, tuple[str, ...]], ...] = ()
    stripped: bool = False
    build: BuildInfo | None = None
    """Go's build info; None for a binary that Go 1.18 or later did not build."""

    @property
    def static(self) -> bool:
        """It needs neither a loader nor a shared library."""
        return not self.interpreter and not self.needed


def inspect(path: Path) -> BinaryInfo:
    """Describe a binary file.

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
    """Describe a binary by its content.

    Raises:
        ArtifactError: one line, without a file name.
    """
    format_, headers = _headers(data)
    return BinaryInfo(
        format=format_,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        bits=64 if headers.bits == 64 else 32,
        machine=headers.machine,
        goarch=headers.goarch,
        abi=headers.abi,
        kind=headers.kind,
        interpreter=headers.interpreter,
        needed=headers.needed,
        glibc=headers.glibc,
        glibc_symbols=headers.glibc_symbols,
        stripped=headers.stripped,
        build=buildinfo.find(data, headers.build_info),
    )


def _headers(data: bytes) -> tuple[Format, Headers]:
    if data.startswith(b"\x7fELF"):
        from gofallback.artifact import elf  # here: pyelftools is slow to import, and most runs inspect no binary

        return "ELF", elf.parse(data)
    try:
        if data.startswith(b"MZ"):
            return "PE", pe.parse(data)
        if data[:4] in macho.MAGICS:
            return "Mach-O", macho.parse(data)
    except struct.error:
        raise ArtifactError(f"is a cut-off binary ({len(data)} bytes); build or copy it again") from None
    raise ArtifactError(f"is not a binary (ELF, PE or Mach-O): {_looks_like(data)}")


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
