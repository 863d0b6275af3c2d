"""``file://``: a folder, such as a mounted share. Files are written beside, synced, read back, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gofallback.disk import sync_folder
from gofallback.publish.errors import PublishError
from gofallback.publish.files import Item
from gofallback.publish.store import StoredFile, compare_content

_CHUNK = 1 << 20
_STALE = 3600.0
"""Seconds."""
#: EFBIG: a limit on the size of files (setrlimit(2)), or of the file system.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FolderStore:
    """Files of one version in ``root/<service>/<version>/``. A missing root may be a share that is not mounted."""

    def __init__(self, root: Path, service: str, version: str) -> None:
        self._root = root
        self._folder = root / service / version

    def address(self, item: Item) -> str:
        """Path of the file."""
        return str(self._folder / item.name)

    def find(self, item: Item) -> StoredFile | None:
        """Read the file."""
        self._require_root()
        path = self._folder / item.name
        try:
            size = path.stat().st_size
            if size != item.size:
                return StoredFile(False, f"{size} bytes", "size")
            return compare_content(item, _chunks(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(error, path) from None

    def send(self, item: Item, progress: Callable[[int], None], *, replace: bool) -> None:
        """Write under another name, read back, rename."""
        self._require_root()
        temporary = self._folder / f".{item.name}.{secrets.token_hex(4)}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remove_stale(item)
            _copy(item.path, temporary, progress)
            written = compare_content(item, _chunks(temporary))
            if not written.same:
                raise PublishError(
                    f"{temporary}: hash mismatch: wrote sha256 {item.sha256}, read {written.description}; is that disk "
                    "sound?"
                )
            temporary.replace(self._folder / item.name)
            sync_folder(self._folder)
        except OSError as error:
            raise self._error(error, self._folder / item.name) from None
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _remove_stale(self, item: Item) -> None:
        """Remove parts of killed runs; a running one keeps writing to its part."""
        for part in self._folder.glob(f".{item.name}.*.part"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > _STALE:
                    part.unlink()

    def _require_root(self) -> None:
        if not self._root.is_dir():
            raise PublishError(f"{self._root}: no such folder; make it, or mount what belongs there, then run again")

    def _error(self, error: OSError, path: Path) -> PublishError:
        if error.errno in _FULL:
            return PublishError(
                f"{path}: the store is full ({error.strerror}); make room, then run the same command again"
            )
        hint = "; who may write there?" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else ""
        return PublishError(f"{path}: {error.strerror or error}{hint}")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _copy(source: Path, target: Path, progress: Callable[[int], None]) -> None:
    done = 0
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            writer.write(chunk)
            done += len(chunk)
            progress(done)
        writer.flush()
        os.fsync(writer.fileno())
