"""The record of one run: ``runs/<run id>/report.json``. Tables, timelines and pages are made of it alone."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

from pydantic import AwareDatetime, Field

from gofallback.model.base import Strict
from gofallback.report.rows import (
    ApprovalRow,
    ArtifactRow,
    Clean,
    ComparisonRow,
    Hold,
    Identity,
    JournalRow,
    Offset,
    OverrideRow,
    ScanRow,
    SourceRow,
    TargetRow,
    WaveRow,
)
from gofallback.rollout.phases import EXIT_STATUS, Verdict

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

#: Exit status 0 only if every host runs the wanted release and is healthy.
GOOD_VERDICTS: frozenset[Verdict] = frozenset({"done", "unchanged"})


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
    """Commands and file transfers of each host, after connecting."""
    identity: Identity | None = None
    why: Clean = ""
    """The reason that the person gave (`--data reason`)."""
    approvals: list[ApprovalRow] = Field(default_factory=list)
    overrides: list[OverrideRow] = Field(default_factory=list)
    comparisons: list[ComparisonRow] = Field(default_factory=list)
    faithful: bool | None = None
    """Whether the builder makes the bytes that run in production (docs/known-good.md); None: not requested."""
    compared: int = 0
    """Number of programs on targets that were compared for `faithful`."""
    uncompared: list[Clean] = Field(default_factory=list)
    """Programs on targets that were not compared."""
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


def version_of(release: str) -> str:
    """``v1.1.0`` of ``v1.1.0-1a2b3c4d``: a release is named by its version and eight digits of its digest."""
    return release.rpartition("-")[0] or release
