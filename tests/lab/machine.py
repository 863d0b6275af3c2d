"""What a lab may leave on the machine, looked at without the lab's own code."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lab import Lab
from lab.cli import ssh_command
from tests.paths import PROJECT


def traces(name: str) -> list[str]:
    """Everything on this machine that bears the lab's name: processes, mounts, namespaces, interfaces, cgroups."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            groups = (process / "cgroup").read_text()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state == "Z":  # dead; the machine's first process has yet to notice
            continue
        if f"gofallback-{name}" in groups or any(f"gf{name}-".encode() in word for word in words):
            found.append(f"process {b' '.join(words).decode(errors='replace')}")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if f"gf{name}-" in line or f"/labs/{name}/" in line]
    found += [f"namespace {path}" for path in Path("/run/netns").glob(f"gf{name}-*")]
    found += [f"interface {path}" for path in Path("/sys/class/net").glob(f"gf{name}*")]
    # os.walk, unlike glob, bears with cgroups of other labs that go while it looks
    found += [f"cgroup {at}" for at, folders, _ in os.walk("/sys/fs/cgroup") if f"gofallback-{name}" in folders]
    found += [f"left by nspawn {path}" for path in Path("/run/systemd/nspawn/propagate").glob(f"gf{name}-*")]
    return found


def ssh(lab: Lab, host: str, command: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    """Run a command over SSH as the product's user would."""
    words = [*ssh_command(lab.file, host), command]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=timeout)


def kill_start(name: str, seconds: float, *, targets: int, builders: int = 0) -> None:
    """Start a lab in a process of its own, and end that with SIGKILL after so many seconds."""
    words = [sys.executable, "-m", "lab", "up", "--name", name, "--targets", str(targets), "--builders", str(builders)]
    start = subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    start.kill()
    start.wait()


def boot_id(lab: Lab, host: str) -> str:
    """What changes with each boot of a host."""
    return lab.host(host).run("journalctl --list-boots --quiet | tail -n 1 | tr -s ' ' | cut -d' ' -f3").stdout.strip()
