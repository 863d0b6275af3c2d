"""What one run did: kept as ``runs/<run id>/report.json``; tables, timelines and pages are made of it alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, Field

from gofallback.model.base import Strict
from gofallback.report.redact import redact

StageName = Literal[
    "inventory",
    "preflight",
    "provision",
    "source",
    "build",
    "verify",
    "release",
    "activate",
    "confirm",
    "report",
]
#: The stages in the order of the flow.
STAGES: tuple[StageName, ...] = get_args(StageName)

Status = Literal["ok", "failed", "reverted", "skipped"]
Outcome = Literal["confirmed", "provisional", "unchanged", "reverted", "failed", "untouched"]
Health = Literal["healthy", "unhealthy", "unknown"]
Verdict = Literal["done", "unchanged", "reverted", "failed", "refused", "partly"]

#: Exit status 0 only if every host runs the wanted release and is healthy.
GOOD_VERDICTS: frozenset[Verdict] = frozenset({"done", "unchanged"})
#: docs/exit-status.md; 1 is left to pyinfra's own errors, 128 and more to signals.
EXIT_STATUS: dict[Verdict, int] = {"done": 0, "unchanged": 0, "refused": 2, "reverted": 3, "failed": 4, "partly": 5}
#: Outcomes of a target that runs what the run wanted there.
GOOD_OUTCOMES: frozenset[Outcome] = frozenset({"confirmed", "unchanged"})

#: Free text: what looks like a secret never gets into a report, not even into its JSON.
Clean = Annotated[str, AfterValidator(redact)]

Offset = Annotated[float, Field(ge=0)]


class Span(Strict):
    """What one host did in one stage."""

    host: str
    start: Offset
    """Seconds since the run started."""
    end: Offset
    """Seconds since the run started."""
    status: Status = "ok"
    detail: Clean = ""
    """One line, such as the platform that was built or the cause of a failure."""

    @property
    def seconds(self) -> float:
        """Length."""
        return max(0.0, self.end - self.start)


class Stage(Strict):
    """One stage of the flow."""

    name: StageName
    spans: list[Span] = Field(default_factory=list)

    @property
    def start(self) -> float:
        """Seconds since the run started."""
        return min((span.start for span in self.spans), default=0.0)

    @property
    def end(self) -> float:
        """Seconds since the run started."""
        return max((span.end for span in self.spans), default=0.0)


class SourceRow(Strict):
    """The commit of one service."""

    service: str
    repository: Clean
    ref: str
    commit: str
    version: str
    note: Clean = ""
    """Such as the age of the mirror that was used offline."""


class ArtifactRow(Strict):
    """One binary of the run."""

    service: str
    binary: str = ""
    """File name."""
    platform: str
    version: str
    commit: str
    go_version: str
    key: str
    sha256: str
    size: int
    """Bytes."""
    builder: str
    seconds: float = 0.0
    """Seconds the build took."""
    origin: Literal["built", "stored"] = "built"
    libc: str = ""
    """What a dynamic binary needs of the C library, and beside it what each target has; empty: it is static."""

    @property
    def what(self) -> str:
        """For a person: the service, and which of its binaries where that has another name."""
        return self.service if self.binary in ("", self.service) else f"{self.service} {self.binary}"


class ComparisonRow(Strict):
    """One build compared with another of the same."""

    service: str
    """And the binary, where it is a further one."""
    platform: str
    version: str = ""
    names: tuple[str, str]
    """Who built it, and whose it was compared with: a second builder, or a target."""
    sha256: tuple[str, str]
    same: bool
    why: list[Clean] = Field(default_factory=list)
    """Why the bytes differ, from the cause to the symptom, a line each."""
    file: str = ""
    """The whole comparison, as JSON in the run's folder."""


class TargetRow(Strict):
    """What happened to one service on one target."""

    host: str
    service: str
    outcome: Outcome
    release: str = ""
    """The release this run was to bring."""
    commit: str = ""
    sha256: str = ""
    health: Health = "unknown"
    seconds: float = 0.0
    """From the switch to the outcome."""
    reason: Clean = ""
    """Why it is not `confirmed` or `unchanged`; one line."""
    evidence: list[Clean] = Field(default_factory=list)
    """The last journal lines of an activation that failed."""
    previous: str = ""
    """The release that ran before."""
    running: str = ""
    """The release that runs now."""
    version: str = ""
    """Version of the release that runs now."""
    version_before: str = ""
    """Version of the release that ran before."""
    deadline: str = ""
    """When a provisional release goes back by itself unless it is confirmed; the target's clock, RFC 3339."""


class Hold(Strict):
    """The time a release was provisional on a target: from its gate to the confirmation, or to the way back."""

    host: str
    service: str
    start: Offset
    """Seconds since the run started."""
    end: Offset
    """Seconds since the run started."""
    ended: Literal["confirmed", "reverted", "failed", "open"] = "open"
    """``open``: the run ended before it was decided."""


class WaveRow(Strict):
    """One wave of the rollout."""

    name: str
    hosts: list[str]
    start: Offset | None = None
    """Seconds since the run started; None: it was not reached."""
    end: Offset | None = None
    state: Literal["passed", "failed", "not reached", "cut off"] = "not reached"
    """``cut off``: the run ended in its middle."""
    pause: Offset = 0.0
    """Seconds between it and the next one."""


