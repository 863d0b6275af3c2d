"""A Linux target: real systemd and sshd in systemd-nspawn, on an overlay of the shared tree, in its own namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lab import faults, network
from lab.cache import mount_table, mounts_below, remove_tree
from lab.cgroup import HostCgroup
from lab.host import MB, Host, mount
from lab.linux import clock
from lab.model import HostRecord, LabError
from lab.state import write_atomic

KEEP = Path(__file__).with_name("keep.sh")
DEPLOY_UID = 1000
NSPAWN = Path("/run/systemd/nspawn/propagate")

# Without a user namespace, nspawn mounts cgroup v1 controllers read-only: systemd would accept MemoryMax= and similar
# and not enforce them. So the first process is a shell that makes them writable and then becomes systemd.
FIRST_PROCESS_V1 = (
    "for c in memory pids cpu cpuacct blkio; do "
    "mount -o remount,rw,bind,nosuid,nodev,noexec /sys/fs/cgroup/$c 2>/dev/null; done; "
    "exec /lib/systemd/systemd"
)


class LinuxHost(Host):
    """One target. Its disk is a tmpfs of `disk_mb` MB: it can be full, and it survives a kill of the host."""

    def __init__(self, lab: str, record: HostRecord, directory: Path, tree: Path, disk_mb: int, key_pub: str) -> None:
        super().__init__(lab, record, directory)
        self.tree = tree
        self.disk_mb = disk_mb
        self._key_pub = key_pub
        self.root = directory / "root"
        self._disk = directory / "disk"
        self._ready = directory / "ready.json"
        self._keeper = HostCgroup(lab, f"{record.name}.keep", everywhere=False)

    # -- making and ending ---------------------------------------------------------------------------------------

    def ensure(self) -> bool:
        if not self._made():
            self.destroy()
            self._make()
        elif self.running() and self.is_up():
            return False
        elif self.running():  # cut, frozen or slow: left over from an earlier command
            self.thaw()
            faults.clear(self.lab, self.name)
            return True
        self.boot()
        return True

    def _made(self) -> bool:
        try:
            recorded = json.loads(self._ready.read_text())
        except (OSError, ValueError):
            return False
        mounted = {point for _, point in mount_table()}
        return bool(recorded == self._spec() and str(self.root) in mounted and (network.NETNS / self.netns).exists())

    def _spec(self) -> dict[str, object]:
        return {"tree": str(self.tree), "disk_mb": self.disk_mb, "address": self.address, "key": self._key_pub}

    def _make(self) -> None:
        for folder in (self.root, self._disk):
            folder.mkdir(parents=True, exist_ok=True)
        self._make_disk()
        network.add_host_netns(self.lab, self.name, self.address)
        write_atomic(self._ready, json.dumps(self._spec()))

    def _make_disk(self) -> None:
        # The source of the mounts contains the lab's name, so `down` finds them without any record.
        mount("-t", "tmpfs", "-o", f"size={self.disk_mb}m,mode=755", self.netns, str(self._disk))
        upper, work = self._disk / "upper", self._disk / "work"
        upper.mkdir()
        work.mkdir()
        layers = f"lowerdir={self.tree},upperdir={upper},workdir={work}"
        mount("-t", "overlay", "-o", layers, self.netns, str(self.root))
        self._furnish()

    def _furnish(self) -> None:
        """Write the files that differ from host to host: name, keys."""
        etc = self.root / "etc"
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{self.address} {self.name}\n")
        host_key = etc / "ssh" / "ssh_host_ed25519_key"
        private, public = self._host_key()
        host_key.touch(mode=0o600)
        host_key.write_bytes(private)
        host_key.with_suffix(".pub").write_text(public)
        for home, uid in ((self.root / "root", 0), (self.root / "home/deploy", DEPLOY_UID)):
            ssh = home / ".ssh"
            ssh.mkdir(mode=0o700, exist_ok=True)
            (ssh / "authorized_keys").write_text(self._key_pub + "\n")
            for path in (ssh, ssh / "authorized_keys"):
                os.chown(path, uid, uid)

    def _host_key(self) -> tuple[bytes, str]:
        """The host's own SSH key, made once. It survives `reset`."""
        private, public = self.dir / "ssh_host_key", self.dir / "ssh_host_key.pub"
        if not public.exists():
            pair = new_key()
            private.touch(mode=0o600)
            private.write_bytes(pair[0])
            write_atomic(public, pair[1] + "\n")
        return private.read_bytes(), public.read_text()

    def known_hosts_line(self) -> str:
        return f"{self.address} {self._host_key()[1]}"

    def stop(self) -> None:
        """End every process of the host and of its helpers, and remove their cgroups."""
        for cgroup in (self._keeper, self.cgroup, HostCgroup(self.lab, f"{self.name}.relay", everywhere=False)):
            cgroup.kill()
            cgroup.remove()

    def destroy(self) -> None:
        self.stop()
        network.del_host_netns(self.lab, self.name)
        self._ready.unlink(missing_ok=True)
        self._drop_disk()

    def _drop_disk(self) -> None:
        for point in mounts_below(self.dir):
            _unmount(point)
        forget_machines(self.netns)

    # -- the Host interface --------------------------------------------------------------------------------------

    def boot(self) -> None:
        if self.running():
            return
        self._keeper.kill()
        self.cgroup.create()
        self.cgroup.empty_below()
        self._keeper.create()
        faults.clear(self.lab, self.name)
        groups = self.dir / "cgroups"
        groups.write_text("".join(f"{path}\n" for path in self.cgroup.paths))
        # setsid --fork: the keeper is no child of this process, so it outlives it and leaves no zombie.
        command = ["setsid", "--fork", "/bin/sh", str(KEEP), str(self._keeper.unified), str(groups), *self._nspawn()]
        with (self.dir / "console.log").open("ab") as log:
            subprocess.run(
                command,
                check=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **self._nspawn_env()},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _nspawn(self) -> list[str]:
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--machine={self.netns}"]
        command += [f"--directory={self.root}", f"--network-namespace-path={network.NETNS / self.netns}"]
        command += [f"--hostname={self.name}", "--capability=CAP_NET_ADMIN,CAP_NET_RAW", "--console=pipe"]
        command += ["--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        if self.cgroup.hybrid:
            return [*command, "--kill-signal=SIGRTMIN+3", "--", "/bin/sh", "-c", FIRST_PROCESS_V1]
        return [*command, "--boot"]

    def _nspawn_env(self) -> dict[str, str]:
        env = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}  # /proc/sys/net belongs to the host
        if not self.cgroup.hybrid:
            env["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"
        return env

    def first_process(self) -> int:
        """The process id of the host's systemd on this machine. LabError if it does not run."""
        for pid in self.cgroup.procs():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            inside = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
            if len(inside) > 1 and inside[-1] == "1":
                return pid
        raise LabError(
            f"host {self.name}: does not run; start it: python -m lab fault --name {self.lab} {self.name} boot"
        )

    def is_up(self, timeout: float = 1.0) -> bool:
        if not super().is_up(timeout):
            return False
        try:  # sshd listens a moment before other users than root may log in (pam_nologin)
            return not Path(f"/proc/{self.first_process()}/root/run/nologin").exists()
        except LabError:
            return False

    def run(self, command: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return self._enter(["/bin/sh", "-c", command], None, check, timeout)

    def _enter(
        self, argv: list[str], data: str | None, check: bool, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "--target", str(self.first_process()), "--all", "--"]
        env = [
            "/usr/bin/env",
            "-i",
            "--chdir=/root",
            "HOME=/root",
            "USER=root",
            "LC_ALL=C.UTF-8",
            "TERM=dumb",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
        try:
            done = subprocess.run(
                [*enter, *env, *argv],
                input=data,
                check=False,
                capture_output=True,
                text=True,
                timeout=timeout,
                errors="surrogateescape",
                stdin=subprocess.DEVNULL if data is None else None,
            )
        except subprocess.TimeoutExpired:
            raise LabError(
                f"host {self.name}: {shlex.join(argv)}: not finished after {timeout:.0f} s; is the host frozen?"
            ) from None
        if check and done.returncode != 0:
            output = (done.stderr or done.stdout).strip()[-500:]
            raise LabError(f"host {self.name}: {shlex.join(argv)}: exit status {done.returncode}, expected 0: {output}")
        return done

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        script = f'umask 022; mkdir -p "$(dirname "$0")" && cat > "$0" && chmod {mode:o} "$0"'
        self._enter(["/bin/sh", "-c", script, path], data.decode("utf-8", "surrogateescape"), True, 120)

    def reboot(self) -> None:
        self.run("systemctl reboot", check=False)

    def set_clock(self, seconds: float) -> None:
        if seconds == 0:
            self.run(f"rm -f {clock.FILE} {clock.DATE}")
            return
        self.put(clock.DATE, clock.DATE_SCRIPT.encode(), 0o755)
        self.put(clock.FILE, f"{seconds:.0f}\n".encode())

    def fill_disk(self, leave_mb: int = 0) -> None:
        # The disk shrinks to its contents: no space is left, as after writing it full, and no memory is used.
        used = shutil.disk_usage(self._disk).used
        mount("-o", f"remount,size={used + leave_mb * MB}", str(self._disk))

    def free_disk(self) -> None:
        mount("-o", f"remount,size={self.disk_mb}m", str(self._disk))

    def reset(self) -> None:
        self.stop()
        self._drop_disk()
        if self._made_but_for_disk():
            self._make_disk()
        else:
            self.destroy()
            self._make()
        self.boot()
        self.wait_up()

    def _made_but_for_disk(self) -> bool:
        return self._ready.exists() and (network.NETNS / self.netns).exists()


def recorded_tree(directory: Path) -> Path | None:
    """The tree of the host in `directory`, or None if the host was not made."""
    try:
        return Path(json.loads((directory / "ready.json").read_text())["tree"])
    except (OSError, ValueError, KeyError):
        return None


def new_key() -> tuple[bytes, str]:
    """Make an ed25519 key pair in OpenSSH's format: private file, public line."""
    key = Ed25519PrivateKey.generate()
    formats = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, *formats)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, public.decode()


def clear_leftovers(directory: Path) -> None:
    """Remove a host's folder and all mounts below it."""
    for point in mounts_below(directory):
        _unmount(point)
    remove_tree(directory)


def forget_machines(names: str) -> None:
    """Remove the empty folders that systemd-nspawn leaves, one per host; `names` is a glob pattern."""
    for folder in NSPAWN.glob(names):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _unmount(point: Path) -> None:
    for _ in range(50):  # a process that was just killed may hold it for a moment
        if subprocess.run(["umount", str(point)], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.02)
    subprocess.run(["umount", "-l", str(point)], check=False, capture_output=True)
