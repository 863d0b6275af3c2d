"""The peers of a run that changes nothing: an Ansible playbook with the same content, and plain `ssh host true`."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from bench.fleet import Fleet, environment
from bench.model import BenchError
from lab.cache import step

HERE = Path(__file__).parent
LOCK = HERE / "requirements.lock"


class Ansible:
    """ansible-core in a virtual environment of its own, and its playbook on the lab's targets.

    Args:
        fleet: the lab.
        binary: the file that it copies, the same that the product released.
    """

    def __init__(self, fleet: Fleet, binary: Path) -> None:
        self._fleet = fleet
        self._bin = _install(fleet.folder) / "bin"
        self._sockets = fleet.folder / "ansible-sockets"
        self._sockets.mkdir(exist_ok=True)
        self._inventory = fleet.folder / "ansible-hosts.json"
        self._inventory.write_text(json.dumps(self._hosts(binary)))

    @property
    def version(self) -> str:
        """The version of ansible-core."""
        shown = subprocess.run([self._bin / "ansible", "--version"], check=True, capture_output=True, text=True).stdout
        found = re.search(r"core (\S+)\]", shown)
        return found.group(1) if found else "?"

    def converge(self) -> None:
        """Run until nothing is left to change. Raises BenchError."""
        self._play()
        if self._play():
            raise BenchError("ansible: the playbook changes something in its second run; no comparison is possible")

    def no_op(self, *, keep_connections: bool) -> float:
        """Measure a run that changes nothing, in seconds.

        Args:
            keep_connections: use the connections that an earlier run left open for a minute (ControlPersist).
        """
        if not keep_connections:
            self.disconnect()
        started = time.monotonic()
        changed = self._play()
        seconds = time.monotonic() - started
        if changed:
            raise BenchError("ansible: a run that should change nothing did")
        return seconds

    def disconnect(self) -> None:
        """Close the connections that ssh keeps open for Ansible."""
        for socket in self._sockets.iterdir():
            command = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "-"]
            subprocess.run(command, check=False, capture_output=True)

    def _play(self) -> bool:
        """Run the playbook; return whether it changed anything."""
        env = {**environment(), "ANSIBLE_CONFIG": str(HERE / "ansible" / "ansible.cfg")}
        env |= {
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._sockets),
            "ANSIBLE_LOCAL_TEMP": str(self._fleet.folder / "tmp"),
        }
        command = [str(self._bin / "ansible-playbook"), "-i", str(self._inventory), "playbook.yml"]
        done = subprocess.run(command, cwd=HERE / "ansible", env=env, check=False, capture_output=True, text=True)
        recap = re.findall(r"ok=\d+\s+changed=(\d+)", done.stdout)
        if done.returncode != 0 or len(recap) != len(self._fleet.lab.targets):
            tail = " | ".join((done.stdout + done.stderr).strip().splitlines()[-6:])
            raise BenchError(f"ansible-playbook: exit status {done.returncode}: {tail}")
        return any(int(count) for count in recap)

    def _hosts(self, binary: Path) -> dict[str, object]:
        lab = self._fleet.lab
        common = {
            "ansible_user": lab.targets[0].record.user,
            "ansible_ssh_private_key_file": str(lab.file.key),
            # The first part is Ansible's own default.
            "ansible_ssh_args": f"-C -o ControlMaster=auto -o ControlPersist=60s -F none"
            f" -o UserKnownHostsFile={lab.file.known_hosts} -o IdentitiesOnly=yes",
            "binary": str(binary),
        }
        hosts = {host.name: {"ansible_host": host.address} for host in lab.targets}
        return {"targets": {"hosts": hosts, "vars": common}}


def _install(folder: Path) -> Path:
    """Make the virtual environment with the pinned ansible-core, once for each content of the lock file."""
    home = folder / f"ansible-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:8]}"
    if not (home / "complete").exists():
        with step("ansible-core into an environment of its own"):
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
            install = [str(home / "bin/pip"), "install", "--quiet", "--require-hashes", "-r", str(LOCK)]
            subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
            (home / "complete").touch()
    return home


def floor(fleet: Fleet) -> float:
    """Measure one `ssh host true` on every target, all at once, in seconds.

    Raises BenchError if one of them fails.
    """
    commands = [["ssh", *fleet.ssh_options(), f"{h.record.user}@{h.address}", "true"] for h in fleet.lab.targets]
    started = time.monotonic()
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
    codes = [process.wait() for process in running]
    seconds = time.monotonic() - started
    if any(codes):
        raise BenchError(f"ssh host true: exit status {max(codes)}")
    return seconds
