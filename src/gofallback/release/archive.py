"""The tar of a release that is sent to a target, generated while it is read. Pure."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from gofallback.release.upload import Program, Upload

#: Bytes.
CHUNK = 1 << 18
_BLOCK = 512


def archive(upload: Upload) -> Iterator[bytes]:
    """The tar that `receive_script` unpacks, in chunks. Programs are read while they are sent, never held in memory."""
    for header, size, content in _members(upload):
        yield header
        yield from _read(content, size) if isinstance(content, Path) else [content]
        yield bytes(-size % _BLOCK)
    yield bytes(2 * _BLOCK)


def archive_size(upload: Upload) -> int:
    """Size of `archive` in bytes."""
    return sum(len(header) + size + -size % _BLOCK for header, size, _ in _members(upload)) + 2 * _BLOCK


def _members(upload: Upload) -> Iterator[tuple[bytes, int, bytes | Path]]:
    """Header, size and content of every member."""
    parts = (*upload.programs, *upload.extra_files)
    programs = {program.path: program for program in parts if not program.copies and not program.fetched}
    files = {path: file.content for path, file in upload.files.files.items()}
    files |= {"manifest.json": upload.manifest, **upload.metadata}
    paths = [*files, *(extra.path for extra in upload.extra_files)]
    folders = {str(parent) for path in paths for parent in Path(path).parents if str(parent) != "."}
    for folder in sorted(folders | {"bin", "lib", "conf", ".verify"}):
        yield _header(folder, 0o755, kind=tarfile.DIRTYPE), 0, b""
    modes = {path: file.mode for path, file in upload.files.files.items()}
    for path, content in sorted(files.items()):
        yield _header(path, modes.get(path, 0o644), len(content)), len(content), content
    for name, content in units_to_verify(upload).items():
        yield _header(f".verify/{name}", 0o644, len(content)), len(content), content
    for name, content in _extra_lists(upload.extra_files).items():
        yield _header(f".extras/{name}", 0o600, len(content)), len(content), content
    for path, program in sorted(programs.items()):
        yield _header(path, program.mode, program.size), program.size, program.local


def _read(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while size and (chunk := file.read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk
    if size:  # the file shrank while it was read: the hash check on the target fails
        yield bytes(size)


def _extra_lists(extra_files: tuple[Program, ...]) -> dict[str, bytes]:
    """The lists that `_EXTRA_FILES` of the upload script reads: copies on the target, and the hash of each file."""
    if not extra_files:
        return {}
    have = [f"{extra.mode:o}\t{extra.path}\t{copy}\n" for extra in extra_files for copy in extra.copies]
    sums = [f"{extra.sha256}  {extra.path}\n" for extra in extra_files]
    return {"have": "".join(have).encode(), "sums": "".join(sums).encode()}


def units_to_verify(upload: Upload) -> dict[str, bytes]:
    """The units for `systemd-analyze verify`, which needs programs that exist: those in the upload's folder."""
    current, temporary = f"{upload.files.home}/current/".encode(), f"{upload.temporary}/".encode()
    return {name: file.content.replace(current, temporary) for name, file in upload.files.units.items()}


def _header(name: str, mode: int, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.mode, info.size, info.type, info.uname, info.gname = mode, size, kind, "root", "root"
    return info.tobuf(tarfile.GNU_FORMAT)
