"""One command on one channel of an open connection: its output as it comes, its exit status, its end. No retries here.

pyinfra reads the two outputs with a greenlet each; here one loop waits for either, which costs less than bare paramiko.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from paramiko import Channel, SSHException, Transport
from pyinfra.connectors.util import CommandOutput, OutputLine

from gofallback.connectors.transport import send_signal

OPEN_SECONDS = 30.0
"""How long a server may take to open a channel."""
END_SECONDS = 3.0
"""How long an ended command may take to be gone."""
_AT_ONCE = 64 * 1024
"""stdin up to this size fits every server's window, so that writing it cannot wait for reading."""


@dataclass
class RemoteOutput(CommandOutput):
    """pyinfra's output of a command, with how it ended.

    Attributes:
        exit_code: all 32 bits, unsigned, as the host reported it; None if it reported none.
        timed_out: the command took longer than `_timeout`; it was ended if the host can do that (the last line says).
        lost: the connection broke while it ran; it may or may not have gone on.
        seconds: how long it took.
    """

    exit_code: int | None = None
    timed_out: bool = False
    lost: bool = False
    seconds: float = 0.0


class CommandTimeoutError(TimeoutError):
    """A command took longer than its `_timeout`. `output` holds what it had written; its last line says so."""

    def __init__(self, message: str, output: RemoteOutput) -> None:
        super().__init__(message)
        self.output = output


