"""A command on a target that is written to and read from while it runs: an upload, a lease, an activation.

`host.run_shell_command` takes its input as text and returns its output at the end. pyinfra makes the command line, so
that `sudo` works as everywhere else; the loop is that of the connectors (`gofallback.connectors.channel`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import make_unix_command_for_host

from gofallback.connectors.channel import BROKEN, RemoteCommand
from gofallback.connectors.output import Lines


class BrokenError(Exception):
    """The connection to the target is closed or stopped answering; one line."""


class TargetCommand(RemoteCommand):
    """A running command on a target; each method raises BrokenError when the connection stops.

    Args:
        state: pyinfra's.
        host: a connected host with an SSH connector.
        command: shell script; values in it are already quoted.
        sudo: become root with ``sudo -n``.
        timeout: seconds without progress after which the target is probed: does it still open a channel?
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
        self._ready: deque[str] = deque()
        self._lines = Lines("", lambda line: line.decode(errors="replace"), lambda _, lines: self._ready.extend(lines))
        host.connector_data["round_trips"] = int(host.connector_data.get("round_trips") or 0) + 1
        transport = _transport(self._connector)
        if transport is None:
            raise BrokenError("the connection is closed")
        with _broken():
            channel = transport.open_session(timeout=timeout)
            channel.settimeout(timeout)
            super().__init__(channel, full, merge_stderr=True)

    def lines(self, idle_timeout: float | None = None) -> Iterator[str | None]:
        """Lines of output (standard error among them) as they come, without the newline.

        Args:
            idle_timeout: seconds without output after which None is given; default: the target is probed instead.
        """
        pieces: list[tuple[str, bytes]] | None = []
        while pieces is not None:
            with _broken():
                pieces = self.read(idle_timeout or self._timeout)
            for _, data in pieces or ():
                self._lines.feed(data)
            if pieces is None:
                self._lines.end()
            elif not pieces and idle_timeout is None:
                self.on_timeout()
            elif not pieces:
                yield None
            while self._ready:
                yield self._ready.popleft()

    def status(self) -> int:
        """Exit code; the output has to be read before."""
        if not self.wait(self._timeout):
            raise BrokenError(f"no exit status for {self._timeout:g} s")
        if self.exit_code is None:
            raise BrokenError("the connection ended before the command did")
        return self.exit_code

    def has_ended(self) -> bool:
        """Whether the command has ended, or its connection has."""
        channel = self.channel
        return bool(channel.eof_received or channel.exit_status_ready() or not channel.get_transport().is_active())

    def on_timeout(self) -> None:
        """Probe the target: a slow disk is no broken connection."""
        if not _opens(self._connector, self._timeout):
            raise BrokenError(f"the target has not answered for {2 * self._timeout:g} s")


class SecondConnection:
    """A further connection to a host beside the one pyinfra has: same address, credentials and options.

    A new TCP connection and a new authentication prove what the first one cannot: that the host still accepts new
    connections. A context manager; connects when it is entered, and reconnects when it is broken.

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
            BrokenError: it cannot be reached, or refuses our login.
        """
        with _broken():
            self.connector.connect()
        return self

    def __exit__(self, *_: object) -> None:
        if self.connector.client is not None:
            # Not disconnect(): that would also clear away what the host's own connection still needs.
            self.connector.client.close()
            self.connector.client = None

    def run(self, command: str, *, sudo: bool, timeout: float = 10.0) -> tuple[int, list[str]]:
        """Run a command over this connection, made anew if it is broken: exit code, output lines.

        Raises:
            BrokenError: no connection, or it stopped, or the target was silent for twice ``timeout`` seconds.
        """
        if _transport(self.connector) is None:
            self.__enter__()
        return run(self._state, self._host, command, sudo=sudo, timeout=timeout, via=self)


def run(
    state: State, host: Host, command: str, *, sudo: bool, timeout: float = 10.0, via: SecondConnection | None = None
) -> tuple[int, list[str]]:
    """Run a command to its end: exit code, output lines.

    Raises:
        BrokenError: the connection stopped, or the target answered nothing for twice ``timeout`` seconds.
    """
    with closing(TargetCommand(state, host, command, sudo=sudo, timeout=timeout, via=via)) as remote:
        remote.end_input()
        lines = [line for line in remote.lines() if line is not None]
        return remote.status(), lines


def reconnect(host: Host) -> bool:
    """Connect again after a connection broke; True when it worked. Facts and operations of pyinfra use it as well."""
    connector: Any = host.connector
    try:
        if connector.client is not None:
            connector.client.close()
        connector.disconnect()
        connector.connect()
    except (*BROKEN, PyinfraError):
        return False
    return True


def alive(host: Host, timeout: float = 5.0) -> bool:
    """Whether the target still answers on its connection: a channel opens within ``timeout`` seconds."""
    return _opens(host.connector, timeout)


def _opens(connector: Any, timeout: float) -> bool:
    transport = _transport(connector)
    try:
        if transport is not None:
            transport.open_session(timeout=timeout).close()
    except BROKEN:
        return False
    return transport is not None


def _transport(connector: Any) -> Any:
    """The live transport below a connector; every SSH connector of pyinfra has a paramiko client."""
    transport = connector.client.get_transport() if connector.client is not None else None
    return transport if transport is not None and transport.is_active() else None


@contextmanager
def _broken() -> Iterator[None]:
    """Raise a `BrokenError` for every way in which a connection breaks."""
    try:
        yield
    except TimeoutError:
        raise BrokenError("no answer in time") from None
    except (*BROKEN, PyinfraError) as error:
        raise BrokenError((str(error) or type(error).__name__).splitlines()[0]) from None
