"""The records of a lab: its folder in the cache, and an entry in /run, so a name is used once per machine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.cache import Report, cache_dir, locked
from lab.model import LabError, LabFile, check_name

RUN = Path("/run/gofallback-lab")
"""Registry of running labs. It is on tmpfs: after a reboot of the machine no lab runs, and none is listed."""

NETWORKS = [f"10.77.{third}.0/24" for third in range(256)]


class State:
    """The folder of one lab and the files in it."""

    def __init__(self, name: str) -> None:
        self.name = check_name(name)
        self.dir = cache_dir() / "labs" / name
        self.file = self.dir / "lab.json"
        self.key = self.dir / "id_ed25519"
        self.known_hosts = self.dir / "known_hosts"
        self.example = self.dir / "example.git"
        self.switch_ready = self.dir / "switch-ready"

    def host_dir(self, host: str) -> Path:
        """The folder of one host."""
        return self.dir / "hosts" / host

    def exists(self) -> bool:
        """Whether this lab has a folder."""
        return self.dir.exists()

    def read(self) -> LabFile:
        """Read lab.json. LabError if it is missing or not readable."""
        try:
            return LabFile.from_json(json.loads(self.file.read_text()))
        except FileNotFoundError:
            raise LabError(f"lab {self.name}: does not exist; start it: python -m lab up --name {self.name}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(f"{self.file}: not readable ({error}); python -m lab down --name {self.name}") from None

    def write(self, lab: LabFile) -> None:
        """Write lab.json atomically."""
        write_atomic(self.file, json.dumps(lab.to_json(), indent=1) + "\n")

    @contextmanager
    def lock(self, report: Report) -> Iterator[None]:
        """Let only one command at a time start or end this lab."""
        RUN.mkdir(mode=0o755, exist_ok=True)
        with locked(RUN / f"{self.name}.lock", f"lab {self.name}", report):
            yield

    def claim(self, report: Report) -> str:
        """Register this lab's name and a free network; return the network. Call it with the lock held."""
        with locked(RUN / "networks.lock", "networks of labs", report):
            self.check_ours()
            entry = RUN / f"{self.name}.json"
            if entry.exists():
                return str(json.loads(entry.read_text())["network"])
            network = next((net for net in NETWORKS if net not in _taken()), None)
            if network is None:
                raise LabError("no free network in 10.77.0.0/16: end a lab: python -m lab down --all")
            write_atomic(entry, json.dumps({"dir": str(self.dir), "network": network}))
            return network

    def check_ours(self) -> None:
        """Raise LabError if a lab of this name runs from another cache."""
        entry = RUN / f"{self.name}.json"
        owner = json.loads(entry.read_text())["dir"] if entry.exists() else str(self.dir)
        if owner != str(self.dir) and Path(owner).exists():
            cache = Path(owner).parent.parent
            raise LabError(
                f"lab {self.name}: runs already from {owner}, not from {self.dir.parent}; expected another --name, "
                f"or GOFALLBACK_CACHE={cache}"
            )

    def claimed(self) -> bool:
        """Whether this lab is registered since the machine was started."""
        entry = RUN / f"{self.name}.json"
        return entry.exists() and json.loads(entry.read_text())["dir"] == str(self.dir)

    def unclaim(self) -> None:
        """Remove the registration of name and network."""
        (RUN / f"{self.name}.json").unlink(missing_ok=True)


def lab_names() -> list[str]:
    """Labs with a folder in this cache."""
    root = cache_dir() / "labs"
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.exists() else []


def write_atomic(path: Path, text: str, mode: int = 0o644) -> None:
    """Write `text` beside `path` and rename it: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.touch(mode=mode)
    part.write_text(text)
    part.rename(path)


def _taken() -> set[str]:
    """Networks of other labs, and networks that this machine routes for another reason."""
    taken = {json.loads(entry.read_text())["network"] for entry in RUN.glob("*.json")}
    routes = subprocess.run(["ip", "-4", "route", "show", "table", "all"], check=True, capture_output=True, text=True)
    for line in routes.stdout.splitlines():
        for word in line.split()[:2]:
            octets = word.split("/")[0].split(".")
            if len(octets) == 4 and octets[:2] == ["10", "77"]:
                taken.add(f"10.77.{octets[2]}.0/24")
    return taken
