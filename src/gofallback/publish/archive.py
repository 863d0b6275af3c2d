"""Archives whose bytes depend on what is in them only: no clock, no user, no order of a folder."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from gofallback.controller.store import Stored

#: The earliest moment that a zip archive can hold (APPNOTE.TXT, 4.4.6: years since 1980).
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(one: Stored, files: Sequence[Path], work: Path, stem: str) -> Path:
    """``<stem>.tar.gz``, for windows ``<stem>.zip``: the artifact's files in a folder, the binary executable.

    The folder is named like ``hello-v1.2.0-linux-amd64``: ``<stem>`` itself is the name of the binary beside the
    archive. ``gofallback verify`` understands it. Equal for equal contents on every machine with the same zlib.
    """
    spec = one.manifest.spec
    folder = f"{spec.binary}-{spec.version}-{spec.goos}-{spec.goarch}"
    entries = [(f"{folder}/{path.name}", path, 0o755 if path == one.path else 0o644) for path in sorted(files)]
    if one.manifest.spec.goos == "windows":
        return _zip(entries, work / f"{stem}.zip")
    return _tar(entries, work / f"{stem}.tar.gz")


def _tar(entries: Sequence[tuple[str, Path, int]], target: Path) -> Path:
    # GzipFile writes the name and the time of what it packs unless told otherwise (RFC 1952, 2.3).
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=9, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, path, mode in entries:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, mode
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return target


def _zip(entries: Sequence[tuple[str, Path, int]], target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path, mode in entries:
            entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3  # Unix: the mode counts
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, path.read_bytes())
    return target