class Identity(Strict):
    """Who runs, and with what."""

    user: str
    """Name of the OS user."""
    uid: int
    sudo_user: str = ""
    """Who became that user by sudo."""
    host: str
    pid: int
    keys: list[Clean] = Field(default_factory=list)
    """SSH keys at hand for connecting: SHA-256 fingerprint, comment, kind."""
    commit: str = ""
    """Commit of the project's checkout: the version of group data and deploy files."""
    dirty: bool | None = None
    """Whether that checkout holds changes that are not in the commit; None: not known."""
    gofallback: str = ""
    """Version of this program."""


class ApprovalRow(Strict):
    """One signature that counted."""

    principal: Clean
    key: str = ""
    """SHA-256 fingerprint."""
    at: str = ""
    expires: str = ""
    file: str = ""


class OverrideRow(Strict):
    """One rule that somebody set aside."""

    kind: str
    """``freeze``, ``break-glass``, ``takeover``, ``twin``."""
    what: Clean = ""
    why: Clean = ""


class VulnerabilityRow(Strict):
    """One known vulnerability of one binary."""

    id: str
    module: str
    version: str = ""
    """The one in the binary."""
    fixed: str = ""
    """The first version without it; empty: there is none yet."""
    level: Literal["symbol", "package", "module"]
    """The most precise that is known of it."""
    symbols: list[str] = Field(default_factory=list)
    """Vulnerable functions that are in the binary."""
    aliases: list[str] = Field(default_factory=list)
    summary: Clean = ""
    state: Literal["counts", "ignored", "expired", "lesser"]
    """``expired``: it was ignored and counts again; ``lesser``: less precise than `vulnerabilities.level` asks for."""
    note: Clean = ""


class ScanRow(Strict):
    """What is known to be vulnerable in one binary, by the database of that day."""

    service: str
    platform: str
    version: str
    sha256: str
    database: str
    modified: str = ""
    """When the database was changed last, RFC 3339."""
    scanner: str = ""
    stripped: bool = False
    """Without a symbol table only modules can be told."""
    problem: Clean = ""
    """Why nothing is known, or what is wrong with the database."""
    findings: list[VulnerabilityRow] = Field(default_factory=list)


class JournalRow(Strict):
    """How the run's journal stood when the report was written: finds lines that are removed later."""

    lines: int
    head: str


class Report(Strict):
    """One run."""

    schema_version: int = 1
    run_id: str
    command: Clean
    who: str
    """user@host of the controller."""
    started: AwareDatetime
    ended: AwareDatetime
    environment: str = "default"
    stages: list[Stage] = Field(default_factory=list)
    sources: list[SourceRow] = Field(default_factory=list)
    artifacts: list[ArtifactRow] = Field(default_factory=list)
    targets: list[TargetRow] = Field(default_factory=list)
    verdict: Verdict
    reason: Clean = ""
    """Why the verdict is not `done` or `unchanged`; one line."""
    notes: list[Clean] = Field(default_factory=list)
    round_trips: dict[str, int] = Field(default_factory=dict)
    """Commands and file transfers each host was asked for, after connecting."""
    identity: Identity | None = None
    why: Clean = ""
    """What the person who ran it gave as the reason."""
    approvals: list[ApprovalRow] = Field(default_factory=list)
    overrides: list[OverrideRow] = Field(default_factory=list)
    comparisons: list[ComparisonRow] = Field(default_factory=list)
    faithful: bool | None = None
    """Whether the builder makes the bytes that run in production (docs/known-good.md); None: nobody asked."""
    compared: int = 0
    """Programs on targets that were compared for that."""
    uncompared: list[Clean] = Field(default_factory=list)
    """Programs on targets that were left out of it."""
    waves: list[WaveRow] = Field(default_factory=list)
    holds: list[Hold] = Field(default_factory=list)
    scans: list[ScanRow] = Field(default_factory=list)
    journal: JournalRow | None = None

    @property
    def seconds(self) -> float:
        """Length of the run."""
        return (self.ended - self.started).total_seconds()

    @property
    def exit_status(self) -> int:
        """0 for `done` and `unchanged`, 2 `refused`, 3 `reverted`, 4 `failed`, 5 `partly`."""
        return EXIT_STATUS[self.verdict]

    def at(self, moment: datetime) -> float:
        """Seconds since the run started."""
        return (moment - self.started).total_seconds()


def verdict_of(
    targets: Iterable[TargetRow], *, refused: bool = False, failed: bool = False, changed: bool = False
) -> Verdict:
    """The verdict of a run.

    Arguments:
        targets: outcomes.
        refused: the run ended before it changed any target.
        failed: a stage failed although no target's outcome says so.
        changed: something was changed on a builder; counts where the run had no targets.
    """
    rows = list(targets)
    outcomes = {row.outcome for row in rows}
    live = [row for row in rows if row.outcome in GOOD_OUTCOMES and row.health != "unhealthy"]
    if refused and not outcomes - {"untouched", "unchanged"}:
        return "refused"
    if len(live) == len(rows):
        if failed:
            return "failed"
        if not rows:
            return "done" if changed else "unchanged"
        return "unchanged" if not outcomes - {"unchanged"} else "done"
    if live:
        return "partly"
    if "reverted" in outcomes and not outcomes - {"reverted", "untouched"}:
        return "reverted"
    return "failed"


def version_of(release: str) -> str:
    """``v1.1.0`` of ``v1.1.0-1a2b3c4d``: a release is named by its version and eight digits of its digest."""
    return release.rpartition("-")[0] or release
