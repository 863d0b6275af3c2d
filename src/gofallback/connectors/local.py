"""The controller's end of a transfer: files, which get their name when they are complete, and stdin."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO, IOBase, StringIO
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from gofallback.errors import GofallbackError

PART = ".gofallback-part"
"""End of the name of an unfinished file, here and on the hosts."""
FileOrName: TypeAlias = "str | Path | IO[Any] | IOBase"
"""What pyinfra gives for a local file."""
_SPOOL_BYTES = 4 * 1024 * 1024


class TransferError(GofallbackError):
    """A file was not transferred; one line for a person."""


@contextmanager
def open_source(filename_or_io: FileOrName) -> Iterator[tuple[IO[bytes], int]]:
    """The bytes to upload, from their beginning, and their number.

    Raises TransferError if the file cannot be read.
    """
    if isinstance(filename_or_io, str | Path):
        try:
            with Path(filename_or_io).open("rb") as file:
                yield file, os.fstat(file.fileno()).st_size
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise TransferError(f"{filename_or_io}: {error.strerror}; nothing was uploaded") from None
        return
    if isinstance(filename_or_io, StringIO):
        text = BytesIO(filename_or_io.getvalue().encode())
        yield text, text.getbuffer().nbytes
        return
    stream = cast("IO[bytes]", filename_or_io)
    if stream.seekable():
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        yield stream, size
        return
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        shutil.copyfileobj(stream, spool)
        size = spool.tell()
        spool.seek(0)
        yield cast("IO[bytes]", spool), size


@contextmanager
def open_destination(filename_or_io: FileOrName) -> Iterator[IO[bytes]]:
    """Where to write a download. A file gets its name when it is complete; an unfinished file is removed.

    Raises TransferError if the file cannot be written.
    """
    if not isinstance(filename_or_io, str | Path):
        if isinstance(filename_or_io, StringIO):
            data = BytesIO()
            yield data
            filename_or_io.write(data.getvalue().decode())
        else:
            yield cast("IO[bytes]", filename_or_io)
        return
    final = Path(filename_or_io)
    part = final.with_name(f".{final.name}{PART}")
    try:
        file = part.open("wb")
    except OSError as error:
        raise TransferError(f"{final}: cannot be written here: {error.strerror}") from None
    try:
        with file:
            yield file
        part.replace(final)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def chunks(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The file in pieces of at most `size` bytes."""
    while data := file.read(size):
        yield data


def stdin_bytes(stdin: Any) -> bytes:
    """pyinfra's `_stdin`: text and lists of it get the line ends they lack, bytes stay as they are."""
    if stdin is None:
        return b""
    if hasattr(stdin, "read"):
        stdin = stdin.read()
    if isinstance(stdin, bytes | bytearray | memoryview):
        return bytes(stdin)
    parts: Iterable[Any] = [stdin] if isinstance(stdin, str) else stdin
    return b"".join(_line(part) for part in parts)


def _line(part: Any) -> bytes:
    if isinstance(part, bytes):
        return part
    text = str(part)
    return (text if text.endswith("\n") else text + "\n").encode()
