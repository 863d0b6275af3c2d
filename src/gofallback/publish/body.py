"""The body of an upload, streamed: a file, or a form around it; never the whole file in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from urllib3.fields import RequestField

from gofallback.publish.errors import PublishError

_CHUNK = 1 << 16


class Body:
    """Bytes, a file, and bytes, read one after the other. A context manager.

    Args:
        path: the file.
        size: of the file, in bytes; a file that has grown or shrunk is an error, not a short upload.
        before, after: bytes around the file.
        progress: called with the bytes of the file that have been read.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        before: bytes = b"",
        after: bytes = b"",
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._path, self._size, self._before, self._after = path, size, before, after
        self._progress = progress or (lambda _: None)
        self._file: BinaryIO | None = None

    def __enter__(self) -> Body:
        self._file = self._path.open("rb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._file:
            self._file.close()

    def __len__(self) -> int:
        return len(self._before) + self._size + len(self._after)

    def __iter__(self) -> Iterator[bytes]:
        # requests takes the length, and iterates once. A second attempt makes a new Body.
        if self._before:
            yield self._before
        done = 0
        while self._file and (chunk := self._file.read(_CHUNK)):
            done += len(chunk)
            if done > self._size:
                break
            yield chunk
            self._progress(done)
        if done != self._size:
            raise PublishError(f"{self._path}: changed while it was sent; run the same command again")
        if self._after:
            yield self._after


def form(
    path: Path, size: int, name: str, fields: Sequence[tuple[str, str]], field: str, progress: Callable[[int], None]
) -> tuple[Body, str]:
    """A form with the file as its last part (RFC 7578), and its Content-Type."""
    boundary = secrets.token_hex(16)
    parts = []
    for key, text in fields:
        part = RequestField(key, text.encode())
        part.make_multipart()
        parts.append(f"--{boundary}\r\n{part.render_headers()}".encode() + text.encode() + b"\r\n")
    last = RequestField(field, b"", filename=name)
    last.make_multipart(content_type="application/octet-stream")
    parts.append(f"--{boundary}\r\n{last.render_headers()}".encode())
    after = f"\r\n--{boundary}--\r\n".encode()
    return Body(path, size, b"".join(parts), after, progress), f"multipart/form-data; boundary={boundary}"