class _Wake:
    """What paramiko's buffers set when something comes. They clear it when one of them is empty; that is ignored."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        """Ignored: the other buffer may have something."""

    def rearm(self) -> None:
        self._event.clear()

    def wait(self, seconds: float | None) -> bool:
        return self._event.wait(seconds)


@dataclass
class Lines:
    """Cuts what comes into lines, decodes them, and hands each one on.

    Arguments:
        name: `stdout` or `stderr`.
        decode: makes text of a line that is not UTF-8.
        take: what is done with the finished lines.
    """

    name: str
    decode: Callable[[bytes], str]
    take: Callable[[str, list[str]], None]
    _rest: list[bytes] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        cut = data.rfind(b"\n")
        if cut < 0:
            self._rest.append(data)
            return
        block = b"".join([*self._rest, data[:cut]])
        self._rest = [data[cut + 1 :]] if cut + 1 < len(data) else []
        self.take(self.name, self._split(block))

    def end(self) -> None:
        if self._rest:
            block, self._rest = b"".join(self._rest), []
            self.take(self.name, self._split(block))

    def _split(self, block: bytes) -> list[str]:
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError:
            # Programs that write UTF-8 and cmd's own texts may be mixed: each line is judged alone.
            return [self._one(line) for line in block.split(b"\n")]
        return [line.rstrip("\r") for line in text.split("\n")] if "\r" in text else text.split("\n")

    def _one(self, line: bytes) -> str:
        line = line.rstrip(b"\r")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            return self.decode(line)


@dataclass(frozen=True)
class End:
    """How a channel ended; `exit_code` None: the host reported none; `gone`: it confirmed that the command ended."""

    exit_code: int | None
    timed_out: bool = False
    lost: bool = False
    gone: bool = True


def open_channel(transport: Transport) -> Channel:
    """A session channel. Raises SSHException (ChannelException if the host refuses it)."""
    return transport.open_session(timeout=OPEN_SECONDS)


def converse(
    channel: Channel,
    command: str,
    *,
    stdin: bytes | Iterable[bytes] = b"",
    on_stdout: Callable[[bytes], None],
    on_stderr: Callable[[bytes], None],
    timeout: float | None = None,
    pty: bool = False,
    signal: str = "TERM",
) -> End:
    """Run `command` on a fresh channel and carry its three streams until it has ended.

    Arguments:
        stdin: all of it, or chunks to stream; at its end the command sees end of file.
        timeout: seconds; None waits as long as the connection shows life.
        pty: with a terminal, as pyinfra's `_get_pty`.
        signal: what the host is asked to send a command that takes too long.
    """
    transport = channel.get_transport()
    wake = _Wake()
    deadline = None if not timeout else time.monotonic() + timeout
    try:
        if pty:
            channel.get_pty()
        channel.in_buffer.set_event(wake)  # type: ignore[arg-type]
        channel.in_stderr_buffer.set_event(wake)  # type: ignore[arg-type]
        channel.exec_command(command.encode())
        _send(channel, stdin)
        in_time = _read(channel, wake, deadline, on_stdout, on_stderr) and _wait_for_status(channel, deadline)
    except (SSHException, EOFError, OSError):
        channel.close()
        return End(None, lost=not _alive(transport))
    if not in_time:
        return End(None, timed_out=True, gone=_end(channel, signal))
    code = channel.exit_status
    channel.close()
    if code < 0:  # no status came: the connection broke, or the command was killed
        return End(None, lost=not _alive(transport))
    return End(code)


def _send(channel: Channel, stdin: bytes | Iterable[bytes]) -> None:
    if isinstance(stdin, bytes) and len(stdin) > _AT_ONCE:
        # The command may stop reading until we have read what it writes.
        threading.Thread(target=_write, args=(channel, _slices(stdin)), daemon=True).start()
        return
    _write(channel, [stdin] if isinstance(stdin, bytes) else stdin)


def _write(channel: Channel, chunks: Iterable[bytes]) -> None:
    try:
        for chunk in chunks:
            if chunk:
                channel.sendall(chunk)
    except OSError:
        # The command ended without reading all of it: that is its affair, and its status counts. Or a local file could
        # not be read to its end: the other side counts the bytes.
        pass
    with suppress(OSError):
        channel.shutdown_write()


def _slices(data: bytes, size: int = 32000) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _read(
    channel: Channel,
    wake: _Wake,
    deadline: float | None,
    on_stdout: Callable[[bytes], None],
    on_stderr: Callable[[bytes], None],
) -> bool:
    """Carry output until both streams have ended; False if that takes until after the deadline."""
    while True:
        wake.rearm()
        ended = channel.eof_received or channel.closed
        while channel.recv_ready():
            on_stdout(channel.recv(1 << 26))
        while channel.recv_stderr_ready():
            on_stderr(channel.recv_stderr(1 << 26))
        if ended:
            return True
        left = None if deadline is None else deadline - time.monotonic()
        if (left is not None and left <= 0) or not wake.wait(left):
            return False


def _wait_for_status(channel: Channel, deadline: float | None) -> bool:
    """The status may come long after the output has ended: a program can close its output and go on."""
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    return channel.status_event.wait(left)


def _end(channel: Channel, signal: str) -> bool:
    """End the command behind the channel; whether the host says within a few seconds that it is gone.

    OpenSSH sends the signal to the command's process group. Win32-OpenSSH terminates the shell whatever the signal is
    (w32_kill in contrib/win32/win32compat/signal_sigchld.c), and with the shell the job object that holds its tree;
    closing the channel alone would leave the tree running (PowerShell/Win32-OpenSSH issue 1751). OpenSSH before 7.9
    takes no signals.
    """
    try:
        send_signal(channel, signal)
        gone = channel.status_event.wait(END_SECONDS)
        channel.close()
    except (SSHException, EOFError, OSError):
        return False
    return gone


def _alive(transport: Transport) -> bool:
    """Whether the connection outlived its channel; a broken one closes the channels first, then says so."""
    transport.join(0.2)
    return transport.is_active()


def collect(lines: list[OutputLine], show: Callable[[str, str], None] | None) -> Callable[[str, list[str]], None]:
    """What `Lines` hands its lines to: the list, and the screen if `show` is given."""

    def take(name: str, texts: list[str]) -> None:
        lines.extend(OutputLine(name, text) for text in texts)
        if show:
            for text in texts:
                show(name, text)

    return take
