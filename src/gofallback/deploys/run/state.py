"""One run: what it was asked, what it learned, and what became of every host. No pyinfra in here."""

from __future__ import annotations

import getpass
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from gofallback.artifact.spec import BuildSpec
from gofallback.controller.paths import Home
from gofallback.controller.store import ArtifactStore, Stored
from gofallback.deploys.run.options import Options
from gofallback.journal.writer import Journal, JournalError
from gofallback.model import Fleet
from gofallback.report.rows import ComparisonRow, Identity, ScanRow
from gofallback.source.model import ResolvedSource

State = Literal["planned", "provisional", "confirmed", "unchanged", "reverted", "failed", "untouched"]


@dataclass
class Outcome:
    """What became of one service on one target."""

    host: str
    service: str
    state: State = "planned"
    release: str | None = None
    """The release this run wants there."""
    previous: str | None = None
    """The release that was live before."""
    live: str | None = None
    """The release that is live now; None: nothing, or not known."""
    commit: str | None = None
    sha256: str | None = None
    healthy: bool | None = None
    seconds: float = 0.0
    reason: str | None = None
    evidence: tuple[str, ...] = ()
    run_id: str | None = None
    """The run whose activation this is, where it is not this run's own (an earlier part of a resumed one)."""
    deadline: str = ""
    """When a provisional release goes back by itself unless it is confirmed; the target's clock, RFC 3339."""
    deadline_told: float = 0.0
    """Seconds since the run began at which that was said: every renewal of the lease since has put it off."""
    lost: bool = False
    """The target does not answer: what it told last may no longer be so."""
    lost_since: float = 0.0
    """Seconds since the run began."""

    def lose(self, since: float) -> None:
        """The target does not answer any more.

        Args:
            since: seconds since the run began.
        """
        if not self.lost:
            self.lost, self.lost_since = True, since


@dataclass
class Span:
    """One stage on one host; seconds since the run began."""

    stage: str
    host: str
    start: float
    end: float | None = None
    ok: bool | None = None


@dataclass
class WaveTiming:
    """One wave; seconds since the run began."""

    name: str
    hosts: tuple[str, ...]
    start: float | None = None
    end: float | None = None
    state: Literal["waiting", "begun", "passed", "failed"] = "waiting"


def new_run_id(now: datetime) -> str:
    """Sortable and unique: ``20261122T031244Z-9f3a``."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def who_runs() -> str:
    """``user@host`` of the controller, for leases and reports."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


