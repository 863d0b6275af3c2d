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

    @property
    def seconds(self) -> float:
        """Length of the run."""
        return (self.ended - self.started).total_seconds()

    @property
    def exit_status(self) -> int:
        """0 for `done` and `unchanged`, else 1."""
        return 0 if self.verdict in GOOD_VERDICTS else 1

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
    live = [row for row in rows if row.outcome in ("confirmed", "unchanged") and row.health != "unhealthy"]
    if refused and not outcomes - {"untouched", "unchanged"}:
        return "refused"
    if len(live) == len(rows) and not failed:
        if not rows:
            return "done" if changed else "unchanged"
        return "unchanged" if not outcomes - {"unchanged"} else "done"
    if "confirmed" in {row.outcome for row in live}:
        return "partly"
    if "reverted" in outcomes and "failed" not in outcomes and len(live) < len(rows):
        return "reverted"
    return "failed"
