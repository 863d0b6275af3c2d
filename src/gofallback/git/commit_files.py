"""Files of a commit that a path or a pattern of group data names, copied out of the controller's mirror."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gofallback.git.git_command import GitError
from gofallback.git.mirror import Mirror
from gofallback.model import DataError
from gofallback.source.model import Repository
from gofallback.source.select import SelectedFile, select
from gofallback.source.tree import Entry

_CHUNK = 1 << 20
_LFS = b"version https://git-lfs.github.com/spec/"


def commit_files(source: Repository, key: str, pattern: str, work: Path) -> Iterator[SelectedFile]:
    """The files of a commit that a path or a pattern selects, copied into a folder.

    Args:
        source: the commit, and the mirror that holds it.
        key: of group data, for errors.
        pattern: see `gofallback.source.select`.
        work: gets the contents.

    Raises:
        DataError: the pattern selects nothing, or something that is no plain file; or git cannot read the mirror.
    """
    mirror = Mirror(source.mirror, source.repository)
    where = f"{source.repository} at {source.commit[:12]}"
    try:
        entries = {entry.path: entry for entry in mirror.tree(source.commit)}
        selected = select(pattern, entries)
        if not selected:
            raise DataError(f"{key}: {pattern} matches nothing in {where}; correct the path, or commit the file")
        for path in selected:
            _require_plain(entries[path], key, where)
        with tempfile.TemporaryFile(dir=work) as stream:
            mirror.blobs([entries[path].sha for path in selected], stream)
            stream.seek(0)
            for path, name in selected.items():
                local = _next_blob(stream, work)
                if _starts_with(local, _LFS):
                    raise DataError(f"{key}: {path} in {where} is a pointer of Git LFS, not the file; name another")
                yield SelectedFile(path, name, local, 0o755 if entries[path].mode == "100755" else 0o644)
    except GitError as error:
        raise DataError(f"{key}: git cannot read {where} ({error.output.strip()[-200:]}); run again") from None


def _require_plain(entry: Entry, key: str, where: str) -> None:
    # git checks such paths itself only when it writes a tree to a disk.
    if {"", ".", ".."} & {*entry.path.split("/")}:
        raise DataError(
            f"{key}: {entry.path!r} in {where} leads out of its folder; who made that commit? Nothing is sent"
        )
    if not entry.is_file:
        kind = "a symbolic link" if entry.is_symlink else "a submodule"
        raise DataError(f"{key}: {entry.path} in {where} is {kind}; name plain files")


def _next_blob(stream: IO[bytes], work: Path) -> Path:
    """The next blob of ``git cat-file --batch`` as a new file: a line with its size, its bytes, a line end."""
    words = stream.readline().split()
    if len(words) != 3:
        raise GitError(b" ".join(words).decode(errors="replace"))
    left = int(words[2])
    handle, name = tempfile.mkstemp(dir=work)
    with os.fdopen(handle, "wb") as writer:
        while left:
            chunk = stream.read(min(left, _CHUNK))
            if not chunk:
                raise GitError("the answer is cut short")
            left -= len(chunk)
            writer.write(chunk)
    stream.read(1)
    return Path(name)


def _starts_with(path: Path, beginning: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(beginning)) == beginning
