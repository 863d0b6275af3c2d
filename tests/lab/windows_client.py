"""A bare paramiko client for the lab's Windows hosts: what any SSH client sees, without the product's connector."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import paramiko

from lab import Lab


@dataclass(frozen=True)
class Result:
    """What one command gave back; `code` is unsigned, 32 bits."""

    code: int
    out: str
    err: str


class Client:
    """One SSH connection to one host of `lab`."""

    def __init__(self, lab: Lab, name: str) -> None:
        host = lab.host(name)
        self.ssh = paramiko.SSHClient()
        self.ssh.load_host_keys(str(lab.file.known_hosts))
        self.ssh.connect(
            host.address, username="builder", key_filename=str(lab.file.key), look_for_keys=False, allow_agent=False
        )

    def start(self, command: str) -> paramiko.Channel:
        """Start `command` and return its channel at once."""
        transport = self.ssh.get_transport()
        assert transport is not None
        channel = transport.open_session()
        channel.exec_command(command.encode())
        return channel

    def run(self, command: str, timeout: float = 300) -> Result:
        """Run `command` to its end, both streams read, within `timeout` seconds."""
        channel = self.start(command)
        channel.settimeout(timeout)
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda: errors.extend(iter(lambda: channel.recv_stderr(65536), b"")))
        reader.start()
        out = b"".join(iter(lambda: channel.recv(65536), b""))
        reader.join()
        return Result(channel.recv_exit_status(), out.decode(), b"".join(errors).decode())

    def ok(self, command: str, timeout: float = 300) -> str:
        """Run `command`, insist on code 0, return its standard output."""
        result = self.run(command, timeout)
        assert result.code == 0, f"{command}: {result}"
        return result.out

    def drop(self) -> None:
        """Break the connection as a dead client would: no goodbye."""
        transport = self.ssh.get_transport()
        assert transport is not None
        transport.sock.close()


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether `condition` becomes true within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False
