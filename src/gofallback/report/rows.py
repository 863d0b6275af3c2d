"""Rows of a run's report: its commits, binaries, targets and waves, who ran it, and what was found on the way."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gofallback.model.base import Strict
from gofallback.redact import redact
from gofallback.rollout.phases import TargetPhase

Health = Literal["healthy", "unhealthy", "unknown"]

#: Free text: what looks like a secret never gets into a report, not even into its JSON.
Clean = Annotated[str, AfterValidator(redact)]

Offset = Annotated[float, Field(ge=0)]


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
    outcome: Annotated[TargetPhase, Field(strict=False)]
    """What became of it: a phase of `gofallback.rollout.phases`."""
    release: str = ""
    """The release this run was to bring."""
    commit: str = ""
    sha256: str = ""
    health: Health = "unknown"
    seconds: float = 0.0
    """From the switch to the outcome."""
    reason: Clean = ""
    """Why the outcome is not a good one; one line."""
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
