"""The requirements on the machine: refuse it in one line, or install what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab.cache import Report, print_progress, step
from lab.model import LabError

OS_RELEASE = "GOFALLBACK_OS_RELEASE"
"""Environment variable: another os-release file, for tests."""

COMMANDS = {
    "git": "git",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "systemd-nspawn": "systemd-container",
}
FILES = {"/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring"}

INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_PER_HOST = 8  # measured: systemd 5, dbus 1, logind 1
INOTIFY_WANTED = 1024


def check_machine() -> None:
    """Raise LabError unless this is root on a Debian or Ubuntu whose kernel has what the lab needs."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes network namespaces, mounts and cgroups; run it with sudo")
    _check_system()
    _check_kernel()


def _check_system() -> None:
    path = Path(os.environ.get(OS_RELEASE) or "/etc/os-release")
    values = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        key, _, value = line.partition("=")
        values[key] = value.strip().strip("\"'")
    family = {values.get("ID", ""), *values.get("ID_LIKE", "").split()}
    if not family & {"debian", "ubuntu"}:
        name = values.get("PRETTY_NAME") or values.get("ID") or f"no {path}"
        raise LabError(
            f"the lab runs on Debian or Ubuntu, this is {name}; use a virtual machine with Debian 12 or newer"
        )


def _check_kernel() -> None:
    if "\toverlay" not in _filesystems():
        subprocess.run(["modprobe", "-q", "overlay"], check=False, capture_output=True)
        if "\toverlay" not in _filesystems():
            raise LabError("the kernel has no overlay filesystem; expected CONFIG_OVERLAY_FS: modprobe overlay")
    if "\tcgroup2" not in _filesystems():
        raise LabError("the kernel has no cgroup2; expected Linux 5.2 or newer with CONFIG_CGROUPS")
    if not Path("/proc/self/ns/net").exists():
        raise LabError("the kernel has no network namespaces; expected CONFIG_NET_NS")


def _filesystems() -> str:
    return Path("/proc/filesystems").read_text()


def install_packages(report: Report = print_progress) -> None:
    """Install the Debian packages of missing commands. LabError with apt's message if that fails."""
    missing = {package for command, package in COMMANDS.items() if shutil.which(command, path=_search_path()) is None}
    missing |= {package for file, package in FILES.items() if not Path(file).exists()}
    if not missing:
        return
    names = sorted(missing)
    with step(f"packages {' '.join(names)} (apt-get)", report):
        _apt("update")
        _apt("install", "--yes", "--no-install-recommends", *names)


def _search_path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _apt(*args: str) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", *args]
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        output = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise LabError(f"{' '.join(command)}: ended with {done.returncode}: {output}")


def raise_limits(hosts: int, report: Report = print_progress) -> None:
    """Allow enough inotify instances for `hosts` more hosts: the kernel's default of 128 is enough for about 18."""
    allowed = int(INOTIFY.read_text())
    if allowed >= max(INOTIFY_WANTED, hosts * INOTIFY_PER_HOST + 256):
        return
    wanted = max(INOTIFY_WANTED, hosts * INOTIFY_PER_HOST + 256)
    try:
        INOTIFY.write_text(str(wanted))
    except OSError:
        if hosts * INOTIFY_PER_HOST + 64 > allowed:
            raise LabError(
                f"{INOTIFY} is {allowed}, {hosts} hosts need {wanted}, and it cannot be written here; "
                f"on the machine itself: sysctl fs.inotify.max_user_instances={wanted}"
            ) from None
        return
    report(f"fs.inotify.max_user_instances {allowed} -> {wanted} until the machine restarts")


def download_package(name: str, folder: Path) -> None:
    """Download a Debian package into a folder without installing it. LabError with apt's message if that fails."""
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        _apt("update")
        done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0 or not list(folder.glob("*.deb")):
        output = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise LabError(f"{' '.join(command)}: ended with {done.returncode}: {output}")
