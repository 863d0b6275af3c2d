"""Files over SFTP at full speed and constant memory: many requests under way, every answer checked.

paramiko's own pipelined upload drops the answers that it does not wait for, so a full disk goes unnoticed. Its requests
are a little larger than a packet, so each is sent as two. It reads its buffer in pieces and moves the rest each time.
So the four requests that carry data are sent from here, on paramiko's SFTP client.
"""

from __future__ import annotations

import stat
from collections import deque
from typing import IO, Any

from paramiko import Message, SFTPClient
from paramiko.sftp import (
    CMD_CLOSE,
    CMD_DATA,
    CMD_HANDLE,
    CMD_OPEN,
    CMD_READ,
    CMD_STATUS,
    CMD_WRITE,
    SFTP_FLAG_CREATE,
    SFTP_FLAG_READ,
    SFTP_FLAG_TRUNC,
    SFTP_FLAG_WRITE,
    SFTPError,
    int64,
)
from paramiko.sftp_attr import SFTPAttributes

from gofallback.connectors.local import PART, TransferError

UNDER_WAY = 64
"""Requests without an answer yet: 2 MB, OpenSSH's own window."""
READ_BYTES = 32 * 1024
"""What one request reads: every server gives that much at once."""
_PACKET_ROOM = 64 + 32
"""Bytes of a packet for the channel and the request's head."""
_RECEIVE_BYTES = 1024 * 1024


class Sftp(SFTPClient):
    """paramiko's client with a read buffer."""

    _buffer = b""
    _used = 0

    def _read_all(self, size: int) -> bytes:
        while len(self._buffer) - self._used < size:
            data = self.sock.recv(_RECEIVE_BYTES)
            if not data:
                raise EOFError
            self._buffer, self._used = self._buffer[self._used :] + data, 0
        self._used += size
        return self._buffer[self._used - size : self._used]

    def start(self, command: int, *arguments: Any) -> int:
        """Send a request; its number."""
        return int(self._async_request(type(None), command, *arguments))  # type: ignore[attr-defined]

    def answer(self) -> tuple[int, int, Message]:
        """The next answer, to whichever request: the request's number, the kind, the message."""
        kind, data = self._read_packet()  # type: ignore[attr-defined]
        message = Message(data)
        number = message.get_int()
        self._expecting.pop(number, None)  # type: ignore[attr-defined]
        return number, kind, message

    def check(self, kind: int, message: Message) -> None:
        """Raises OSError or EOFError for a status that is not OK."""
        if kind != CMD_STATUS:
            raise SFTPError(f"unexpected answer {kind}")
        self._convert_status(message)  # type: ignore[attr-defined]

    def open_handle(self, path: str, flags: int) -> bytes:
        """Raises OSError."""
        kind, message = self._request(CMD_OPEN, path, flags, SFTPAttributes())  # type: ignore[attr-defined]
        if kind != CMD_HANDLE:
            raise SFTPError(f"unexpected answer {kind}")
        return bytes(message.get_binary())

    def close_handle(self, handle: bytes) -> None:
        """Raises OSError: some servers report a full disk only here."""
        self._request(CMD_CLOSE, handle)  # type: ignore[attr-defined]


def upload(client: Sftp, file: IO[bytes], size: int, path: str) -> None:
    """Write `file` beside `path`, check the size there, and give it its name, replacing what had it.

    At every moment the file of that name is the old one or the new one. The next upload overwrites the rest of an
    interrupted one. Arguments: `size` in bytes; `path` in SFTP's form.

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


def download(client: Sftp, path: str, file: IO[bytes]) -> None:
    """Read `path` (SFTP's form) into `file` and check the size.

    Raises TransferError (one line), or EOFError and SSHException if the connection breaks.
    """
    try:
        there = client.stat(path)
        if stat.S_ISDIR(there.st_mode or 0):
            raise TransferError(f"{path}: is a folder, not a file")
        written = _read(client, path, there.st_size or 0, file)
    except FileNotFoundError:
        raise TransferError(f"{path}: no such file") from None
    except OSError as error:
        _refuse_broken(client)
        raise TransferError(f"{path}: cannot be read: {_reason(error)}") from None
    if written != there.st_size:
        raise TransferError(f"{path}: {written} bytes arrived, the file had {there.st_size}: did it change?")


def _write(client: Sftp, file: IO[bytes], path: str) -> int:
    """Send the whole file; the number of bytes sent. Raises OSError for the first write the server refused."""
    handle = client.open_handle(path, SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | SFTP_FLAG_TRUNC)
    channel = client.get_channel()
    assert channel is not None
    room = min(channel.out_max_packet_size, 32768) - _PACKET_ROOM - len(handle)
    waiting = sent = 0
    refused: OSError | None = None
    while refused is None and (data := file.read(room)):
        client.start(CMD_WRITE, handle, int64(sent), data)
        sent, waiting = sent + len(data), waiting + 1
        if waiting >= UNDER_WAY:
            refused, waiting = _written(client), waiting - 1
    while waiting:
        refused, waiting = _written(client) or refused, waiting - 1
    client.close_handle(handle)
    if refused is not None:
        raise refused
    return sent


def _written(client: Sftp) -> OSError | None:
    """Read the answer to one write: the reason if it was refused, or None."""
    _, kind, message = client.answer()
    try:
        client.check(kind, message)
    except OSError as error:
        return error
    return None


def _read(client: Sftp, path: str, size: int, file: IO[bytes]) -> int:
    """Read `size` bytes in order; the number of bytes got, less if the file ends before. Raises OSError."""
    handle = client.open_handle(path, SFTP_FLAG_READ)
    open_requests: deque[tuple[int, int, int]] = (
        deque()
    )  # number of the request, offset, length; in the order of the file
    arrived: dict[int, bytes] = {}
    requested = got = 0
    try:
        while got < size:
            while requested < size and len(open_requests) < UNDER_WAY:
                length = min(READ_BYTES, size - requested)
                number = client.start(CMD_READ, handle, int64(requested), length)
                open_requests.append((number, requested, length))
                requested += length
            number, kind, message = client.answer()
            if kind != CMD_DATA:
                client.check(kind, message)
            arrived[number] = bytes(message.get_binary())
            while open_requests and open_requests[0][0] in arrived:
                first, offset, length = open_requests.popleft()
                data = arrived.pop(first)
                file.write(data)
                got += len(data)
                if len(data) < length:  # a short answer: request the rest, before everything else
                    rest = length - len(data)
                    number = client.start(CMD_READ, handle, int64(offset + len(data)), rest)
                    open_requests.appendleft((number, offset + len(data), rest))
    except EOFError:
        _refuse_broken(client)  # else the file was shortened meanwhile
    finally:
        if not _broken(client):
            for _ in range(len(open_requests) - len(arrived)):
                client.answer()
            client.close_handle(handle)
    return got


def _remove(client: Sftp, path: str) -> None:
    try:
        client.remove(path)
    except OSError:
        return


def _broken(client: Sftp) -> bool:
    channel = client.get_channel()
    return channel is None or channel.closed


def _refuse_broken(client: Sftp) -> None:
    """Raise EOFError on a broken connection: paramiko's error has the same type as one of the server's file system."""
    if _broken(client):
        raise EOFError


def _reason(error: OSError) -> str:
    return " ".join((error.strerror or str(error) or type(error).__name__).split())
