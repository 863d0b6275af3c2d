"""What a target tells of its services in one round trip; `release.probe` has the script, `release.answer` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gofallback.model.platform import platform_of


@dataclass(frozen=True)
class FileFound:
    """A small file: content and mode."""

    content: bytes
    mode: int
    owner: str = "root"


@dataclass(frozen=True)
class UnitFound:
    """What systemd says about one unit."""

    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    enabled: str = ""
    pid: int = 0
    restarts: int = 0
    since: float | None = None
    """Seconds it has been active; None when it is not."""


@dataclass(frozen=True)
class ReleaseFound:
    """A complete release folder (an upload gets this name only when it is whole)."""

    id: str
    manifest: bytes | None = None
    sha256: str | None = None
    """Of the binary, as its manifest says."""
    version: str = ""
    bad: str | None = None
    """Why it is marked as bad (the agent's BAD file)."""
    binary: str = ""
    """File name of the main binary, as its manifest says."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of its binaries and further files by path inside it, as its manifest says."""


@dataclass(frozen=True)
class Holder:
    """Who holds a service's lease."""

    run_id: str = "unknown"
    who: str = "unknown"
    since: str = "unknown"
    number: int = 0
    """The fencing number."""
    silent: float | None = None
    """Seconds since its controller was last heard of; None: not since the target started."""
    expires_in: float | None = None
    """Seconds until it is free unless it is renewed; None: not known."""
    lapsed: bool = False
    """It was not renewed in time: whoever asks next gets it."""

    def __str__(self) -> str:
        return f"run {self.run_id} of {self.who} since {self.since}"


@dataclass(frozen=True)
class HealthFound:
    """One health check of the live release, made while the state was read."""

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
    releases: Mapping[str, ReleaseFound] = field(default_factory=dict)
    files: Mapping[str, FileFound] = field(default_factory=dict)
    """Small files of the live release, by path inside it."""
    installed: Mapping[str, FileFound] = field(default_factory=dict)
    """Unit files in /etc/systemd/system, by name."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of what is in bin/, lib/ and conf/ of the live release, by path inside it; computed from its bytes."""
    modes: Mapping[str, str] = field(default_factory=dict)
    """`<mode> <owner>:<group>` by absolute path: folders, those files, log folder."""
    units: Mapping[str, UnitFound] = field(default_factory=dict)
    outcome: Mapping[str, Any] | None = None
    """The agent's last record, see docs/agent.md."""
    history: tuple[Mapping[str, Any], ...] = ()
    """The agent's records of finished activations, at most 20, the newest last."""
    last_good: str | None = None
    lease: Holder | None = None
    activating: str | None = None
    """Release that an activation is at work on; its record says more."""
    leftovers: tuple[str, ...] = ()
    """Names of unfinished uploads."""
    health: HealthFound | None = None

    @property
    def unit(self) -> UnitFound:
        """The service's own unit."""
        return self.units.get(f"{self.name}.service", UnitFound())

    @property
    def unsettled(self) -> str | None:
        """The run whose release is not confirmed yet, so that the target goes back by itself; None: there is none."""
        record = self.outcome or {}
        return str(record.get("run_id", "")) if record.get("state") in ("intended", "provisional", "running") else None

    def unwell(self, release: str | None) -> str | None:
        """Why a release is not live and healthy here; None: it is, or nothing is live, as wanted."""
        if self.current != release:
            return f"{self.current or 'nothing'} is live"
        if release is None:
            return None
        if self.health is None:
            return "no answer to the health check"
        return None if self.health.healthy else self.health.reason or "the health check fails"

    @property
    def bad(self) -> dict[str, str]:
        """Releases marked as bad, and why."""
        return {name: found.bad for name, found in self.releases.items() if found.bad is not None}


@dataclass(frozen=True)
class TargetState:
    """What one round trip told about a target."""

    kernel: str = ""
    machine: str = ""
    """`uname -m`."""
    libc: Literal["glibc", "musl", "none"] = "none"
    libc_version: str = ""
    systemd: int = 0
    free: Mapping[str, int] = field(default_factory=dict)
    """Free bytes of the file system below a path: /tmp and each service's home."""
    boot_id: str = ""
    now: float = 0.0
    """The target's clock, seconds since 1970."""
    missing: tuple[str, ...] = ()
    """Programs a target has to have and does not."""
    agents: frozenset[str] = frozenset()
    """SHA-256 of the agent programs in /opt/gofallback/agent."""
    services: Mapping[str, ServiceState] = field(default_factory=dict)

    @property
    def platform(self) -> str:
        """GOOS/GOARCH, or linux/<machine> for a machine that Go does not know."""
        return platform_of("Linux", self.machine) or f"linux/{self.machine}"
