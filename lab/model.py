"""The parts of a lab as plain data, and the one error that every part of the lab raises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

NAME = re.compile(r"[a-z0-9]{1,6}")
"""A lab's name becomes part of interface names, which Linux cuts at 15 characters (IFNAMSIZ)."""

SUITES = ("bookworm", "trixie", "bullseye")
DEFAULT_SUITE = "bookworm"
DEFAULT_TARGET_DISK_MB = 2048
MAX_TARGETS = 80
MAX_BUILDERS = 20


class LabError(Exception):
    """One line for the user: what went wrong, where, what was expected, what to do."""


def check_name(name: str) -> str:
    """Return `name`; raise LabError if it is no valid name of a lab."""
    if NAME.fullmatch(name):
        return name
    raise LabError(f"lab name {name!r}: expected 1 to 6 of a-z and 0-9, such as demo")


def suites_of(suite: str | Sequence[str], targets: int) -> list[str]:
    """The Debian release of each target, t1's first.

    Arguments:
        suite: one release for all targets, or one for each.
        targets: number of targets.

    Raises LabError: an unknown release, or a number of releases that differs from the number of targets.
    """
    suites = [suite] * targets if isinstance(suite, str) else list(suite)
    for one in [suite] if isinstance(suite, str) else suites:
        if one not in SUITES:
            raise LabError(f"suite {one!r}: expected one of {', '.join(SUITES)}")
    if len(suites) != targets:
        raise LabError(f"suite {','.join(suites)}: {len(suites)} for {targets} targets; expected one, or one for each")
    return suites


@dataclass(frozen=True)
class HostRecord:
    """One host in lab.json: everything that an SSH client needs."""

    name: str
    address: str
    port: int
    user: str
    os: str
    suite: str = ""
    arch: str = ""

    def as_target(self) -> dict[str, Any]:
        """The entry for the `targets` list of lab.json."""
        data = asdict(self)
        del data["os"]
        return data

    def as_builder(self) -> dict[str, Any]:
        """The entry for the `builders` list of lab.json."""
        keys = ["name", "address", "port", "user", "os", *(["suite", "arch"] if self.os == "linux" else [])]
        return {key: getattr(self, key) for key in keys}


@dataclass
class LabFile:
    """The contents of lab.json, read by inventories and tests.

    Arguments:
        network: first three octets and a mask, such as 10.77.0.0/24. The controller is .1 in it.
        target_disk_mb: size of each target's disk in MB (2**20 bytes).
        builder_disk_mb: the same for Windows hosts; None: no limit.
    """

    name: str
    network: str
    key: str
    known_hosts: str
    targets: list[HostRecord] = field(default_factory=list)
    builders: list[HostRecord] = field(default_factory=list)
    example: dict[str, str] = field(default_factory=dict)
    toolchains: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    linux_toolchains: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    target_disk_mb: int = DEFAULT_TARGET_DISK_MB
    builder_disk_mb: int | None = None

    @property
    def prefix(self) -> str:
        """The first three octets, with a dot at the end."""
        return self.network.rsplit(".", 1)[0] + "."

    def to_json(self) -> dict[str, Any]:
        """The contents of the file; docs/lab.md explains the keys."""
        data = {key: value for key, value in vars(self).items() if key not in ("targets", "builders")}
        data["targets"] = [host.as_target() for host in self.targets]
        data["builders"] = [host.as_builder() for host in self.builders]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LabFile:
        """The inverse of `to_json`."""
        fields = dict(data)
        fields["targets"] = [HostRecord(os="linux", **host) for host in data["targets"]]
        fields["builders"] = [HostRecord(**host) for host in data["builders"]]
        return cls(**fields)
