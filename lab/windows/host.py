"""One Windows host of the lab: its disk (a Wine prefix), its SSH service, from boot to removal."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncssh

from lab.windows.errors import WindowsLabError
from lab.windows.process import run
from lab.windows.sshd import ServerConfig
from lab.windows.trees import WindowsTrees
from lab.windows.wine import USER, Wine, clone_template, forget_server, raise_open_files

REPOSITORY = Path(__file__).resolve().parents[2]
DATA_FOLDER = "gofallback"
"""C:\\gofallback, the only folder of the product; a disk of its own if the host is made with `disk_mb`."""
BOOT_SECONDS = 60.0


@dataclass(frozen=True)
class WindowsHost:
    """A host with its state in `dir`. Its processes run in network namespace `netns` (None: this machine's own).

    If `cgroup` (a cgroup v2 folder) is given, all processes are put into it, so the caller can end them all.
    """

    dir: Path
    address: str
    wine: Wine
    netns: str | None = None
    port: int = 22
    disk_mb: int | None = None
    cgroup: Path | None = None

    @property
    def prefix(self) -> Path:
        """The Wine prefix."""
        return self.dir / "prefix"

    @property
    def drive_c(self) -> Path:
        """Drive C: as a folder of this machine."""
        return self.prefix / "drive_c"

    @property
    def log(self) -> Path:
        """Log of the SSH service's own errors."""
        return self.dir / "sshd.log"

    @property
    def host_key(self) -> str:
        """The public host key, one line `ssh-ed25519 ...`, for a known_hosts file."""
        return (self.drive_c / "ProgramData/ssh/ssh_host_ed25519_key.pub").read_text().strip()

    @classmethod
    def create(
        cls,
        dir: Path,
        netns: str | None,
        address: str,
        key_pub: str,
        trees: WindowsTrees,
        disk_mb: int | None = None,
        *,
        port: int = 22,
        cgroup: Path | None = None,
    ) -> "WindowsHost":
        """Make a fresh, stopped host in the new folder `dir`; `key_pub` may log in as `builder`.

        `disk_mb`: size in MiB of the disk behind C:\\gofallback; None: it is on this machine's own disk.
        """
        if dir.exists():
            raise WindowsLabError(f"{dir}: exists already; destroy that host first")
        dir.mkdir(parents=True)
        host = cls(dir, address, trees.wine, netns, port, disk_mb, cgroup)
        clone_template(trees.template, host.prefix)
        _install_programs(trees.programs, host.drive_c)
        ssh = host.drive_c / "ProgramData/ssh"
        ssh.mkdir(parents=True)
        (ssh / "administrators_authorized_keys").write_text(key_pub.strip() + "\n")
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(ssh / "ssh_host_ed25519_key"))
        key.write_public_key(str(ssh / "ssh_host_ed25519_key.pub"))
        record = {"address": address, "netns": netns, "port": port, "disk_mb": disk_mb, "wine": str(trees.wine.root)}
        (dir / "host.json").write_text(json.dumps(record, indent=1) + "\n")
        return host

    @classmethod
    def load(cls, dir: Path, *, cgroup: Path | None = None) -> "WindowsHost":
        """The host that `create` made in `dir`, running or not."""
        try:
            record = json.loads((dir / "host.json").read_text())
        except FileNotFoundError as error:
            raise WindowsLabError(f"{dir}: no Windows host there; create it first") from error
        wine = Wine(Path(record["wine"]))
        return cls(dir, record["address"], wine, record["netns"], record["port"], record["disk_mb"], cgroup)

    def start(self) -> None:
        """Boot the host: its disk, its Wine, its SSH service. Return when port and service answer."""
        if self.is_up():
            return
        self.mount_disk()
        self.start_sshd()

    def start_sshd(self) -> None:
        """Start the SSH service (and Wine, if it does not run); wait until it listens."""
        ready = self.dir / "sshd.ready"
        ready.unlink(missing_ok=True)
        config = ServerConfig(self.address, self.port, str(self.prefix), str(self.wine.root), str(ready))
        (self.dir / "sshd.json").write_text(json.dumps(asdict(config)) + "\n")
        with self.log.open("ab") as log:
            server = subprocess.Popen(
                self._inside([*self._named(), sys.executable, "-m", "lab.windows.sshd", str(self.dir / "sshd.json")]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                cwd=self.dir,
                start_new_session=True,
                preexec_fn=self._enter,
            )
        (self.dir / "sshd.pid").write_text(f"{server.pid}\n")
        deadline = time.monotonic() + BOOT_SECONDS
        while not ready.exists():
            if server.poll() is not None:
                raise WindowsLabError(f"Windows host {self.address}: its SSH service ended at start; see {self.log}")
            if time.monotonic() > deadline:
                raise WindowsLabError(
                    f"Windows host {self.address}: not up within {BOOT_SECONDS:.0f} s; see {self.log}"
                )
            time.sleep(0.02)

    def _named(self) -> list[str]:
        """A command prefix that gives the host its own computer name, at most 15 letters for NetBIOS."""
        name = "WIN-" + "-".join(self.address.split(".")[2:])
        return ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]

    def _inside(self, command: Sequence[str]) -> list[str]:
        return [*(["ip", "netns", "exec", self.netns] if self.netns else []), *command]

    def _enter(self) -> None:
        if self.cgroup is not None:
            (self.cgroup / "cgroup.procs").write_text("0")
        raise_open_files()

    def _server_pid(self) -> int | None:
        """The process id of the service, if that process is alive and belongs to this host."""
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int((self.dir / "sshd.pid").read_text())
            if str(self.dir / "sshd.json").encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    def is_up(self) -> bool:
        """Whether the SSH service runs and listens. It checks the process, so it also works with a cut network."""
        return self._server_pid() is not None and (self.dir / "sshd.ready").exists()

    def kill_sshd(self) -> None:
        """Kill the SSH service: connections break and their commands die. Windows continues."""
        pid = self._server_pid()
        (self.dir / "sshd.ready").unlink(missing_ok=True)
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _wait_gone(pid)

    def stop(self) -> None:
        """Switch the host off: end all its processes, keep its disk."""
        self.kill_sshd()
        self.wine.kill(self.prefix)
        self.wine.end_strays(self.prefix)
        forget_server(self.prefix)

    def destroy(self) -> None:
        """Switch the host off and remove it, even if it is incomplete."""
        self.stop()
        self.unmount_disk()
        run(["rm", "-rf", "--one-file-system", self.dir], f"remove {self.dir}")

    def mount_disk(self) -> None:
        """Mount the disk of `disk_mb` behind C:\\gofallback, unless it is mounted."""
        folder = self.drive_c / DATA_FOLDER
        if self.disk_mb is None or folder.is_mount():
            return
        folder.mkdir(exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", f"size={self.disk_mb}m", "gofallback", folder], f"mount {folder}")

    def unmount_disk(self) -> None:
        """Unmount the disk behind C:\\gofallback; its contents are lost."""
        folder = self.drive_c / DATA_FOLDER
        if folder.is_mount():
            run(["umount", "-l", folder], f"unmount {folder}")

    def run(self, command: str, *, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a `cmd` line like the SSH service, but without SSH: for the lab itself and for tests.

        `timeout` in seconds. With `check`, an exit code other than 0 raises `WindowsLabError`.
        """
        state = self.drive_c / "ProgramData/ssh/lab"
        result = state / f"direct-{os.getpid()}-{time.monotonic_ns()}.rc"
        machine = r"C:\ProgramData\ssh\lab"
        extra = {"SSHEXEC_COMMAND": command, "SSHEXEC_RESULT": rf"{machine}\{result.name}"}
        extra["SSHEXEC_MACHINE"] = rf"{machine}\machine.env"
        done = subprocess.run(
            self._inside([str(self.wine.program), r"C:\windows\system32\OpenSSH\sshexec.exe"]),
            env={**self.wine.environment(self.prefix), **extra},
            cwd=self.drive_c / "users" / USER,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            preexec_fn=self._enter,
        )
        code = int(result.read_text()) if result.exists() else 255
        result.unlink(missing_ok=True)
        if check and code != 0:
            raise WindowsLabError(
                f"{self.address}: `{command}` ended with {code}: {(done.stderr or done.stdout).strip()}"
            )
        return subprocess.CompletedProcess(command, code, done.stdout, done.stderr)


def _install_programs(programs: Path, drive_c: Path) -> None:
    """Hard-link launcher, stand-ins and curl into system32 (no host writes to them)."""
    system32 = drive_c / "windows/system32"
    (system32 / "OpenSSH").mkdir(exist_ok=True)
    places = [(programs / "sshexec.exe", system32 / "OpenSSH/sshexec.exe")]
    places += [(programs / name, system32 / name) for name in ("tar.exe", "certutil.exe")]
    places += [(file, system32 / file.name) for file in (programs / "curl").iterdir()]
    for source, place in places:
        place.unlink(missing_ok=True)
        place.hardlink_to(source)


def _wait_gone(pid: int, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.01)
