"""What `@winssh` and `@linssh` share: one connection a host, kept alive, made anew once it is dead, and counted."""

from __future__ import annotations

import getpass
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from paramiko import Channel, ChannelException, SSHException
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.output import echo, format_text
from pyinfra.connectors.base import DataMeta
from pyinfra.connectors.ssh import ConnectorData, SSHConnector, connector_data_meta
from pyinfra.connectors.util import OutputLine

from gofallback.connectors._channel import (
    CommandTimeoutError,
    End,
    Lines,
    RemoteOutput,
    collect,
    converse,
    open_channel,
)
from gofallback.connectors._failures import connect_failure, in_one_line
from gofallback.connectors._sftp import Sftp
from gofallback.connectors._transport import SILENCE_SECONDS, Client, Wire, open_transport, watch

CHANNELS = 8
"""Commands at once on one connection; sshd's MaxSessions is 10 as shipped, and a slot is freed a moment late."""
_REFUSED_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)

_T = TypeVar("_T")


class OneConnectionData(ConnectorData):
    """pyinfra's host data for SSH, and ours."""

    ssh_silence_seconds: int


class LostConnectionError(Exception):
    """The connection broke, or could not be made anew; the message is one line for a person."""


class OneConnection(SSHConnector):
    """pyinfra's SSH connector with one lean, watched connection.

    Counts in `host.connector_data`: `round_trips` (commands and file transfers) and `bytes_sent`, `bytes_received` (on
    the wire, over all connections of the host).
    """

    data_cls = OneConnectionData  # type: ignore[assignment]
    data_meta: dict[str, DataMeta] = {  # noqa: RUF012 - pyinfra declares it so
        **connector_data_meta,
        "ssh_silence_seconds": DataMeta(
            "Seconds without a sign of life after which a host is given up", SILENCE_SECONDS
        ),
    }
    data: OneConnectionData

    signal = "TERM"
    """Sent to a command that takes too long."""

    def __init__(self, state: Any, host: Any) -> None:
        super().__init__(state, host)
        self._lock = threading.RLock()
        self._slots = threading.BoundedSemaphore(CHANNELS)
        self._wires: list[Wire] = []

    # ---- connection

    def connect(self) -> None:
        """Connect; raises ConnectError with one line that says why not and what to do."""
        with self._lock:
            self._connect_with_retries()

    def disconnect(self) -> None:
        """Close the connection."""
        with self._lock:
            if self.client is not None:
                self.client.close()
                self.client = None

    def _connect_with_retries(self) -> None:
        for left in range(int(self.data["ssh_connect_retries"]), -1, -1):
            try:
                return self._connect()
            except ConnectError:
                if not left:
                    raise
            time.sleep(float(self.data["ssh_connect_retry_min_delay"]))
        return None

    def _connect(self) -> None:
        client = Client()
        self.client = client
        timeout = float(self.state.config.CONNECT_TIMEOUT or 10)
        arguments: dict[str, Any] = {}
        host = self.data["ssh_hostname"] or self.host.name
        try:
            arguments = self.make_paramiko_kwargs()
            host = arguments.pop("hostname")
            own = {"transport_factory": open_transport, "banner_timeout": timeout, "auth_timeout": 3 * timeout}
            arguments["_pyinfra_ssh_paramiko_connect_kwargs"] = {
                **own,
                **(self.data["ssh_paramiko_connect_kwargs"] or {}),
            }
            try:
                client.connect(host, **arguments)
            except SSHException as error:
                if not self._retry_paramiko_agent_keys(host, arguments, error):
                    raise
            self._adopt(host)
        except (OSError, SSHException, EOFError, PyinfraError) as error:
            if self.client is not None:
                self.client.close()
            self.client = None
            config: dict[str, Any] = getattr(client, "_ssh_config", None) or {}
            raise ConnectError(
                connect_failure(
                    error,
                    host=host,
                    port=int(config.get("port") or arguments.get("port") or 22),
                    user=str(config.get("username") or self.data["ssh_user"] or getpass.getuser()),
                    key=self.data["ssh_key"],
                    known_hosts=client.known_hosts,
                    timeout=timeout,
                )
            ) from None

    def _adopt(self, host: str) -> None:
        assert self.client is not None
        transport = self.client.get_transport()
        assert transport is not None
        if isinstance(self.client, Client):
            self.client.remember_host_key(host)
        if isinstance(transport.sock, Wire):
            self._wires.append(transport.sock)
            watch(transport, float(self.data["ssh_silence_seconds"]))

    def _ensure_connected(self) -> None:
        """Connect again if the connection is dead. Raises LostConnectionError."""
        with self._lock:
            transport = self.client.get_transport() if self.client is not None else None
            if transport is not None and transport.is_active():
                return
            try:
                self._connect()
            except ConnectError as error:
                raise LostConnectionError(str(error)) from None

    # ---- commands

    def _run(
        self,
        line: str,
        *,
        stdin: bytes = b"",
        timeout: float | None = None,
        pty: bool = False,
        print_output: bool = False,
        nested: bool = False,
    ) -> RemoteOutput:
        """Run one command line as it stands. A broken connection is told by `output.lost` and one line of stderr.

        `nested`: while another command waits for this one, which therefore needs no slot of its own.

        Raises CommandTimeoutError.
        """
        started = time.monotonic()
        lines: list[OutputLine] = []
        take = collect(lines, self._show if print_output else None)
        stdout, stderr = Lines("stdout", self._decode, take), Lines("stderr", self._decode, take)
        try:
            end = self._channel(
                lambda channel: converse(
                    channel,
                    line,
                    stdin=stdin,
                    on_stdout=stdout.feed,
                    on_stderr=stderr.feed,
                    timeout=timeout,
                    pty=pty,
                    signal=self.signal,
                ),
                nested=nested,
            )
        except LostConnectionError as error:
            take("stderr", [str(error)])
            return RemoteOutput(lines, lost=True, seconds=time.monotonic() - started)
        stdout.end()
        stderr.end()
        output = RemoteOutput(lines, end.exit_code, end.timed_out, end.lost, time.monotonic() - started)
        if end.timed_out:
            take("stderr", [f"the command took longer than {timeout:g} s and was ended"])
            raise CommandTimeoutError(timeout or 0, output)
        if end.exit_code is None:
            take("stderr", [self._why_no_status(end)])
        return output

    def _why_no_status(self, end: End) -> str:
        if end.lost:
            return (
                f"the connection to {self.host.name} broke while the command ran ({self._last_words()});"
                " whether it finished there is not known"
            )
        return f"the command on {self.host.name} was killed: it ended without an exit status"

    def _last_words(self) -> str:
        transport = self.client.get_transport() if self.client is not None else None
        wire = getattr(transport, "sock", None)
        if isinstance(wire, Wire) and wire.given_up:
            return wire.given_up
        error = getattr(transport, "saved_exception", None)
        return in_one_line(error) if error is not None and str(error) else "closed by the host"

    def _channel(self, work: Callable[[Channel], _T], *, nested: bool = False) -> _T:
        """Do `work` on a channel of its own; connects anew first if the connection is dead, or dies of the opening.

        Raises LostConnectionError.
        """
        with nullcontext() if nested else self._slots:
            channel = self._fresh_channel(self._open)
            try:
                return work(channel)
            finally:
                channel.close()
                self._count()

    @contextmanager
    def _sftp(self) -> Iterator[Sftp]:
        """An SFTP client on a channel of its own. Raises LostConnectionError if the connection breaks in it."""
        with self._slots:

            def open_client() -> Sftp:
                channel = self._open()
                channel.invoke_subsystem("sftp")
                return Sftp(channel)

            client = self._fresh_channel(open_client)
            try:
                yield client
            except (SSHException, EOFError) as error:
                reason = in_one_line(error) if str(error) else self._last_words()
                raise LostConnectionError(f"the connection to {self.host.name} broke ({reason})") from None
            finally:
                client.close()
                self._count()

    def _fresh_channel(self, opener: Callable[[], _T]) -> _T:
        """Open a channel, on a second connection if the first one turns out to be dead: nothing was asked of the host
        yet, so nothing can be done twice. Raises LostConnectionError."""
        try:
            return opener()
        except ChannelException as error:
            raise LostConnectionError(f"{self.host.name} refuses another channel: {in_one_line(error)}") from None
        except (SSHException, EOFError, OSError):
            self._give_up()
        try:
            return opener()
        except (SSHException, EOFError, OSError) as error:
            raise LostConnectionError(f"{self.host.name} opens no channel: {in_one_line(error)}") from None

    def _open(self) -> Channel:
        for pause in (*_REFUSED_PAUSES, None):
            self._ensure_connected()
            assert self.client is not None
            transport = self.client.get_transport()
            assert transport is not None
            try:
                return open_channel(transport)
            except ChannelException:
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError

    def _give_up(self) -> None:
        with self._lock:
            if self.client is not None:
                self.client.close()

    def _count(self) -> None:
        data = self.host.connector_data
        data["round_trips"] = data.get("round_trips", 0) + 1
        data["bytes_sent"] = sum(wire.sent for wire in self._wires)
        data["bytes_received"] = sum(wire.received for wire in self._wires)

    # ---- the screen

    def _decode(self, line: bytes) -> str:
        """A line that is not UTF-8."""
        return line.decode("utf-8", "backslashreplace")

    def _show(self, name: str, line: str) -> None:
        echo(f"{self.host.print_prefix}{format_text(line, 'red') if name == 'stderr' else line}", err=True)

    def _failed(self, line: str, print_output: bool) -> tuple[bool, RemoteOutput]:
        """A command that was not run: pyinfra prints the line of a failed command, unless it printed all already."""
        if print_output:
            self._show("stderr", line)
        return False, RemoteOutput([OutputLine("stderr", line)])

    def _say(self, line: str) -> bool:
        """A file that was not carried; False, for `put_file` and `get_file` to return."""
        self.host.log_styled(line, fg="red")
        return False


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
