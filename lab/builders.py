"""Join the Windows half of the lab (package lab.windows) to the rest."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lab import faults, network
from lab.cache import Report, remove_tree
from lab.host import MB, Host, mount
from lab.model import HostRecord, LabError
from lab.state import write_atomic

if TYPE_CHECKING:  # imported on demand: a lab without Windows hosts does not need it
    from lab.windows.host import WindowsHost
    from lab.windows.trees import WindowsTrees

FIRST_ADDRESS = 101
USER = "builder"
KEY_FILES = ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub")


def record(prefix: str, index: int) -> HostRecord:
    """The record of Windows host number `index` (from 1) in the network with `prefix`."""
    return HostRecord(f"w{index}", f"{prefix}{FIRST_ADDRESS + index - 1}", 22, USER, "windows")


class Windows:
    """The downloaded and built parts of every Windows host."""

    def __init__(self, trees: WindowsTrees) -> None:
        self.trees = trees

    @classmethod
    def prepare(cls, cache: Path, report: Report) -> Windows:
        """Download and build what is missing. LabError if that fails."""
        from lab.windows.trees import ensure

        return cls(ensure(cache, lambda line: report(line.removeprefix("==> "))))

    def toolchains(self) -> dict[str, dict[str, dict[str, str]]]:
        """The toolchain archives: kind -> version -> file and sha256."""
        return self.trees.toolchains()

    def host(self, lab: str, record: HostRecord, directory: Path, key_pub: str, disk_mb: int | None) -> Builder:
        """The host of that record. It may not exist or run yet."""
        return Builder(lab, record, directory, self.trees, key_pub, disk_mb)


class Builder(Host):
    """A Windows host: Wine behind an SSH server that runs commands like Windows' own."""

    def __init__(
        self, lab: str, record: HostRecord, directory: Path, trees: WindowsTrees, key_pub: str, disk_mb: int | None
    ) -> None:
        super().__init__(lab, record, directory)
        self._trees = trees
        self._key_pub = key_pub
        self.disk_mb = disk_mb
        self._machine = directory / "machine"
        self._keys = directory / "keys"
        self._ready = directory / "ready.json"

    @property
    def windows(self) -> WindowsHost:
        """The host in the Windows half of the lab."""
        from lab.windows.host import WindowsHost

        return WindowsHost.load(self._machine, cgroup=self.cgroup.unified)

    @property
    def drive_c(self) -> Path:
        """Drive C: as a folder of this machine."""
        return self.windows.drive_c

    def ensure(self) -> bool:
        if not self._made():
            self.destroy()
            self._make()
        elif self._serves():
            return False
        elif self.running():
            self.thaw()
            faults.clear(self.lab, self.name)
            if self._serves():
                return True
            # Partly started: an unrecorded service would conflict with the one that is started now.
            self.stop()
        self.boot()
        return True

    def _serves(self) -> bool:
        """Whether its SSH service answers and is the recorded one: a killed start may leave another."""
        return self.running() and self.is_up() and self.windows.is_up()

    def _made(self) -> bool:
        try:
            return bool(json.loads(self._ready.read_text()) == self._spec() and (network.NETNS / self.netns).exists())
        except (OSError, ValueError):
            return False

    def _spec(self) -> dict[str, object]:
        parts = {"wine": str(self._trees.wine.root), "template": str(self._trees.template)}
        parts["programs"] = str(self._trees.programs)
        return {**parts, "disk_mb": self.disk_mb, "address": self.address, "key": self._key_pub}

    def _make(self) -> None:
        self.dir.mkdir(parents=True, exist_ok=True)
        network.add_host_netns(self.lab, self.name, self.address)
        self._make_machine()
        write_atomic(self._ready, json.dumps(self._spec()))

    def _make_machine(self) -> None:
        from lab.windows.host import WindowsHost

        made = WindowsHost.create(
            self._machine,
            self.netns,
            self.address,
            self._key_pub,
            self._trees,
            self.disk_mb,
            cgroup=self.cgroup.unified,
        )
        ssh = made.drive_c / "ProgramData/ssh"
        source, there = (self._keys, ssh) if self._keys.exists() else (ssh, self._keys)  # the key survives `reset`
        part = there if there is ssh else self.dir / ".keys"
        part.mkdir(exist_ok=True)
        for name in KEY_FILES:
            shutil.copy2(source / name, part / name)
        if part != there:
            part.rename(there)

    def known_hosts_line(self) -> str:
        return f"{self.address} {(self._keys / KEY_FILES[1]).read_text().strip()}\n"

    def stop(self) -> None:
        """End every process of the host and of its helpers, and remove their cgroups."""
        self.cgroup.kill()
        self.cgroup.remove()
        clear_leftovers(self.dir)

    def destroy(self) -> None:
        self.stop()
        faults.end_latency(self.lab, self.name)
        network.del_host_netns(self.lab, self.name)
        self._ready.unlink(missing_ok=True)
        remove_tree(self._machine)

    def boot(self) -> None:
        faults.clear(self.lab, self.name)
        self.cgroup.create()
        if not self.running():
            clear_leftovers(self.dir)
        self.windows.start()

    def run(self, command: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        if not self.running():
            raise LabError(f"host {self.name}: does not run; boot it first")
        try:
            return self.windows.run(command, check=check, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise LabError(
                f"host {self.name}: {command}: not finished after {timeout:.0f} s; is the host frozen?"
            ) from None

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        file = self.drive_c / path.replace("\\", "/").removeprefix("C:/").removeprefix("c:/")
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")  # not in place: a fresh host shares files with others
        part.write_bytes(data)
        part.rename(file)

    def stop_sshd(self) -> None:
        """End only the SSH service: connections break, their commands die, Windows continues."""
        self.windows.kill_sshd()

    def start_sshd(self) -> None:
        """Start the SSH service again."""
        self.windows.start_sshd()

    def _disk(self) -> Path:
        if self.disk_mb is None:
            raise LabError(
                f"host {self.name}: has no disk of its own; make one: "
                f"python -m lab up --name {self.lab} --builder-disk-mb 4096"
            )
        return self.drive_c / "gofallback"

    def fill_disk(self, leave_mb: int = 0) -> None:
        disk = self._disk()
        for _ in range(20):
            # A tmpfs cannot be smaller than its contents, and a process may write at this moment.
            with contextlib.suppress(LabError):
                return self._resize(disk, leave_mb)
        return self._resize(disk, leave_mb)

    def _resize(self, disk: Path, leave_mb: int) -> None:
        mount("-o", f"remount,size={shutil.disk_usage(disk).used + leave_mb * MB}", str(disk))

    def free_disk(self) -> None:
        mount("-o", f"remount,size={self.disk_mb}m", str(self._disk()))

    def reset(self) -> None:
        self.stop()
        remove_tree(self._machine)
        self._make_machine()
        self.boot()
        self.wait_up()


def clear_leftovers(directory: Path) -> None:
    """Remove the files of a killed Wine outside its host's folder, if `directory` is a Windows host's."""
    prefix = directory / "machine" / "prefix"
    if prefix.exists():
        from lab.windows.wine import forget_server

        forget_server(prefix)
