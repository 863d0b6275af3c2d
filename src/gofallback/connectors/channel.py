"""One command on one channel of an open connection: its input, its output as it comes, its exit code. No retries here.

The connectors run a command to its end (`run_to_end`); steps on targets read and write while it runs (`RemoteCommand`,
by `gofallback.operations.target.channel`).

pyinfra reads the two outputs with a greenlet each; here one loop waits for either, which costs less than bare paramiko.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from paramiko import Channel, SSHException, Transport

from gofallback.connectors.transport import send_signal

BROKEN = (OSError, EOFError, SSHException)
"""What paramiko raises when a connection breaks."""
END_SECONDS = 3.0
"""How long a killed command may take to end."""
_RECEIVE_BYTES = 1 << 26
"""Bytes read at once: more than a window holds."""
_WINDOW_BYTES = 64 * 1024
"""stdin up to this size fits every server's window, so that writing it cannot wait for reading."""


class _Wake:
    """The event that paramiko's buffers set when data comes. They clear it when one of them is empty: ignored here."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        """Ignored: the other buffer may have data."""

    def rearm(self) -> None:
        self._event.clear()

    def wait(self, seconds: float | None) -> bool:
        return self._event.wait(seconds)


class RemoteCommand:
    """A command that runs on a channel.

    Args:
        channel: a fresh one; the caller closes it.
        command: for the shell that sshd starts.
        pty: with a terminal, as pyinfra's `_get_pty`.
        merge_stderr: standard error arrives as standard output.

    Raises:
        One of `BROKEN`: the command cannot be started.
    """

    def __init__(self, channel: Channel, command: str, *, pty: bool = False, merge_stderr: bool = False) -> None:
        self.channel = channel
        self._wake, self._reading = _Wake(), threading.Lock()
        if pty:
            channel.get_pty()
        channel.set_combine_stderr(merge_stderr)
        channel.in_buffer.set_event(self._wake)  # type: ignore[arg-type]
        channel.in_stderr_buffer.set_event(self._wake)  # type: ignore[arg-type]
        channel.exec_command(command.encode())

    def on_timeout(self) -> None:
        """Called by `send` when the host takes nothing for the channel's timeout; what it raises ends the writing."""

    def send(self, chunks: Iterable[bytes]) -> bool:
        """Write to the command's standard input; errors of the iterable pass through.

        Returns:
            False when the command or the connection ended before it had read everything.
        """
        for chunk in chunks:
            left = memoryview(chunk)
            while left:
                try:
                    sent = self.channel.send(left)  # type: ignore[arg-type]  # a view: its rest is not copied
                except TimeoutError:
                    self.on_timeout()
                    continue
                except BROKEN:
                    return False
                if not sent:
                    return False
                left = left[sent:]
        return True

    def end_input(self) -> None:
        """Close the command's standard input; nothing happens when the command has ended."""
        with suppress(*BROKEN):
            self.channel.shutdown_write()

    def read(self, timeout: float | None) -> list[tuple[str, bytes]] | None:
        """Wait up to `timeout` seconds for output: pieces with their stream's name; None once both streams have ended.

        Raises one of `BROKEN`.
        """
        while True:
            with self._reading:
                self._wake.rearm()
                ended = self.channel.eof_received or self.channel.closed
                pieces = []
                if self.channel.recv_ready():
                    pieces.append(("stdout", self.channel.recv(_RECEIVE_BYTES)))
                if self.channel.recv_stderr_ready():
                    pieces.append(("stderr", self.channel.recv_stderr(_RECEIVE_BYTES)))
            if pieces:
                return pieces
            if ended:
                return None
            if not self._wake.wait(timeout):
                return []

    def wait(self, timeout: float | None) -> bool:
        """Whether the exit code, or the end of the connection, arrives within `timeout` seconds.

        Either may come long after the output has ended: a program can close its output and go on.
        """
        return self.channel.status_event.wait(timeout)

    @property
    def exit_code(self) -> int | None:
        """None: the host reported none (yet): the connection broke, or the command was killed."""
        return self.channel.exit_status if self.channel.exit_status >= 0 else None

    def close(self) -> None:
        """Close the channel; the command sees the end of its input and a closed output."""
        with suppress(*BROKEN):
            self.channel.close()


@dataclass(frozen=True)
class End:
    """How a command ended; `exit_code` None: the host reported none; `gone`: it confirmed that the command ended."""

    exit_code: int | None
    timed_out: bool = False
    lost: bool = False
    gone: bool = True


def run_to_end(
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
    deadline = None if not timeout else time.monotonic() + timeout
    try:
        remote = RemoteCommand(channel, command, pty=pty)
        _write(remote, stdin)
        in_time = _pass_on(remote, deadline, on_stdout, on_stderr) and remote.wait(_left(deadline))
    except BROKEN:
        channel.close()
        return End(None, lost=not _alive(transport))
    if not in_time:
        return End(None, timed_out=True, gone=_kill(channel, signal))
    channel.close()
    code = remote.exit_code
    return End(code, lost=code is None and not _alive(transport))


def _write(remote: RemoteCommand, stdin: bytes | Iterable[bytes]) -> None:
    def write(chunks: Iterable[bytes]) -> None:
        # A command may end without reading all of it: its exit code decides. A local file that cannot be read to its
        # end shows on the other side, which counts the bytes.
        with suppress(OSError):
            remote.send(chunks)
        remote.end_input()

    if isinstance(stdin, bytes) and len(stdin) > _WINDOW_BYTES:
        # The command may stop reading until we have read what it writes.
        threading.Thread(target=write, args=([stdin],), daemon=True).start()
    else:
        write([stdin] if isinstance(stdin, bytes) else stdin)


def _pass_on(
    remote: RemoteCommand,
    deadline: float | None,
    on_stdout: Callable[[bytes], None],
    on_stderr: Callable[[bytes], None],
) -> bool:
    """Pass output on until both streams have ended; False if that takes until after the deadline."""
    while (pieces := remote.read(_left(deadline))) is not None:
        for name, data in pieces:
            (on_stdout if name == "stdout" else on_stderr)(data)
        if _left(deadline) == 0.0:
            return False
    return True


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _kill(channel: Channel, signal: str) -> bool:
    """End the command behind the channel; whether the host confirms within a few seconds that it is gone.

    OpenSSH sends the signal to the command's process group. Win32-OpenSSH terminates the shell whatever the signal is
    (w32_kill in contrib/win32/win32compat/signal_sigchld.c), and with the shell the job object that holds its tree;
    closing the channel alone would leave the tree running (PowerShell/Win32-OpenSSH issue 1751). OpenSSH before 7.9
    takes no signals.
    """
    try:
        send_signal(channel, signal)
        gone = channel.status_event.wait(END_SECONDS)
        channel.close()
    except BROKEN:
        return False
    return gone


def _alive(transport: Transport) -> bool:
    """Whether the connection outlived its channel; a broken one closes the channels first, then itself."""
    transport.join(0.2)
    return transport.is_active()
