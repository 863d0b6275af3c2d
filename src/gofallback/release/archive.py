"""The tar that brings a release to a target, made as it is read. Pure."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from gofallback.release.upload import Program, Upload

#: Bytes.
CHUNK = 1 << 18
_BLOCK = 512


def archive(upload: Upload) -> Iterator[bytes]:
    """The tar that `receive` reads, in pieces; a program is read as it is sent, never held whole."""
    for header, size, content in _members(upload):
        yield header
        yield from _read(content, size) if isinstance(content, Path) else [content]
        yield bytes(-size % _BLOCK)
    yield bytes(2 * _BLOCK)


def archive_size(upload: Upload) -> int:
    """Bytes of `archive`."""
    return sum(len(header) + size + -size % _BLOCK for header, size, _ in _members(upload)) + 2 * _BLOCK


def _members(upload: Upload) -> Iterator[tuple[bytes, int, bytes | Path]]:
    """Header, bytes and content of every member."""
    parts = (*upload.programs, *upload.extras)
    programs = {program.path: program for program in parts if not program.have and not program.fetched}
    files = {path: file.content for path, file in upload.files.files.items()}
    files |= {"manifest.json": upload.manifest, **upload.beside}
    paths = [*files, *(extra.path for extra in upload.extras)]
    folders = {str(parent) for path in paths for parent in Path(path).parents if str(parent) != "."}
    for folder in sorted(folders | {"bin", "lib", "conf", ".verify"}):
        yield _header(folder, 0o755, kind=tarfile.DIRTYPE), 0, b""
    modes = {path: file.mode for path, file in upload.files.files.items()}
    for path, content in sorted(files.items()):
        yield _header(path, modes.get(path, 0o644), len(content)), len(content), content
    for name, content in verifiable(upload).items():
        yield _header(f".verify/{name}", 0o644, len(content)), len(content), content
    for name, content in _lists(upload.extras).items():
        yield _header(f".extras/{name}", 0o600, len(content)), len(content), content
    for path, program in sorted(programs.items()):
        yield _header(path, program.mode, program.size), program.size, program.local


def _read(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while size and (chunk := file.read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk
    if size:  # it shrank while it was read: the hash check on the target will say so
        yield bytes(size)


def _lists(extras: tuple[Program, ...]) -> dict[str, bytes]:
    """What `_EXTRAS` reads: which file is where on the target, and what each must be."""
    if not extras:
        return {}
    have = [f"{extra.mode:o}\t{extra.path}\t{place}\n" for extra in extras for place in extra.have]
    sums = [f"{extra.sha256}  {extra.path}\n" for extra in extras]
    return {"have": "".join(have).encode(), "sums": "".join(sums).encode()}


def verifiable(upload: Upload) -> dict[str, bytes]:
    """The units as `systemd-analyze verify` has to see them: with programs that exist, in the upload's folder."""
    current, temporary = f"{upload.files.home}/current/".encode(), f"{upload.temporary}/".encode()
    return {name: file.content.replace(current, temporary) for name, file in upload.files.units.items()}


def _header(name: str, mode: int, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.mode, info.size, info.type, info.uname, info.gname = mode, size, kind, "root", "root"
    return info.tobuf(tarfile.GNU_FORMAT)
