"""One SSH client to one target, in a process of its own: `python -m bench.wire_child product|paramiko '{...}'`.

Reads one JSON order on each line and answers with seconds. They are measured here, without the pipe to the parent.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol


class Wire(Protocol):
    """An SSH client under measurement."""

    def connect(self) -> None:
        """Open the connection."""

    def close(self) -> None:
        """Close it."""

    def command(self, line: str) -> None:
        """Run a command line and wait for its exit status, which is 0."""

    def upload(self, local: str, remote: str) -> None:
        """Send a file."""


class Product:
    """The product's connector, as pyinfra uses it."""

    def __init__(self, data: dict[str, str]) -> None:
        from pyinfra.api.config import Config
        from pyinfra.api.inventory import Inventory
        from pyinfra.api.state import State

        host = {
            "ssh_hostname": data["address"],
            "ssh_user": data["user"],
            "ssh_key": data["key"],
            "ssh_known_hosts_file": data["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
        }
        self._state = State(Inventory(([("@linssh/target", host)], {})), Config())  # type: ignore[no-untyped-call]
        self._host = next(iter(self._state.inventory))

    def connect(self) -> None:
        self._host.connect(raise_exceptions=True)

    def close(self) -> None:
        self._host.disconnect()

    def command(self, line: str) -> None:
        ok, _ = self._host.run_shell_command(line)
        assert ok

    def upload(self, local: str, remote: str) -> None:
        assert self._host.put_file(local, remote)


class Paramiko:
    """Plain paramiko, with TCP_NODELAY."""

    def __init__(self, data: dict[str, str]) -> None:
        import paramiko

        self._data = data
        self._client = paramiko.SSHClient()
        self._client.load_host_keys(data["known_hosts"])

    def connect(self) -> None:
        sock = socket.create_connection((self._data["address"], 22))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.connect(
            self._data["address"],
            username=self._data["user"],
            key_filename=self._data["key"],
            sock=sock,
            allow_agent=False,
            look_for_keys=False,
        )

    def close(self) -> None:
        self._client.close()

    def command(self, line: str) -> None:
        transport = self._client.get_transport()
        assert transport is not None
        channel = transport.open_session()
        channel.exec_command(line)
        assert channel.recv_exit_status() == 0
        channel.close()

    def upload(self, local: str, remote: str) -> None:
        with self._client.open_sftp() as sftp:
            sftp.put(local, remote)


def serve(wire: Wire) -> None:
    """Execute orders until standard input ends."""
    wire.connect()
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(_obey(wire, order)), flush=True)
    wire.close()


def _obey(wire: Wire, order: dict[str, Any]) -> list[float]:
    local, remote = order.get("local", ""), order.get("remote", "")

    def from_nothing() -> None:
        wire.connect()
        wire.upload(local, remote)

    match order["do"]:
        case "commands":
            return [_timed(lambda: wire.command(order["line"])) for _ in range(order["count"])]
        case "upload":
            return [_timed(lambda: wire.upload(local, remote))]
        case "connect and upload":
            wire.close()
            return [_timed(from_nothing)]
        case other:
            raise ValueError(other)


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    what, given = sys.argv[1], json.loads(sys.argv[2])
    if what == "product":
        from gevent import monkey

        monkey.patch_all()  # as pyinfra does
        serve(Product(given))
    else:
        serve(Paramiko(given))
