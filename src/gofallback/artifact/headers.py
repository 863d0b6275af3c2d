"""What the headers of an ELF, PE or Mach-O file say, in one form."""

from __future__ import annotations

from dataclasses import dataclass

from gofallback.artifact.errors import ArtifactError


@dataclass(frozen=True)
class Headers:
    """The headers of one binary."""

    bits: int
    machine: str
    """Name in the format's own words, such as X86_64."""
    goarch: str
    """Empty for a machine Go does not know."""
    abi: str
    """OS ABI of an ELF file, subsystem of a PE file, platform of a Mach-O file."""
    kind: str
    """Such as executable, position independent, library."""
    stripped: bool
    """Neither symbol table nor DWARF; of PE and Mach-O no DWARF."""
    build_info: tuple[tuple[int, int], ...]
    """(offset, size) of the sections that may hold Go's build info."""
    interpreter: str = ""
    """Dynamic loader (PT_INTERP), or empty."""
    needed: tuple[str, ...] = ()
    """Shared libraries it loads."""
    glibc: str | None = None
    """Highest GLIBC symbol version it needs."""
    glibc_symbols: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(version, symbols that need it), newest first."""
    sections: tuple[tuple[str, int, int], ...] = ()
    """(name, offset, size) of the sections of a PE or Mach-O file."""


def damaged(what: str, why: object) -> ArtifactError:
    """The error about a file with headers that cannot be right."""
    return ArtifactError(f"is a damaged {what} file ({why}); build or copy it again")
