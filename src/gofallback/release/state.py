"""The state of a target and its services, read in one round trip by `state_script`, parsed by `state_parser`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gofallback.lease.holder import Holder
from gofallback.model.platform import platform_of


@dataclass(frozen=True)
class TargetFile:
    """A small file on a target."""

    content: bytes
    mode: int


@dataclass(frozen=True)
class UnitState:
    """One unit, as systemd reports it."""

    active: str = "inactive"
    sub: str = "dead"
    enabled: str = ""
    restarts: int = 0
    since: float | None = None
    """Seconds it has been active; None if it is not."""


@dataclass(frozen=True)
class ReleaseState:
    """A complete release folder; an upload gets its final name only when it is complete."""

    id: str
    manifest: bytes | None = None
    sha256: str | None = None
    """Of the binary, from its manifest."""
    version: str = ""
    bad: str | None = None
    """Why it is marked bad (the agent's BAD file)."""
    binary: str = ""
    """File name of the main binary, from its manifest."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of its binaries and extra files by path inside it, from its manifest."""


@dataclass(frozen=True)
class HealthResult:
    """The health check of the live release, run while the state was read."""

    healthy: bool
    reason: str = ""


@dataclass(frozen=True)
class ServiceState:
    """One service on one target."""

    name: str
    home: str
    user_exists: bool = False
    current: str | None = None
    """Name of the live release's folder."""
    releases: Mapping[str, ReleaseState] = field(default_factory=dict)
    files: Mapping[str, TargetFile] = field(default_factory=dict)
    """Small files of the live release, by path inside it."""
    installed: Mapping[str, TargetFile] = field(default_factory=dict)
    """Unit files in /etc/systemd/system, by name."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file in bin/, lib/ and conf/ of the live release, by path inside it; computed on the target."""
    modes: Mapping[str, str] = field(default_factory=dict)
    """`<mode> <owner>:<group>` of folders, of those files and of the log folder, by absolute path."""
    units: Mapping[str, UnitState] = field(default_factory=dict)
    outcome: Mapping[str, Any] | None = None
    """The agent's last record, see docs/agent.md."""
    history: tuple[Mapping[str, Any], ...] = ()
    """The agent's records of finished activations, at most 20, the newest last."""
    last_good: str | None = None
    lease: Holder | None = None
    activating: str | None = None
    """Release of an activation in progress; its record says more."""
    health: HealthResult | None = None

    @property
    def unit(self) -> UnitState:
        """The service's own unit."""
        return self.units.get(f"{self.name}.service", UnitState())

    @property
    def unconfirmed_run(self) -> str | None:
        """The run whose release is not confirmed yet, so that the target reverts by itself; None without one."""
        record = self.outcome or {}
        return str(record.get("run_id", "")) if record.get("state") in ("intended", "provisional", "running") else None

    def health_problem(self, release: str | None) -> str | None:
        """Why a release is not live and healthy here, or None; for None as release: why another one is live."""
        if self.current != release:
            return f"{self.current or 'nothing'} is live"
        if release is None:
            return None
        if self.health is None:
            return "no answer to the health check"
        return None if self.health.healthy else self.health.reason or "the health check fails"

    @property
    def bad(self) -> dict[str, str]:
        """Releases marked bad, with the reason."""
        return {name: release.bad for name, release in self.releases.items() if release.bad is not None}


@dataclass(frozen=True)
class TargetState:
    """A target, as read in one round trip."""

    kernel: str = ""
    machine: str = ""
    """`uname -m`."""
    libc: Literal["glibc", "musl", "none"] = "none"
    libc_version: str = ""
    systemd: int = 0
    free: Mapping[str, int] = field(default_factory=dict)
    """Free bytes of the file system below a path: /tmp and each service's home."""
    now: float = 0.0
    """The target's clock, seconds since 1970."""
    missing: tuple[str, ...] = ()
    """Required programs that the target does not have."""
    agents: frozenset[str] = frozenset()
    """SHA-256 of the agent programs in /opt/gofallback/agent."""
    services: Mapping[str, ServiceState] = field(default_factory=dict)

    @property
    def platform(self) -> str:
        """GOOS/GOARCH, or linux/<machine> for a machine unknown to Go."""
        return platform_of("Linux", self.machine) or f"linux/{self.machine}"
