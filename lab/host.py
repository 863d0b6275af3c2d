"""The common interface of a lab's hosts, Linux and Windows, with their faults."""

from __future__ import annotations

import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

from lab import faults, network
from lab.cgroup import HostCgroup
from lab.model import HostRecord, LabError

MB = 1 << 20


def mount(*args: str) -> None:
    """Run mount(8). LabError with its message if it fails."""
    done = subprocess.run(["mount", *args], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"mount {' '.join(args)}: {done.stderr.strip()}; expected overlay and tmpfs in this kernel")


class Host(ABC):
    """One host of a running lab.

    Arguments:
        lab: the lab's name.
        record: name, address and user, as in lab.json.
        directory: the host's own folder in the cache.
    """

    def __init__(self, lab: str, record: HostRecord, directory: Path) -> None:
        self.lab = lab
        self.record = record
        self.dir = directory
        self.name = record.name
        self.address = record.address
        self.netns = network.namespace(lab, record.name)
        self.cgroup = HostCgroup(lab, record.name)

    @abstractmethod
    def ensure(self) -> bool:
        """Make or repair the host and start it. Return before it is up, and False if nothing had to be done."""

    @abstractmethod
    def destroy(self) -> None:
        """Remove the host with its disk, if it exists."""

    @abstractmethod
    def known_hosts_line(self) -> str:
        """The host's line for a known_hosts file, with the newline."""

    @abstractmethod
    def run(self, command: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command line on the host, without SSH, so it also works while the link is cut.

        Raises LabError if `check` and the exit status is not 0, or after `timeout` seconds.
        """

    @abstractmethod
    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file on the host, with the folders above it."""

    @abstractmethod
    def boot(self) -> None:
        """Start the host with the same disk and a whole link, unless it runs. Return before it is up."""

    @abstractmethod
    def fill_disk(self, leave_mb: int = 0) -> None:
        """Fill the host's disk, except `leave_mb` MB (2**20 bytes)."""

    @abstractmethod
    def free_disk(self) -> None:
        """Undo `fill_disk`."""

    @abstractmethod
    def reset(self) -> None:
        """Make the host again from nothing, with its name, address and SSH host key. Return when it is up."""

    def reboot(self) -> None:
        """Shut the host down cleanly and start it again. Return at once. LabError if it is no Linux target."""
        raise LabError(f"host {self.name}: reboot: expected a Linux target")

    def set_clock(self, seconds: float) -> None:
        """Set the host's clock ahead by seconds (see lab.linux.clock); 0 ends it. LabError if it is no Linux target."""
        raise LabError(f"host {self.name}: clock: expected a Linux target")

    def running(self) -> bool:
        """Whether the host has processes (it may still be booting, frozen or cut off)."""
        return self.cgroup.populated()

    def cut(self) -> None:
        """Pull the network cable: packets vanish without an error."""
        faults.set_link(self.lab, self.name, up=False)

    def uncut(self) -> None:
        """Put the cable back."""
        faults.set_link(self.lab, self.name, up=True)

    def latency(self, ms: float) -> None:
        """Delay each packet to and from the host by `ms` milliseconds; 0 ends it."""
        faults.set_latency(self.lab, self.name, ms)

    def loss(self, percent: int) -> None:
        """Drop that part of all packets, each way, at random; 0 ends it."""
        faults.set_loss(self.lab, self.name, percent)

    def freeze(self) -> None:
        """Stop every process: the kernel accepts connections, and nothing answers."""
        self.cgroup.freeze()

    def thaw(self) -> None:
        """Continue the processes of a frozen host."""
        self.cgroup.thaw()

    def kill(self) -> None:
        """Pull the power plug: cut the network, then kill every process. `boot` starts the host again."""
        self.cut()
        self.cgroup.kill()

    def is_up(self, timeout: float = 1.0) -> bool:
        """Whether the host's sshd answers the controller within `timeout` seconds."""
        return self.answers(self.address, self.record.port, timeout)

    @staticmethod
    def answers(address: str, port: int, timeout: float = 1.0) -> bool:
        """Whether an SSH server answers at that address within `timeout` seconds."""
        try:
            with socket.create_connection((address, port), timeout) as connection:
                connection.settimeout(timeout)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def wait_up(self, timeout: float = 60.0) -> None:
        """Wait until `is_up`. LabError after `timeout` seconds, or at once if the host ended."""
        deadline = time.monotonic() + timeout
        while not self.is_up():
            if not self.running() and time.monotonic() > deadline - timeout + 2:
                raise LabError(f"host {self.name}: ended; expected it to run; {self.console_end()}")
            if time.monotonic() > deadline:
                raise LabError(
                    f"host {self.name}: no SSH on {self.address}:{self.record.port} after {timeout:.0f} s; "
                    f"is it cut, frozen or full? {self.console_end()}"
                )
            time.sleep(0.03)

    def console_end(self) -> str:
        """The last line of the host's console, for error messages."""
        log = self.dir / "console.log"
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        output = [line.strip() for line in lines if line.strip()]
        return f"its console ends: {output[-1]}" if output else f"its console {log} is empty"
