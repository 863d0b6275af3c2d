"""The record of one run: its options, its results, and the phase of every target. No pyinfra here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from gofallback.artifact.spec import BuildSpec
from gofallback.controller.identity import user_at_host
from gofallback.controller.paths import Home
from gofallback.controller.store import ArtifactStore, Stored
from gofallback.deploys.run.commands import Command
from gofallback.deploys.run.options import Options
from gofallback.deploys.run.outcome import TargetOutcome
from gofallback.gobuild.result import Built
from gofallback.journal.events import Event, PhaseChanged
from gofallback.journal.writer import Journal, JournalError
from gofallback.model import Fleet
from gofallback.report.rows import ComparisonRow, Identity, ScanRow
from gofallback.rollout.phases import PHASES, TargetPhase, may_follow
from gofallback.runid import new_run_id
from gofallback.source.model import ResolvedSource

Listener = Callable[[Event], None]
"""Gets every event of a run after the journal. An error of a listener becomes a note, and never fails the run."""


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


@dataclass
class Run:
    """Everything that one run knows. A stage reads only what earlier stages put here."""

    command: Command
    home: Home
    options: Options
    fleets: dict[str, Fleet]
    """Host name to that host's parsed group data."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = ""
    who: str = field(default_factory=user_at_host)
    clock: Callable[[], float] = time.monotonic
    builder: str | None = None
    """Name of the builder in use."""
    twins: tuple[str, ...] = ()
    """Names of the second builders, whose builds are compared (docs/twin-build.md)."""
    sources: dict[str, ResolvedSource] = field(default_factory=dict)
    specs: dict[str, dict[str, BuildSpec]] = field(default_factory=dict)
    """Service to platform to the spec of its main binary; the agent's under ``gofallback-agent``."""
    extra_binaries: dict[str, dict[str, tuple[BuildSpec, ...]]] = field(default_factory=dict)
    """Service to platform to the specs of its extra binaries, sorted by name."""
    results: dict[str, list[Built]] = field(default_factory=dict)
    """Builder to its builds so far, also those kept from an earlier run."""
    artifacts: dict[str, Stored] = field(default_factory=dict)
    """Build key to artifact."""
    built: set[str] = field(default_factory=set)
    """Keys of the artifacts that were built in this run."""
    libc: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """Build key of a dynamic binary to target to the C library that it needs, and the one on the target."""
    outcomes: dict[tuple[str, str], TargetOutcome] = field(default_factory=dict)
    waves: list[WaveTiming] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str | None = None
    """Why the run was refused."""
    vetoed: str | None = None
    """Why nothing more may be switched, whatever the targets are; see `veto`."""
    executed: bool = False
    """False for --dry and for a plan that was not confirmed."""
    executing_since: float = 0.0
    """Seconds after the run began at which its first operation was executed."""
    complete: bool = False
    """Every operation of the plan has ended on every host that did not fail."""
    cause: str | None = None
    """What failed first: service, host and reason."""
    stopped: str | None = None
    """What ended the run from outside, such as ``SIGINT``."""
    approvals: list[dict[str, str]] = field(default_factory=list)
    """Signatures that count: principal, key, at, expires, file."""
    overrides: list[dict[str, str]] = field(default_factory=list)
    """Rules that were set aside: kind (freeze, break-glass, takeover, twin), what, why."""
    comparisons: list[ComparisonRow] = field(default_factory=list)
    """Builds that were compared with those of another builder, or with a target's bytes."""
    faithful: bool | None = None
    """Whether the builder makes the bytes that run in production; None: not requested, or not reached."""
    compared: int = 0
    """Number of programs on targets whose bytes were compared."""
    uncompared: list[str] = field(default_factory=list)
    """Running programs that were left out of the comparison, in a few words each."""
    incomparable: list[str] = field(default_factory=list)
    """Why programs in production cannot be built again, or why none runs: lines of the notes."""
    wiped: dict[str, bool] = field(default_factory=dict)
    """Builders to wipe at the end of the run, and whether each is wiped."""
    scans: list[ScanRow] = field(default_factory=list)
    """Known vulnerabilities of the binaries that were scanned."""
    journal: Journal = field(default_factory=Journal.null)
    """Opened with the run's first operation."""
    listeners: list[Listener] = field(default_factory=list)
    identity: Identity | None = None
    """Who runs it, and with which keys and programs (`controller.identity`)."""

    def __post_init__(self) -> None:
        self.id = self.id or new_run_id(self.started)
        self._t0 = self.clock()

    @property
    def store(self) -> ArtifactStore:
        """The controller's artifact store; a damaged artifact becomes a note of the run."""
        return ArtifactStore(self.home.artifacts, log=self.note)

    @property
    def why(self) -> str:
        """The reason of this run and of its overrides: one line, for the journals of the targets."""
        reasons = [f"{row['kind']}: {row['why']}" for row in self.overrides]
        return "; ".join(dict.fromkeys([*([self.options.reason] if self.options.reason else []), *reasons]))

    @property
    def environment(self) -> str:
        """Name of the environment of this run."""
        return next((fleet.environment for fleet in self.fleets.values()), "default")

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self._t0

    @property
    def goes_back(self) -> bool:
        """Whether the run brings an older release back: without canaries, and without a provisional phase."""
        return self.command.all_at_once or self.options.abort is not None

    @property
    def needs_no_artifact(self) -> bool:
        """Whether the run only uses releases that are on the targets."""
        return self.command.releases_from == "targets" or bool(self.options.resume or self.options.abort)

    def note(self, line: str) -> None:
        """Keep a line for the end of the run; once."""
        if line not in self.notes:
            self.notes.append(line)

    def set_first_cause(self, reason: str, *, host: str = "", service: str = "") -> None:
        """Keep what failed first. Later failures may follow from it, and are not kept.

        Args:
            reason: one line.
            host: the target that failed, where it is one.
            service: its service.
        """
        self.cause = self.cause or (f"{service} on {host}: {reason}" if host else reason)

    def veto(self, reason: str) -> None:
        """From now on switch nothing more on any target. The first veto counts."""
        self.vetoed = self.vetoed or reason
        self.set_first_cause(reason)

    def leave_uncompared(self, what: str, why: str) -> None:
        """Leave a program in production out of the comparison: counted in the verdict, with the reason as a note."""
        if what not in self.uncompared:
            self.uncompared.append(what)
        self.note_incomparable(f"{what}: {why}; left out of the comparison")

    def note_incomparable(self, line: str) -> None:
        """Note a program that cannot be built again; quoted where no program can."""
        self.incomparable.append(line)
        self.note(line)

    def outcome(self, host: str, service: str) -> TargetOutcome:
        """The outcome of one service on one target, made on first use."""
        return self.outcomes.setdefault((host, service), TargetOutcome(host=host, service=service))

    def built_by(self, name: str) -> list[Built]:
        """What one builder has built so far in this run, or kept from an earlier run."""
        return self.results.setdefault(name, [])

    def artifact(self, service: str, platform: str) -> Stored | None:
        """The artifact of a service for a platform, once it is built and verified."""
        spec = self.specs.get(service, {}).get(platform)
        return self.artifacts.get(spec.key) if spec else None

    def artifacts_of(self, service: str, platform: str) -> list[Stored]:
        """The artifacts of a service for a platform that exist by now, the main binary's first."""
        main = self.specs.get(service, {}).get(platform)
        specs = [*([main] if main else []), *self.extra_binaries.get(service, {}).get(platform, ())]
        return [self.artifacts[spec.key] for spec in specs if spec.key in self.artifacts]

    def emit(self, event: Event) -> None:
        """Write an event into the journal, then pass it to every listener.

        The journal fails closed: a run whose first line cannot be written switches nothing. An exception of a listener
        becomes a note. A listener that blocks delays the run.
        """
        if event.journaled:
            try:
                self.journal.write(event.name, host=event.host, service=event.service, **event.data())
            except JournalError as error:
                self.note(str(error))
                self.veto(str(error))
        for listener in self.listeners if self.executed else ():  # a plan alone is no news
            try:
                listener(event)
            except Exception as error:
                self.note(f"a listener failed at {event.name}: {error}")

    def set_phase(
        self, outcome: TargetOutcome, phase: TargetPhase, reason: str | None = None, *, event: str | None = None
    ) -> None:
        """Move a target to a phase, and emit that.

        Args:
            outcome: the service on the target.
            phase: the new phase. A phase that cannot follow is set, and noted: it shows a defect of ours.
            reason: why, where the phase is not good; one line.
            event: the journal's event, where it is not the phase's own.
        """
        if not may_follow(outcome.phase, phase):
            self.note(f"{outcome.service} on {outcome.host}: went from {outcome.phase} to {phase}, which is unexpected")
        outcome.phase, outcome.reason = phase, reason
        name = event or PHASES[phase].journal
        if name is None:
            return
        self.emit(
            PhaseChanged(
                host=outcome.host,
                service=outcome.service,
                event=name,
                phase=phase,
                release=outcome.release,
                previous=outcome.previous,
                live=outcome.live,
                reason=reason or "",
            )
        )

    def set_lost(self, outcome: TargetOutcome, reason: str, *, silent_for: float = 0.0) -> None:
        """Record that a target does not answer any more. It ends alone what was begun there.

        Args:
            outcome: the service on the target.
            reason: one line.
            silent_for: seconds without an answer before the run gave the target up.
        """
        if not outcome.lost:
            outcome.lost_since = self.elapsed - silent_for
        outcome.healthy = None
        self.set_phase(outcome, TargetPhase.LOST, reason)
