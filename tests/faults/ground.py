"""The lab, controllers on it, and what its targets really run: looked at on their disks, not asked over SSH."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import Lab
from lab.etcd import Etcd
from lab.linux.host import LinuxHost
from lab.stock import stock
from tests.faults.model import CellError, Command
from tests.lab.fleet import PYINFRA, Running
from tests.paths import PROJECT

SERVICE = "hello"
VERSIONS = ("v1.0.0", "v1.1.0")
INVENTORY = PROJECT / "tests" / "lab" / "fleet_inventory.py"
WINDOW, TTL = 8, 6
ROLLOUT: dict[str, Any] = {
    "canary": 1,
    "waves": [1, "100%"],
    "pause": 1.0,
    "confirm_window": WINDOW,
    "lease_ttl": TTL,
    "activate_timeout": 30,
}
HEALTH = {"start_deadline": 8, "interval": 0.1, "minimum_healthy": 1.0, "timeout": 1}
END_TIMEOUT = 240.0
"""Seconds after which a command that has not ended is a failure of the cell."""


@dataclass
class Controller:
    """A controller: a home of its own, and the commands a person gives there."""

    lab: str
    home: Path
    rollout: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)
    hello: dict[str, Any] = field(default_factory=dict)
    """What differs from the service's own group data."""
    hosts: dict[str, Any] = field(default_factory=dict)
    """Data of single targets."""

    def start(self, deploy: str, **data: str) -> Running:
        """Start `pyinfra -y INVENTORY deploys/<deploy>.py --data key=value`."""
        self.home.mkdir(parents=True, exist_ok=True)
        file = self.home / f"data-{time.monotonic_ns()}.json"
        hello = {**self.hello, "health": {**HEALTH, **self.hello.get("health", {})}}
        file.write_text(json.dumps({"hello": hello, "rollout": self.rollout, "hosts": self.hosts}))
        environment = {
            **os.environ,
            "GOFALLBACK_LAB": self.lab,
            "GOFALLBACK_HOME": str(self.home),
            "GOFALLBACK_TEST_DATA": str(file),
            "PYINFRA_PROGRESS": "off",
            **self.environment,
        }
        words = [word for key, value in data.items() for word in ("--data", f"{key}={value}")]
        yes = [] if deploy == "status" else ["-y"]
        return Running([str(PYINFRA), *yes, str(INVENTORY), f"deploys/{deploy}.py", *words], environment)

    def run(self, deploy: str, **data: str) -> Command:
        """Run one to its end."""
        return ended(" ".join([deploy, *(f"{key}={value}" for key, value in data.items())]), self.start(deploy, **data))

    def runs(self) -> list[Path]:
        """The folder of each run that began here, the oldest first."""
        folder = self.home / "runs"
        return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.exists() else []

    def report(self) -> dict[str, Any]:
        """The newest report; empty if there is none."""
        for run in reversed(self.runs()):
            with contextlib.suppress(OSError, ValueError):
                found: dict[str, Any] = json.loads((run / "report.json").read_text())
                return found
        return {}


def ended(what: str, running: Running) -> Command:
    """Wait for a command's end. CellError if it does not come."""
    try:
        result = running.end(END_TIMEOUT)
    except AssertionError:
        running.kill()
        tail = " | ".join(running.lines[-6:])
        raise CellError(f"{what}: no end after {END_TIMEOUT:.0f} s: {tail}") from None
    return Command(what, result.code, result.output)


