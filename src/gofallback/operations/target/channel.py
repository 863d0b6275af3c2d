"""One command on a Linux target over a channel of its own: bytes in as they are made, lines out as they come.

`host.run_shell_command` takes its input as text and gives its output when all is over; an upload, a lease and a watch
need more. The command is built by pyinfra, so `sudo` works as everywhere else.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from paramiko import SSHException
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import make_unix_command_for_host

#: What a broken connection raises, here and in paramiko.
BROKEN = (OSError, EOFError, SSHException)
_RECEIVE = 1 << 16


class BrokenError(Exception):
    """The connection to the target is gone or stopped answering; one line."""


class Channel:
    """A running command.

    Args:
        state: pyinfra's.
        host: a connected host with an SSH connector.
        command: shell script; values in it are already quoted.
        sudo: become root with ``sudo -n``.
        timeout: seconds of silence after which the target is asked whether it is still there.
        via: another connection to the same host; default: the host's own.

    Raises:
        BrokenError: the command cannot be started.
    """

    def __init__(
        self,
        state: State,
        host: Host,
        command: str,
        *,
        sudo: bool,
        timeout: float = 10.0,
        via: SecondConnection | None = None,
    ) -> None:
        full = make_unix_command_for_host(state, host, StringCommand(command), _sudo=sudo).get_raw_value()
        self._connector: Any = via.connector if via else host.connector
        self._timeout = timeout
        self._pending = b""
        counter = host.connector_data
        counter["round_trips"] = int(counter.get("round_trips") or 0) + 1
        try:
            transport = _transport(self._connector)
            if transport is None:
                raise BrokenError("the connection is closed")
            self._channel: Any = transport.open_session(timeout=timeout)
            self._channel.settimeout(timeout)
            self._channel.set_combine_stderr(True)
            self._channel.exec_command(full)
        except BROKEN as error:
            raise BrokenError(_words(error)) from None

    def __enter__(self) -> Channel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, chunks: Iterable[bytes | memoryview], progress: Callable[[int], None] = lambda size: None) -> bool:
        """Write to the command's standard input.

        Returns:
            False when the command ended before it had read everything; its output says why.

        Raises:
            BrokenError: the connection stopped.
        """
        self._channel.settimeout(self._timeout)
        for chunk in chunks:
            left = memoryview(chunk)
            while left:
                try:
                    sent = self._channel.send(left)
                except TimeoutError:
                    self._probe()  # a slow disk is no broken connection
                    continue
                except BROKEN as error:
                    if self._ended():
                        return False
                    raise BrokenError(_words(error)) from None
                if not sent:
                    return False
                left = left[sent:]
            progress(len(chunk))
        return True

    def end_input(self) -> None:
        """Close the command's standard input."""
        try:
            self._channel.shutdown_write()
        except BROKEN:
            return  # it has ended already; the output says why

    def lines(self, silence: float | None = None) -> Iterator[str | None]:
        """Lines of output (standard error among them) as they come, without the newline.

        Args:
            silence: seconds after which None says that nothing came; default: None is never given, and a target that
                is silent is asked whether it is still there.

        Raises:
            BrokenError: the connection stopped.
        """
        while True:
            self._channel.settimeout(silence or self._timeout)  # `send` may have set its own meanwhile
            try:
                data = self._channel.recv(_RECEIVE)
            except TimeoutError:
                if silence is None:
                    self._probe()
                else:
                    yield None
                continue
            except BROKEN as error:
                raise BrokenError(_words(error)) from None
            if not data:
                break
            *whole, self._pending = (self._pending + data).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")
        if self._pending:
            yield self._pending.decode(errors="replace")
            self._pending = b""

    def status(self) -> int:
        """Exit status; the output has to be read before.

        Raises:
            BrokenError: the connection ended before the command did.
        """
        deadline = time.monotonic() + self._timeout
        while not self._channel.exit_status_ready():
            if time.monotonic() > deadline:
                raise BrokenError(f"no exit status for {self._timeout:g} s")
            if self._channel.closed or not self._channel.get_transport().is_active():
                break
            time.sleep(0.01)
        code = int(self._channel.recv_exit_status()) if self._channel.exit_status_ready() else -1
        if code == -1:
            raise BrokenError("the connection ended before the command did")
        return code

    def over(self) -> bool:
        """Whether the command has ended, or its connection has."""
        transport = self._channel.get_transport()
        gone = self._channel.closed or transport is None or not transport.is_active()
        return bool(gone or self._channel.eof_received or self._channel.exit_status_ready())

    def close(self) -> None:
        """End the channel; the command sees the end of its input and a closed output."""
        try:
            self._channel.close()
        except BROKEN:
            return  # gone already, which is what was wanted

    def _probe(self) -> None:
        if not _opens(self._connector, self._timeout):
            raise BrokenError(f"the target has not answered for {2 * self._timeout:g} s")

    def _ended(self) -> bool:
        return bool(self._channel.exit_status_ready() or self._channel.recv_ready() or self._channel.eof_received)


