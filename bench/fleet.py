"""The measured lab, and the product's commands on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import repository
from bench.model import BenchError
from lab import Lab
from lab.cache import cache_dir
from lab.host import Host

ROOT = Path(__file__).resolve().parent.parent
TARGETS = 10
PYTHON = ("python3",)
"""Packages that Ansible needs on its targets; the product needs none of them."""


def environment() -> dict[str, str]:
    """This process's environment, but Python may store compiled code, as for a user."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Done:
    """One run of a pyinfra command.

    Args:
        seconds: time of the whole command.
        report: the run's report.json.
    """

    seconds: float
    report: dict[str, Any]
    output: str

    @property
    def round_trips(self) -> int:
        """Round trips of the busiest host, after connecting."""
        return max(self.report["round_trips"].values(), default=0)

    @property
    def verdict(self) -> str:
        """The verdict of the run."""
        return str(self.report["verdict"])

    def stage(self, name: str) -> float:
        """Seconds of one stage, from its first operation to its last; 0 if there was none."""
        spans = [span for stage in self.report["stages"] if stage["name"] == name for span in stage["spans"]]
        return max((s["end"] for s in spans), default=0.0) - min((s["start"] for s in spans), default=0.0)


@dataclass
class Fleet:
    """A running lab, and a controller's home of its own that is empty at the start."""

    lab: Lab
    folder: Path = field(default_factory=lambda: cache_dir() / "bench")
    inventory: str = "bench/inventory.py"
    own: dict[str, str] = field(default_factory=dict)
    """Further environment of every command."""

    @classmethod
    def up(cls, name: str) -> Fleet:
        """Start the lab (ten targets with Python, one Windows host) and empty the controller's home."""
        fleet = cls(Lab.up(name, targets=TARGETS, builders=1, packages=PYTHON))
        repository.make(fleet.repository)
        fleet.forget("")
        return fleet

    @property
    def repository(self) -> Path:
        """The measured service's git repository."""
        return self.folder / "hello.git"

    @property
    def home(self) -> Path:
        """The product's own folder on the controller."""
        return self.folder / "home"

    @property
    def builder(self) -> Host:
        """The Windows host."""
        return self.lab.builders[0]

    def forget(self, what: str) -> None:
        """Empty the controller's home, or one folder in it."""
        shutil.rmtree(self.home / what, ignore_errors=True)

    def fresh(self, hosts: Iterable[Host]) -> None:
        """Reset hosts; return when they are up and idle."""
        for host in hosts:
            host.reset()
        time.sleep(1)

    def run(
        self, deploy: str, *, targets: int | None = None, expect: Iterable[str] = ("done", "unchanged"), **data: str
    ) -> Done:
        """Run `pyinfra -y inventory deploys/<deploy>.py --data key=value`, on the first `targets` only if given.

        Raises BenchError if it fails, or if its verdict is not in `expect`.
        """
        limit = [arg for host in self.lab.targets[:targets] for arg in ("--limit", host.name)] if targets else []
        values = [arg for key, value in data.items() for arg in ("--data", f"{key}={value}")]
        pyinfra = str(Path(sys.executable).with_name("pyinfra"))
        argv = [pyinfra, "-y", self.inventory, f"deploys/{deploy}.py", *limit, *values]
        before = set(self._reports())
        started = time.monotonic()
        done = subprocess.run(argv, cwd=ROOT, env=self._env(), check=False, capture_output=True, text=True)
        seconds = time.monotonic() - started
        output = done.stdout + done.stderr
        if done.returncode != 0:
            tail = " | ".join(line.strip() for line in output.splitlines()[-8:] if line.strip())
            raise BenchError(f"{' '.join(argv[1:])}: exit status {done.returncode}: {tail}")
        new = set(self._reports()) - before
        if len(new) != 1:
            raise BenchError(f"{' '.join(argv[1:])}: it wrote {len(new)} reports, expected 1")
        found = Done(seconds, json.loads(new.pop().read_text()), output)
        if found.verdict not in expect:
            raise BenchError(f"{' '.join(argv[1:])}: ended with `{found.verdict}`, expected {' or '.join(expect)}")
        return found

    def _reports(self) -> list[Path]:
        return list((self.home / "runs").glob("*/report.json"))

    def _env(self) -> dict[str, str]:
        own = {
            "GOFALLBACK_LAB": self.lab.name,
            "GOFALLBACK_HOME": str(self.home),
            "GOFALLBACK_BENCH_REPOSITORY": str(self.repository),
            "PYINFRA_PROGRESS": "off",
        }
        return {**environment(), **own, **self.own}

    def ssh_options(self) -> list[str]:
        """Options that let OpenSSH's clients reach the lab, without the user's own configuration."""
        options = {
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.lab.file.known_hosts),
        }
        given = [arg for key, value in options.items() for arg in ("-o", f"{key}={value}")]
        return ["-F", "none", "-i", str(self.lab.file.key), *given]
