"""Rows of a run's report: commits, binaries, targets, waves, identity, approvals, comparisons, scans."""

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
    """Such as the age of the mirror that an offline run used."""


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
    """The C library that a dynamic binary needs, and those of the targets; empty: the binary is static."""

    @property
    def what(self) -> str:
        """For a person: the service, and the binary if its name differs."""
        return self.service if self.binary in ("", self.service) else f"{self.service} {self.binary}"


class ComparisonRow(Strict):
    """Two compared builds of one program."""

    service: str
    """With the name of the binary, if it is not the main one."""
    platform: str
    version: str = ""
    names: tuple[str, str]
    """The builder, and the owner of the other build: a second builder, or a target."""
    sha256: tuple[str, str]
    same: bool
    why: list[Clean] = Field(default_factory=list)
    """Reasons for other bytes, from the cause to the symptom, a line each."""
    file: str = ""
    """Name of the complete comparison, a JSON file in the run's folder."""


class TargetRow(Strict):
    """The outcome of one service on one target."""

    host: str
    service: str
    outcome: Annotated[TargetPhase, Field(strict=False)]
    """The last phase (`gofallback.rollout.phases`)."""
    release: str = ""
    """The release that this run was to bring."""
    commit: str = ""
    sha256: str = ""
    health: Health = "unknown"
    seconds: float = 0.0
    """From the switch to the outcome."""
    reason: Clean = ""
    """Why the outcome is not good; one line."""
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
    """The time a release was provisional on a target: from its gate to its confirmation or revert."""

    host: str
    service: str
    start: Offset
    """Seconds since the run started."""
    end: Offset
    """Seconds since the run started."""
    ended: Literal["confirmed", "reverted", "failed", "open"] = "open"
    """``open``: the run ended before the decision."""


class WaveRow(Strict):
    """One wave of the rollout."""

    name: str
    hosts: list[str]
    start: Offset | None = None
    """Seconds since the run started; None: the wave was not reached."""
    end: Offset | None = None
    state: Literal["passed", "failed", "not reached", "cut off"] = "not reached"
    """``cut off``: the run ended during the wave."""
    pause: Offset = 0.0
    """Seconds before the next wave."""


class Identity(Strict):
    """The person and the machine of a run, and the version of its data."""

    user: str
    """Name of the OS user."""
    uid: int
    sudo_user: str = ""
    """The user who started sudo."""
    host: str
    pid: int
    keys: list[Clean] = Field(default_factory=list)
    """SSH keys for connections: SHA-256 fingerprint, comment, kind."""
    commit: str = ""
    """Commit of the project's checkout: the version of group data and deploy files."""
    dirty: bool | None = None
    """Whether the checkout has changes that are not in the commit; None: not known."""
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
    """One rule that a person overrode."""

    kind: str
    """``freeze``, ``break-glass``, ``takeover``, ``twin``."""
    what: Clean = ""
    why: Clean = ""


class VulnerabilityRow(Strict):
    """One known vulnerability of one binary."""

    id: str
    module: str
    version: str = ""
    """Version in the binary."""
    fixed: str = ""
    """First version without the vulnerability; empty: none yet."""
    level: Literal["symbol", "package", "module"]
    """The most precise level that is known."""
    symbols: list[str] = Field(default_factory=list)
    """Vulnerable functions that are in the binary."""
    aliases: list[str] = Field(default_factory=list)
    summary: Clean = ""
    state: Literal["counts", "ignored", "expired", "lesser"]
    """``expired``: was ignored and counts again; ``lesser``: below `vulnerabilities.level`."""
    note: Clean = ""


class ScanRow(Strict):
    """The known vulnerabilities of one binary, by the database of that day."""

    service: str
    platform: str
    version: str
    sha256: str
    database: str
    modified: str = ""
    """Last change of the database, RFC 3339."""
    scanner: str = ""
    stripped: bool = False
    """Without a symbol table only modules are known."""
    problem: Clean = ""
    """Why nothing is known, or the problem of the database."""
    findings: list[VulnerabilityRow] = Field(default_factory=list)


class JournalRow(Strict):
    """The end of the run's journal when the report was written: reveals lines that are removed later."""

    lines: int
    head: str