@dataclass
class Ground:
    """One lab, and everything a cell stands on."""

    lab: Lab
    folder: Path
    rollout: dict[str, Any] = field(default_factory=lambda: dict(ROLLOUT))
    etcd: Etcd | None = None
    hello: dict[str, Any] = field(default_factory=dict)
    """What every controller's group data has for the service."""

    @classmethod
    def up(cls, name: str, folder: Path, targets: int = 4, versions: tuple[str, ...] = VERSIONS) -> Ground:
        """Raise the lab, fill the artifact store."""
        lab = Lab.up(name, targets=targets, builders=0)
        stock(folder / "store", versions, clock=True)
        return cls(lab, folder)

    @property
    def targets(self) -> list[LinuxHost]:
        """The targets."""
        return self.lab.targets

    def controller(self, **environment: str) -> Controller:
        """A new controller that knows the artifacts and nothing else."""
        home = self.folder / f"home-{secrets.token_hex(3)}"
        home.mkdir(parents=True)
        for shared in ("artifacts", "keys"):  # what another controller of the same environment has as well
            (home / shared).symlink_to(self.folder / "store" / shared)
        return Controller(self.lab.name, home, dict(self.rollout), environment, self.hello)

    def version(self, host: LinuxHost) -> str:
        """The version that is live on a target's disk, "" for none; works whatever the host or its link is like."""
        try:
            release = str((host.root / "opt" / SERVICE / "current").readlink())
        except OSError:
            return ""
        return release.rpartition("/")[2].rpartition("-")[0]

    def versions(self) -> dict[str, str]:
        """That of every target."""
        return {host.name: self.version(host) for host in self.targets}

    def record(self, host: LinuxHost) -> dict[str, Any]:
        """The agent's record on a target's disk."""
        try:
            found: dict[str, Any] = json.loads(
                (host.root / "var/lib/gofallback" / SERVICE / "outcome.json").read_text()
            )
        except (OSError, ValueError):
            return {}
        return found

    def answer(self, host: LinuxHost, timeout: float = 3.0) -> str:
        """What the service says about itself over the network."""
        try:
            with urllib.request.urlopen(f"http://{host.address}:8080/healthz", timeout=timeout) as reply:
                return str(reply.read().decode().strip())
        except (urllib.error.URLError, OSError) as error:
            return f"no answer: {error}"

    def heal(self) -> None:
        """No fault, every host up."""
        for host in self.targets:
            host.boot()
            host.thaw()
            host.uncut()
            host.latency(0)
            host.loss(0)
            host.free_disk()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: host.wait_up(), self.targets))
        for host in self.targets:
            host.set_clock(0)

    def settle(self) -> tuple[str, str]:
        """Every target whole and on one version: that version, and the other one. CellError if it cannot be had."""
        self.heal()
        if not self._calm():
            self._anew()
        current = self.version(self.targets[0])
        return current, next(version for version in VERSIONS if version != current)

    def _calm(self) -> bool:
        if set(self.versions().values()) == {""}:
            return self._first()
        current = self.version(self.targets[0])
        return all(self.answer(host) == f"ok {current}" and self.idle(host) for host in self.targets)

    def _first(self) -> bool:
        first = Controller(self.lab.name, self.controller().home, {"canary": 0})
        return first.run("rollout", version=VERSIONS[0]).code == 0

    def _anew(self) -> None:
        for host in self.targets:
            host.reset()
        if not self._first():
            raise CellError("the first release could not be made on fresh targets")

    def idle(self, host: LinuxHost) -> bool:
        """Whether a target has nothing left to do or to undo by itself."""
        if self.record(host).get("state") in ("intended", "provisional", "running"):
            return False
        left = host.root / "etc/systemd/system"
        return not list(left.glob(f"gofallback-*-{SERVICE}.*"))

    def wait_idle(self, seconds: float) -> bool:
        """Wait until every target is idle; False if one is not in time."""
        end = time.monotonic() + seconds
        while not all(self.idle(host) for host in self.targets):
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def another_release(self) -> None:
        """From now on each version is another release than any before: its files have to be uploaded anew."""
        self.hello = {"unit": {"environment": {"HELLO_ADDR": ":8080", "HELLO_CELL": secrets.token_hex(4)}}}

    def use_etcd(self, wanted: bool) -> None:
        """Whether the next rollouts hold their lease in etcd too."""
        self.rollout = dict(ROLLOUT)
        if wanted:
            if self.etcd is None:
                self.etcd = Etcd.start(self.lab)
            self.rollout["lease"] = self.etcd.url()

    def down(self) -> None:
        """End the lab, forget the controllers."""
        self.lab.down()
        shutil.rmtree(self.folder, ignore_errors=True)
