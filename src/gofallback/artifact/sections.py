"""The sections of a binary: code, constants and tables, with their places in the file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

from elftools.elf.elffile import ELFFile

from gofallback.artifact import macho, pe
from gofallback.artifact.errors import ArtifactError
from gofallback.artifact.headers import damaged

_MOST = 10_000


@dataclass(frozen=True)
class Section:
    """One section with content in the file."""

    name: str
    offset: int
    size: int
    """Bytes."""

    def of(self, data: bytes) -> bytes:
        """Its content."""
        return data[self.offset : self.offset + self.size]


def sections(data: bytes) -> list[Section]:
    """The sections of an ELF, PE or Mach-O file, in the order of its table; empty without a table.

    Raises:
        ArtifactError: the file is damaged.
    """
    try:
        if data.startswith(b"\x7fELF"):
            return _elf(data)
        if data.startswith(b"MZ"):
            return [Section(*fields) for fields in pe.parse(data).sections if fields[2]]
        if data[:4] in macho.MAGICS:
            return [Section(*fields) for fields in macho.parse(data).sections if fields[2]]
    except struct.error:
        raise ArtifactError(f"is a cut-off binary ({len(data)} bytes); build or copy it again") from None
    return []


def _elf(data: bytes) -> list[Section]:
    try:
        file = ELFFile(BytesIO(data))
        if file.num_sections() > _MOST:
            raise damaged("ELF", "too many sections")
        return [
            Section(section.name, int(section["sh_offset"]), int(section["sh_size"]))
            for section in file.iter_sections()
            if section["sh_type"] not in ("SHT_NULL", "SHT_NOBITS") and section["sh_size"]
        ]
    except ArtifactError:
        raise
    except Exception as error:  # on damaged files pyelftools raises any error
        raise damaged("ELF", type(error).__name__) from None
