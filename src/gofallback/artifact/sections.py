"""The sections of a binary: where its code, its constants and its tables lie in the file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

from elftools.elf.elffile import ELFFile

from gofallback.artifact import macho, pe
from gofallback.artifact.errors import ArtifactError

_MOST = 10_000


@dataclass(frozen=True)
class Section:
    """One section, as far as it takes room in the file."""

    name: str
    offset: int
    size: int
    """Bytes."""

    def of(self, data: bytes) -> bytes:
        """Its content."""
        return data[self.offset : self.offset + self.size]


def sections(data: bytes) -> list[Section]:
    """The sections of an ELF, PE or Mach-O file, in the order of its table; empty where it has no table.

    Raises:
        ArtifactError: the file is damaged.
    """
    try:
        if data.startswith(b"\x7fELF"):
            return _elf(data)
        if data.startswith(b"MZ"):
            return [Section(*one) for one in pe.parse(data).sections if one[2]]
        if data[:4] in macho.MAGICS:
            return [Section(*one) for one in macho.parse(data).sections if one[2]]
    except struct.error:
        raise ArtifactError(f"is a cut-off binary ({len(data)} bytes); build or copy it again") from None
    return []


def _elf(data: bytes) -> list[Section]:
    try:
        file = ELFFile(BytesIO(data))
        if file.num_sections() > _MOST:
            raise ArtifactError("is a damaged ELF file (too many sections); build or copy it again")
        return [
            Section(one.name, int(one["sh_offset"]), int(one["sh_size"]))
            for one in file.iter_sections()
            if one["sh_type"] not in ("SHT_NULL", "SHT_NOBITS") and one["sh_size"]
        ]
    except ArtifactError:
        raise
    except Exception as error:  # on damaged files pyelftools raises whatever its parsers run into
        raise ArtifactError(f"is a damaged ELF file ({type(error).__name__}); build or copy it again") from None
