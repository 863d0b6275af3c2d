"""Files over SFTP at full speed and constant memory: many requests under way, every answer looked at.

paramiko's own pipelined upload drops the answers it does not wait for, so a full disk goes unnoticed; and its requests
are a little larger than a packet, so each goes out as two.
"""

from __future__ import annotations

import stat
from collections import deque
from typing import IO

from paramiko import Message, SFTPClient
from paramiko.sftp import (
    CMD_CLOSE,
    CMD_HANDLE,
    CMD_OPEN,
    CMD_STATUS,
    CMD_WRITE,
    SFTP_FLAG_CREATE,
    SFTP_FLAG_TRUNC,
    SFTP_FLAG_WRITE,
    SFTPError,
    int64,
)
from paramiko.sftp_attr import SFTPAttributes

from gofallback.connectors._local import PART, TransferError

UNDER_WAY = 64
"""Requests without an answer yet: 2 MB, OpenSSH's own window."""
_PACKET_ROOM = 64 + 32
"""Bytes of a packet that the channel and the request's head take."""


def upload(client: SFTPClient, file: IO[bytes], size: int, path: str) -> None:
    """Write `file` beside `path`, check the size there, and give it its name, replacing what had it.

    A file of that name is the old one or the new one at every moment; what an interrupted upload left is overwritten by
    the next. Arguments: `size` in bytes; `path` in SFTP's form.

    Raises TransferError (one line), or EOFError and SSHException if the connection breaks.
    """
    part = path + PART
    try:
        written = _write(client, file, part)
        there = client.stat(part).st_size
    except FileNotFoundError:
        raise TransferError(f"{path}: the folder it should go to is not there") from None
    except OSError as error:
        _refuse_broken(client)
        _remove(client, part)
        raise TransferError(f"{path}: cannot be written: {_reason(error)}") from None
    if not written == there == size:
        _remove(client, part)
        raise TransferError(f"{path}: {there} bytes arrived, {written} were sent, {size} were there to send")
    try:
        client.posix_rename(part, path)
    except OSError as error:
        _refuse_broken(client)
        _remove(client, part)
        raise TransferError(f"{path}: cannot be replaced, is it in use? ({_reason(error)})") from None


def download(client: SFTPClient, path: str, file: IO[bytes]) -> None:
    """Read `path` (SFTP's form) into `file` and check the size.

    Raises TransferError (one line), or EOFError and SSHException if the connection breaks.
    """
    try:
        if stat.S_ISDIR(client.stat(path).st_mode or 0):
            raise TransferError(f"{path}: is a folder, not a file")
        client.getfo(path, file, prefetch=True, max_concurrent_prefetch_requests=UNDER_WAY)
    except FileNotFoundError:
        raise TransferError(f"{path}: no such file") from None
    except OSError as error:
        _refuse_broken(client)
        raise TransferError(f"{path}: cannot be read: {_reason(error)}") from None


def _write(client: SFTPClient, file: IO[bytes], path: str) -> int:
    """Send the whole file; the number of bytes sent. Raises OSError for the first write the server refused."""
    flags = SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | SFTP_FLAG_TRUNC
    kind, answer = client._request(CMD_OPEN, path, flags, SFTPAttributes())  # type: ignore[attr-defined]
    if kind != CMD_HANDLE:
        raise SFTPError("expected a handle")
    handle = answer.get_binary()
    channel = client.get_channel()
    assert channel is not None
    room = min(channel.out_max_packet_size, 32768) - _PACKET_ROOM - len(handle)
    waiting: deque[int] = deque()
    offset = 0
    try:
        while data := file.read(room):
            waiting.append(
                client._async_request(type(None), CMD_WRITE, handle, int64(offset), data)  # type: ignore[attr-defined]
            )
            offset += len(data)
            if len(waiting) >= UNDER_WAY:
                _answer(client, waiting)
        while waiting:
            _answer(client, waiting)
    finally:
        while waiting:
            _answer(client, waiting, check=False)
        client._request(CMD_CLOSE, handle)  # type: ignore[attr-defined]
    return offset


def _answer(client: SFTPClient, waiting: deque[int], check: bool = True) -> None:
    """Take the next answer, whichever request it is for."""
    kind, data = client._read_packet()  # type: ignore[attr-defined]
    message = Message(data)
    number = message.get_int()
    client._expecting.pop(number, None)  # type: ignore[attr-defined]
    waiting.remove(number)
    if check:
        if kind != CMD_STATUS:
            raise SFTPError("expected a status")
        client._convert_status(message)  # type: ignore[attr-defined]


def _remove(client: SFTPClient, path: str) -> None:
    try:
        client.remove(path)
    except OSError:
        return


def _refuse_broken(client: SFTPClient) -> None:
    """paramiko's errors of a broken connection and of the server's file system are of one type."""
    channel = client.get_channel()
    if channel is None or channel.closed:
        raise EOFError("closed in the middle of the file")


def _reason(error: OSError) -> str:
    return " ".join((error.strerror or str(error) or type(error).__name__).split())
