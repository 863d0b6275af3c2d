"""What can happen in a run, as typed events. Pure.

An event is emitted once, by `Run.emit`, and every listener gets the same object: the journal first, then the others.
The keys of an event are its fields; ``kind`` is its name in the journal (docs/journal.md). To add an event, add a class
here; to add a listener, see `gofallback.deploys.run.setup`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a run."""

    kind: ClassVar[str]
    journaled: ClassVar[bool] = True
    """False: only listeners in this process get it."""

    host: str | None = None
    service: str | None = None

    @property
    def name(self) -> str:
        """The event's name in the journal."""
        return self.kind

    def data(self) -> dict[str, Any]:
        """The event's own keys; those without a value are left out."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("host", "service")}
        return {key: _plain(value) for key, value in own.items() if value is not None}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """The first operation is about to be executed."""

    how: Literal["started", "resumed", "aborted"]
    plan: Mapping[str, Any]
    """Command, who, identity, why, environment, options, builder, waves and the plan of every target."""

    @property
    def name(self) -> str:
        return self.how

    def data(self) -> dict[str, Any]:
        return dict(self.plan)


@dataclass(frozen=True, kw_only=True)
class RunEnded(Event):
    """The last event of a run."""

    kind = "ended"
    verdict: str
    exit: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class RuleOverridden(Event):
    """Somebody set a rule aside (freeze, break-glass, takeover, twin)."""

    row: Mapping[str, str]
    kind = "override"

    def data(self) -> dict[str, Any]:
        return dict(self.row)


@dataclass(frozen=True, kw_only=True)
class ApprovalCounted(Event):
    """A signature that the run needed."""

    kind = "approval"
    row: Mapping[str, str]

    def data(self) -> dict[str, Any]:
        # `at` is a key of every journal line, and `service` is the event's own
        return {"signed" if key == "at" else key: value for key, value in self.row.items() if key != "service"}


@dataclass(frozen=True, kw_only=True)
class BinaryScanned(Event):
    """Known vulnerabilities of one binary."""

    kind = "vulnerabilities"
    scan: Mapping[str, Any]

    def data(self) -> dict[str, Any]:
        return {key: value for key, value in self.scan.items() if key != "service"}


@dataclass(frozen=True, kw_only=True)
class BuildsCompared(Event):
    """Two builds of the same commit were compared."""

    kind = "compared"
    platform: str
    builders: tuple[str, ...]
    same: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class ArtifactPublished(Event):
    """An artifact lies in a store that targets pull from."""

    kind = "published"
    store: str
    file: str
    sha256: str
    state: str


@dataclass(frozen=True, kw_only=True)
class ReleaseUploaded(Event):
    """A release is whole on a target."""

    kind = "uploaded"
    release: str


@dataclass(frozen=True, kw_only=True)
class LeaseTaken(Event):
    """The run has the lease of a service, on a target or in etcd."""

    kind = "lease"
    where: str | None = None
    number: int | None = None
    ttl: float | None = None
    again: bool | None = None
    """The run had the lease before, and lost it with a connection."""


@dataclass(frozen=True, kw_only=True)
class LeaseTakenOver(Event):
    """The run has taken the lease from another run."""

    kind = "takeover"
    where: str | None = None
    from_run: str
    from_who: str
    since: str | None = None
    number: int | None = None


@dataclass(frozen=True, kw_only=True)
class WaveChanged(Event):
    """A wave has begun, or its gate has passed or failed.

    Emitted late: when the next wave begins, at a pause, or at the verdict. None follows ``begun`` when no host is left
    or the run is stopped: see `RunEnded`.
    """

    kind = "wave"
    wave: str
    number: int
    state: Literal["begun", "passed", "failed"]
    hosts: tuple[str, ...] | None = None
    reason: str | None = None

    def data(self) -> dict[str, Any]:
        found = super().data()
        return {"name": found.pop("wave"), **found}


@dataclass(frozen=True, kw_only=True)
class PauseBegan(Event):
    """The run waits between two waves."""

    kind = "pause"
    wave: str
    seconds: float | None = None
    ask: bool | None = None
    timeout: float | None = None


@dataclass(frozen=True, kw_only=True)
class PauseEnded(Event):
    """The next wave may begin."""

    kind = "continued"
    wave: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class PhaseChanged(Event):
    """A service on a target is in another phase (`gofallback.rollout.phases`)."""

    event: str
    phase: str
    release: str | None
    previous: str | None
    live: str | None
    reason: str

    @property
    def name(self) -> str:
        return self.event

    def data(self) -> dict[str, Any]:
        return {"release": self.release, "previous": self.previous, "live": self.live, "reason": self.reason}


@dataclass(frozen=True, kw_only=True)
class VerdictReached(Event):
    """What becomes of the provisional targets."""

    kind = "decision"
    confirm: tuple[str, ...]
    back: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class BuilderWiped(Event):
    """Everything of ours was to go from a builder."""

    problem: str
    listings: Mapping[str, Any]

    @property
    def name(self) -> str:
        return "not-wiped" if self.problem else "wiped"

    def data(self) -> dict[str, Any]:
        return {**self.listings, "reason": self.problem}


@dataclass(frozen=True, kw_only=True)
class StageBegan(Event):
    """An operation of a stage begins on a host."""

    kind = "stage-began"
    journaled = False
    stage: str
    operation: str


@dataclass(frozen=True, kw_only=True)
class StageEnded(Event):
    """An operation of a stage has ended on a host."""

    kind = "stage-ended"
    journaled = False
    stage: str
    operation: str
    ok: bool
