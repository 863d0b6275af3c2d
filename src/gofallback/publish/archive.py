"""Archives whose bytes depend on their contents only: not on clock, user, or order of a folder.

Equal contents give equal bytes on every machine with the same zlib.
"""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from gofallback.controller.store import Stored

Format = Literal["tar.gz", "zip"]
#: The earliest time in a zip archive (APPNOTE.TXT, 4.4.6: years since 1980).
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_OWNER = "root"


@dataclass(frozen=True)
class Entry:
    """One file of an archive."""

    name: str
    """With ``/``, beginning with the archive's folder."""
    path: Path
    mode: int = 0o644


def pack(stored: Stored, files: Sequence[Path], work: Path, stem: str) -> Path:
    """``<stem>.tar.gz``, for windows ``<stem>.zip``: the artifact's files in a folder, the binary executable.

    The folder has a name such as ``hello-v1.2.0-linux-amd64``, since ``<stem>`` is the name of the binary beside the
    archive. ``gofallback verify`` reads it.
    """
    spec = stored.manifest.spec
    folder = f"{spec.binary}-{spec.version}-{spec.goos}-{spec.goarch}"
    entries = [Entry(f"{folder}/{path.name}", path, 0o755 if path == stored.path else 0o644) for path in files]
    kind = default_format(spec.goos)
    return write(kind, entries, work / f"{stem}.{kind}")


def default_format(goos: str) -> Format:
    """The format that a system unpacks without further programs."""
    return "zip" if goos == "windows" else "tar.gz"


def write(kind: Format, entries: Sequence[Entry], target: Path, *, when: datetime | None = None) -> Path:
    """Make one archive.

    Args:
        kind: its format.
        entries: in any order.
        target: the file.
        when: the time of every file in it; None: the earliest time of the format.
    """
    ordered = sorted(entries, key=lambda entry: entry.name)
    (_zip if kind == "zip" else _tar)(ordered, target, when)
    return target


def _tar(entries: Sequence[Entry], target: Path, when: datetime | None) -> None:
    # By default GzipFile writes name and time of the packed file (RFC 1952, 2.3).
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=9, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.size, info.mode = entry.path.stat().st_size, entry.mode
            if when is not None:
                info.mtime, info.uname, info.gname = int(when.timestamp()), _OWNER, _OWNER
            with entry.path.open("rb") as file:
                archive.addfile(info, file)


def _zip(entries: Sequence[Entry], target: Path, when: datetime | None) -> None:
    moment = max(when.astimezone(UTC).timetuple()[:6], _ZIP_EPOCH) if when else _ZIP_EPOCH
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.name, moment[:6])
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3  # Unix: the mode counts
            info.external_attr = (0o100000 | entry.mode) << 16
            info.file_size = entry.path.stat().st_size
            with entry.path.open("rb") as file, archive.open(info, "w") as member:
                shutil.copyfileobj(file, member, 1 << 20)