@dataclass
class Run:
    """Everything one run knows. Stages read what earlier stages put here, and only that."""

    command: str
    home: Home
    options: Options
    fleets: dict[str, Fleet]
    """Host name to that host's parsed group data."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = ""
    who: str = field(default_factory=who_runs)
    clock: Callable[[], float] = time.monotonic
    builder: str | None = None
    """Name of the builder in use."""
    twins: tuple[str, ...] = ()
    """Names of the builders that build the same, to be compared (docs/twin-build.md)."""
    sources: dict[str, ResolvedSource] = field(default_factory=dict)
    specs: dict[str, dict[str, BuildSpec]] = field(default_factory=dict)
    """Service to platform to its main binary, as it is built; the agent's under ``gofallback-agent``."""
    further: dict[str, dict[str, tuple[BuildSpec, ...]]] = field(default_factory=dict)
    """Service to platform to its further binaries, by name."""
    artifacts: dict[str, Stored] = field(default_factory=dict)
    """Build key to artifact."""
    libc: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """Build key of a dynamic binary to target to what it needs of the C library, and what is there."""
    built: set[str] = field(default_factory=set)
    """Keys of the artifacts that this run itself built."""
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str | None = None
    executed: bool = False
    """False for --dry and for a plan nobody confirmed."""
    executing_since: float = 0.0
    """Seconds after the run began at which its first operation was executed."""
    complete: bool = False
    """Every operation of the plan has ended on every host that had not failed."""
    cause: str | None = None
    """What failed first: host, service and why."""
    stopped: str | None = None
    """What ended the run from outside, such as ``SIGINT``."""
    approvals: list[dict[str, str]] = field(default_factory=list)
    """Signatures that count: principal, key, at, expires, file."""
    overrides: list[dict[str, str]] = field(default_factory=list)
    """Rules that somebody set aside: kind (freeze, break-glass, takeover), what, why."""
    comparisons: list[ComparisonRow] = field(default_factory=list)
    """Builds that were compared with another builder's, or with what runs on a target."""
    faithful: bool | None = None
    """Whether the builder makes the bytes that run in production; None: nobody asked, or it did not come to it."""
    compared: int = 0
    """Programs on targets whose bytes were compared for that."""
    uncompared: list[str] = field(default_factory=list)
    """Programs on targets that run and were left out of that comparison, in a few words each."""
    wiped: dict[str, bool] = field(default_factory=dict)
    """Builders that were to be wiped when the run was over, and whether they are."""
    scans: list[ScanRow] = field(default_factory=list)
    """Known vulnerabilities of the binaries that were looked at."""
    waves: list[WaveTiming] = field(default_factory=list)
    journal: Journal = field(default_factory=Journal.null)
    """Opened when the run executes its first operation."""
    identity: Identity | None = None
    """Who runs it, and with what (`controller.identity`)."""

    def __post_init__(self) -> None:
        self.id = self.id or new_run_id(self.started)
        self._t0 = self.clock()

    @property
    def store(self) -> ArtifactStore:
        """The controller's artifact store; a damaged artifact becomes a note of the run."""
        return ArtifactStore(self.home.artifacts, say=self.note)

    @property
    def why(self) -> str:
        """Why this run happens, and why it sets rules aside: one line, for the journals of the targets."""
        aside = [f"{one['kind']}: {one['why']}" for one in self.overrides]
        return "; ".join(dict.fromkeys([*([self.options.reason] if self.options.reason else []), *aside]))

    def note(self, line: str) -> None:
        """Keep a line for the end of the run; once."""
        if line not in self.notes:
            self.notes.append(line)

    def leave_uncompared(self, what: str, why: str) -> None:
        """A program in production that the comparison leaves out: the verdict says so, and a note why."""
        if what not in self.uncompared:
            self.uncompared.append(what)
        self.note(f"{what}: {why}; left out of the comparison")

    @property
    def environment(self) -> str:
        """Name of the environment this run is about."""
        return next((fleet.environment for fleet in self.fleets.values()), "default")

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self._t0

    def outcome(self, host: str, service: str) -> Outcome:
        """The outcome of one service on one target, made when first asked for."""
        return self.outcomes.setdefault((host, service), Outcome(host=host, service=service))

    def blame(self, host: str, service: str, reason: str) -> None:
        """Remember what failed first; what follows from it is not the cause."""
        self.cause = self.cause or f"{service} on {host}: {reason}"

    def artifact(self, service: str, platform: str) -> Stored | None:
        """The artifact of a service for a platform, once it is built and verified."""
        spec = self.specs.get(service, {}).get(platform)
        return self.artifacts.get(spec.key) if spec else None

    def artifacts_of(self, service: str, platform: str) -> list[Stored]:
        """The artifacts of a service for a platform that exist by now, the main binary's first."""
        main = self.specs.get(service, {}).get(platform)
        specs = [*([main] if main else []), *self.further.get(service, {}).get(platform, ())]
        return [self.artifacts[spec.key] for spec in specs if spec.key in self.artifacts]

    def tell(self, event: str, *, host: str | None = None, service: str | None = None, **data: Any) -> None:
        """Write an event into the run's journal (docs/journal.md)."""
        try:
            self.journal.write(event, host=host, service=service, **data)
        except JournalError as error:
            self.note(str(error))

    def became(self, outcome: Outcome, state: State, reason: str | None = None) -> None:
        """Keep what became of a target, in the outcome and in the journal."""
        outcome.state, outcome.reason = state, reason
        self.tell(
            state,
            host=outcome.host,
            service=outcome.service,
            release=outcome.release,
            previous=outcome.previous,
            live=outcome.live,
            reason=reason or "",
        )

    def begin(self, stage: str, host: str) -> Span:
        """Open a span of the timeline."""
        span = Span(stage=stage, host=host, start=self.elapsed)
        self.spans.append(span)
        return span

    def end(self, span: Span, ok: bool) -> None:
        """Close a span."""
        span.end, span.ok = self.elapsed, ok