class SecondConnection:
    """A further connection to a host beside the one pyinfra has: same address, credentials and options.

    A new TCP connection and a new authentication show what the first one cannot: that the host can still be reached by
    somebody who is not connected yet. A context manager; connects when it is entered, and again once it is broken.

    Args:
        state: pyinfra's.
        host: a host with an SSH connector; its own connection is left as it is.
    """

    def __init__(self, state: State, host: Host) -> None:
        self._state, self._host = state, host
        self.connector: Any = type(host.connector)(state, host)
        """Like the host's, with a connection of its own."""

    def __enter__(self) -> SecondConnection:
        """Connect.

        Raises:
            BrokenError: it cannot be reached, or does not let us in.
        """
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.connector.client is not None:
            # Not disconnect(): that would also clear away what the host's own connection still needs.
            self.connector.client.close()
            self.connector.client = None

    def run(self, command: str, *, sudo: bool, timeout: float = 10.0) -> tuple[int, list[str]]:
        """Run a command over this connection, made anew if it is broken: exit status, output lines.

        Raises:
            BrokenError: no connection, or it stopped, or the target was silent for twice ``timeout`` seconds.
        """
        if _transport(self.connector) is None:
            self._connect()
        return run(self._state, self._host, command, sudo=sudo, timeout=timeout, via=self)

    def _connect(self) -> None:
        try:
            self.connector.connect()
        except (*BROKEN, ConnectError, PyinfraError) as error:
            raise BrokenError(_words(error)) from None


def run(
    state: State, host: Host, command: str, *, sudo: bool, timeout: float = 10.0, via: SecondConnection | None = None
) -> tuple[int, list[str]]:
    """Run a command to its end: exit status, output lines.

    Raises:
        BrokenError: the connection stopped, or the target answered nothing for twice ``timeout`` seconds.
    """
    with Channel(state, host, command, sudo=sudo, timeout=timeout, via=via) as channel:
        channel.end_input()
        lines = [line for line in channel.lines() if line is not None]
        return channel.status(), lines


def reconnect(host: Host) -> bool:
    """Connect again after a connection broke; True when it worked. Facts and operations of pyinfra use it as well."""
    connector: Any = host.connector
    try:
        if connector.client is not None:
            connector.client.close()
        connector.disconnect()
        connector.connect()
    except (*BROKEN, ConnectError, PyinfraError):
        return False
    return True


def alive(host: Host, timeout: float = 5.0) -> bool:
    """Whether the target still answers on its connection: a channel opens within ``timeout`` seconds."""
    return _opens(host.connector, timeout)


def _opens(connector: Any, timeout: float) -> bool:
    try:
        transport = _transport(connector)
        if transport is None:
            return False
        transport.open_session(timeout=timeout).close()
    except BROKEN:
        return False
    return True


def _transport(connector: Any) -> Any:
    """The live transport below a connector; every SSH connector of pyinfra has a paramiko client."""
    transport = connector.client.get_transport() if connector.client is not None else None
    return transport if transport is not None and transport.is_active() else None


def _words(error: BaseException) -> str:
    if isinstance(error, socket.timeout):
        return "no answer in time"
    return (str(error) or type(error).__name__).splitlines()[0]
