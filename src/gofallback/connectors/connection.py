"""One SSH connection for each host: clear errors, a timeout for idle hosts, reconnects, counted bytes."""

from __future__ import annotations

import getpass
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from paramiko import Channel, ChannelException, SSHException, Transport
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.connectors.base import DataMeta
from pyinfra.connectors.ssh import ConnectorData, SSHConnector, connector_data_meta

from gofallback.connectors.failures import connect_failure, in_one_line
from gofallback.connectors.sftp import Sftp
from gofallback.connectors.transport import HOST_TIMEOUT, Client, Wire, open_transport, watch

CHANNELS = 8
"""Commands at once on one connection: sshd's default of MaxSessions is 10, and it frees a session a moment late."""
OPEN_SECONDS = 30.0
"""How long a server may take to open a channel."""
_REFUSED_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)

_T = TypeVar("_T")


class OneConnectionData(ConnectorData):
    """pyinfra's host data for SSH, and gofallback's."""

    ssh_silence_seconds: int


class LostConnectionError(Exception):
    """The connection broke, or a reconnect failed; one line for a person."""


class OneConnection(SSHConnector):
    """pyinfra's SSH connector with one lean, watched connection.

    Counts in `host.connector_data`: `round_trips` (commands and file transfers) and `bytes_sent`, `bytes_received` (on
    the wire, over all connections of the host).
    """

    data_cls = OneConnectionData  # type: ignore[assignment]
    data_meta: dict[str, DataMeta] = {  # noqa: RUF012 - pyinfra declares it so
        **connector_data_meta,
        "ssh_silence_seconds": DataMeta("Seconds without a sign of life after which a host is given up", HOST_TIMEOUT),
    }
    data: OneConnectionData

    def __init__(self, state: Any, host: Any) -> None:
        super().__init__(state, host)
        self._lock = threading.RLock()
        self._slots = threading.BoundedSemaphore(CHANNELS)
        self._wires: list[Wire] = []

    def connect(self) -> None:
        """Connect. Raises ConnectError: one line with the cause and the remedy."""
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
            self._watch(host)
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

    def _watch(self, host: str) -> None:
        transport = self._transport()
        assert transport is not None
        if isinstance(self.client, Client):
            self.client.remember_host_key(host)
        if isinstance(transport.sock, Wire):
            self._wires.append(transport.sock)
            watch(transport, float(self.data["ssh_silence_seconds"]))

    def _ensure_connected(self) -> None:
        """Connect again if the connection is dead. Raises LostConnectionError."""
        with self._lock:
            transport = self._transport()
            if transport is not None and transport.is_active():
                return
            try:
                self._connect()
            except ConnectError as error:
                raise LostConnectionError(str(error)) from None

    def _transport(self) -> Transport | None:
        return self.client.get_transport() if self.client is not None else None

    def _broken_reason(self) -> str:
        transport = self._transport()
        wire = getattr(transport, "sock", None)
        if isinstance(wire, Wire) and wire.close_reason:
            return wire.close_reason
        error = getattr(transport, "saved_exception", None)
        return in_one_line(error) if error is not None and str(error) else "closed by the host"

    def _channel(self, work: Callable[[Channel], _T], *, nested: bool = False) -> _T:
        """Do `work` on a channel of its own; reconnects first if the connection is dead, also if the opening shows it.

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
                reason = in_one_line(error) if str(error) else self._broken_reason()
                raise LostConnectionError(f"the connection to {self.host.name} broke ({reason})") from None
            finally:
                client.close()
                self._count()

    def _fresh_channel(self, opener: Callable[[], _T]) -> _T:
        """Open a channel, after a reconnect if the connection turns out to be dead: the host has done nothing yet, so
        that nothing is done twice. Raises LostConnectionError."""
        before = self._transport()
        try:
            return opener()
        except (SSHException, EOFError, OSError) as error:
            timed_out = "timeout opening" in str(error).lower()
            if before is not None and before.is_active() and not timed_out:
                raise LostConnectionError(f"{self.host.name} refuses a channel: {in_one_line(error)}") from None
        if before is not None:
            before.close()  # without an answer it is dead; another greenlet may have reconnected meanwhile
        try:
            return opener()
        except (SSHException, EOFError, OSError) as error:
            raise LostConnectionError(f"{self.host.name} opens no channel: {in_one_line(error)}") from None

    def _open(self) -> Channel:
        for pause in (*_REFUSED_PAUSES, None):
            self._ensure_connected()
            transport = self._transport()
            assert transport is not None
            try:
                return transport.open_session(timeout=OPEN_SECONDS)
            except ChannelException:
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError

    def _count(self) -> None:
        data = self.host.connector_data
        data["round_trips"] = data.get("round_trips", 0) + 1
        data["bytes_sent"] = sum(wire.sent for wire in self._wires)
        data["bytes_received"] = sum(wire.received for wire in self._wires)
