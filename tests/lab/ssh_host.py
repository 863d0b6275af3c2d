"""A host for the connector tests: one of a lab, or a real Windows machine of yours."""

from __future__ import annotations

import os
import runpy
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from lab.cache import cache_dir
from lab.host import Host
from tests.lab.controller import Controller
from tests.lab.programs import go

REAL_WINDOWS = os.environ.get("GOFALLBACK_WINDOWS")
"""An inventory file whose first `@winssh` host the Windows tests are to use instead of the lab's."""


@dataclass(frozen=True)
class SshHost:
    """A host as pyinfra's inventory has it, and as the lab has it."""

    name: str
    data: dict[str, Any]
    lab: Lab | None = None

    @property
    def machine(self) -> Host:
        """The lab's host, to do things to it; skips the test on a real machine."""
        if self.lab is None:
            pytest.skip("does things to the host that are for the lab only")
        return self.lab.hosts[0]

    @property
    def connector(self) -> str:
        return self.name.split("/")[0]

    def controller(self, name: str = "", config: dict[str, Any] | None = None, **data: Any) -> Controller:
        """A controller with a connection of its own; `data` is changed host data."""
        return Controller(f"{self.connector}/{name}" if name else self.name, self.data | data, config)


@contextmanager
def lab_host(name: str, *, windows: bool) -> Iterator[SshHost]:
    """The only host of a fresh lab."""
    with Lab.up(name, targets=0 if windows else 1, builders=1 if windows else 0) as lab:
        host = lab.hosts[0]
        data = {
            "ssh_user": host.record.user,
            "ssh_key": str(lab.file.key),
            "ssh_known_hosts_file": str(lab.file.known_hosts),
            "ssh_strict_host_key_checking": "yes",
        }
        yield SshHost(f"@{'win' if windows else 'lin'}ssh/{host.address}", data, lab)


def real_windows(inventory: str) -> SshHost:
    """The first `@winssh` host of an inventory file. Raises LookupError if it has none."""
    for group in runpy.run_path(inventory).values():
        hosts, shared = (group[0], group[1]) if isinstance(group, tuple) and isinstance(group[0], list) else (group, {})
        for one in hosts if isinstance(hosts, list) else []:
            name, data = one if isinstance(one, tuple) else (one, {})
            if isinstance(name, str) and name.startswith("@winssh/"):
                return SshHost(name, {**shared, **data})
    raise LookupError(f"{inventory}: no host @winssh/... in it")


@cache
def windows_probe() -> Path:
    """tests/lab/probe, built for Windows."""
    program = cache_dir() / "test-programs" / "probe.exe"
    program.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOOS": "windows",
        "GOARCH": "amd64",
        "GOFLAGS": "-buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOCACHE": str(cache_dir() / "test-programs" / "gocache"),
    }
    command = [str(go()), "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), "."]
    subprocess.run(command, cwd=Path(__file__).parent / "probe", env=environment, check=True)
    return program
