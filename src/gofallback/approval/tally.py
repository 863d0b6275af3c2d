"""Counts the approvals of a release: accepted ones, rejected ones with the reason, people who could still sign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from gofallback.approval.digest import ApprovalError, Release
from gofallback.approval.keygen import CHANGED, Keygen
from gofallback.approval.requester import Requester
from gofallback.approval.signers import Signer, parse_signers
from gofallback.approval.statement import LARGEST, Statement, parse_statement, path_part, time_text
from gofallback.model.approval import Approval

#: How far the clock of a signer may be ahead of ours.
_CLOCK_SKEW = timedelta(minutes=5)
#: A folder with more files than people can have signed is no folder of approvals.
_MOST_FILES = 200


@dataclass(frozen=True)
class Accepted:
    """An approval that counts."""

    principal: str
    key: str
    """Fingerprint."""
    at: str
    expires: str
    """The end that the statement or the environment sets, whichever is earlier."""
    file: str
    """Below the project."""
    reason: str = ""


@dataclass(frozen=True)
class Tally:
    """The approvals of one release in one environment."""

    environment: str
    release: Release
    required: int
    accepted: tuple[Accepted, ...] = ()
    rejected: tuple[str, ...] = ()
    """A line for each approval that does not count, with its file and the reason."""
    remaining_signers: tuple[str, ...] = ()
    """Principals of allowed_signers who have not approved and are not the requester."""

    @property
    def enough(self) -> bool:
        """Whether the release has the approvals it needs."""
        return len(self.accepted) >= self.required

    def progress(self) -> str:
        """``1 of 2 approvals (alice)``."""
        by = f" ({', '.join(one.principal for one in self.accepted)})" if self.accepted else ""
        return f"{len(self.accepted)} of {self.required} approvals{by}"

    def summary(self) -> str:
        """The progress, and the people who could still approve."""
        if self.enough:
            return self.progress()
        remaining = ", ".join(self.remaining_signers) or "nobody else in allowed_signers"
        return f"{self.progress()}; who could still approve: {remaining}"


@dataclass(frozen=True)
class ApprovalPolicy:
    """The rules of one environment for approvals, in one project."""

    project: Path
    environment: str
    rules: Approval
    keygen: Keygen = field(default_factory=Keygen)

    @property
    def signers_file(self) -> Path:
        """The file of allowed signers."""
        return self.project / self.rules.signers

    def signers(self) -> list[Signer]:
        """The people who may sign.

        Raises:
            ApprovalError: the file cannot be read, or has no signer.
        """
        try:
            found = parse_signers(self.signers_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ApprovalError(
                f"{self.rules.signers}: cannot be read ({reason}), and environment {self.environment} requires "
                "approvals; list in it who may approve there (docs/approvals.md)"
            ) from None
        if not found:
            raise ApprovalError(f"{self.rules.signers}: has no one who may approve; see docs/approvals.md")
        return found

    def folder(self, service: str, version: str) -> Path:
        """The folder of a release's approvals, below the project."""
        parts = (("environment", self.environment), ("service", service), ("version", version))
        return Path(self.rules.folder, *(path_part(what, part) for what, part in parts))

    def count(self, release: Release, requester: Requester, now: datetime) -> Tally:
        """Judge every approval of a release.

        Args:
            release: the release about to be rolled out.
            requester: their own approvals do not count.
            now: aware.

        Raises:
            ApprovalError: the signers or the folder cannot be read.
        """
        signers = self.signers()
        accepted: list[Accepted] = []
        rejected: list[str] = []
        for file in self._files(release):
            name = str(file.relative_to(self.project))
            try:
                found = self._accepted(file, name, release, requester, now)
                _require_new_person(found, accepted)
            except ApprovalError as error:
                rejected.append(f"{name}: {error}")
            else:
                accepted.append(found)
        return Tally(
            environment=self.environment,
            release=release,
            required=self.rules.required,
            accepted=tuple(accepted),
            rejected=tuple(rejected),
            remaining_signers=_remaining_signers(signers, accepted, requester, now),
        )

    def _files(self, release: Release) -> Iterator[Path]:
        folder = self.project / self.folder(release.service, release.version)
        try:
            every = sorted(folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            raise ApprovalError(f"{folder}: cannot be read ({error.strerror})") from None
        if len(every) > _MOST_FILES:
            raise ApprovalError(
                f"{folder}: has {len(every)} files, more than people can have signed; remove what is no approval"
            )
        for file in every:
            if file.name.endswith(".json.sig") and not file.with_suffix("").exists():
                yield file.with_suffix("")
            elif file.suffix == ".json":
                yield file

    def _accepted(self, file: Path, name: str, release: Release, requester: Requester, now: datetime) -> Accepted:
        """The approval in a file.

        Raises:
            ApprovalError: the reason to reject it.
        """
        content, signature = _read(file), file.with_name(file.name + ".sig")
        statement = parse_statement(content)
        if not signature.is_file():
            raise ApprovalError(f"is not signed ({signature.name} is missing)")
        verified = self.keygen.verify(self.signers_file, statement.principal, content, signature)
        if verified.key is None:
            raise ApprovalError(self._detail(verified.reason, statement, signature, release))
        if requester.is_own(statement.principal, verified.key):
            raise ApprovalError(f"{statement.principal} requests this run, and cannot approve it as well")
        _require_match(statement, release, self.environment)
        expires = min(statement.expires_at, statement.signed_at + timedelta(hours=self.rules.validity))
        if statement.signed_at > now + _CLOCK_SKEW:
            raise ApprovalError(f"was signed at {statement.at}, which is in the future; check the clocks")
        if now >= expires:
            raise ApprovalError(f"expired at {time_text(expires)}; {statement.principal} has to approve again")
        return Accepted(statement.principal, verified.key, statement.at, time_text(expires), name, statement.reason)

    def _detail(self, reason: str, statement: Statement, signature: Path, release: Release) -> str:
        """The reason; for a text that was changed after it was signed also the change, where it can be found."""
        if reason != CHANGED:
            return reason
        original = statement.model_copy(update={"digest": release.digest})
        if original != statement and self.keygen.is_of(original.text(), signature):
            return "its digest was changed after it was signed"
        for other in sorted(signature.parent.glob("*.json"))[:_MOST_FILES]:
            if other.name + ".sig" != signature.name and self.keygen.is_of(_read(other), signature):
                return f"its signature is that of {other.name}"
        return f"{CHANGED}, or the signature is that of another file"


def _require_match(statement: Statement, release: Release, environment: str) -> None:
    for what, approved, expected in (
        ("environment", statement.environment, environment),
        ("service", statement.service, release.service),
        ("version", statement.version, release.version),
    ):
        if approved != expected:
            raise ApprovalError(f"approves {what} {approved}, not {expected}")
    if statement.digest != release.digest:
        raise ApprovalError(
            f"approves other binaries of {release.version}: digest {statement.digest[:12]} "
            f"(commit {statement.commit[:12]}, {' '.join(statement.platforms)}), this controller has "
            f"{release.digest[:12]} (commit {release.commit[:12]}, {' '.join(release.platforms)})"
        )


def _require_new_person(found: Accepted, accepted: Sequence[Accepted]) -> None:
    for one in accepted:
        if one.principal == found.principal:
            raise ApprovalError(f"{found.principal} has already approved ({one.file}), and counts once")
        if one.key == found.key:
            raise ApprovalError(
                f"is signed by the same key as {one.file}: {found.principal} and {one.principal} are one person"
            )


def _remaining_signers(
    signers: Sequence[Signer], accepted: Sequence[Accepted], requester: Requester, now: datetime
) -> tuple[str, ...]:
    keys = {one.key for one in accepted} | requester.keys
    names = {one.principal for one in accepted} | set(requester.principals)
    able = [one for one in signers if one.may_sign(now) and one.fingerprint not in keys]
    return tuple(sorted({name for one in able for name in one.principals} - names))


def _read(file: Path) -> bytes:
    try:
        if not file.is_file():
            raise ApprovalError("is missing, only its signature is there")
        if file.stat().st_size > LARGEST:
            raise ApprovalError(f"has more than {LARGEST} bytes, a statement has a thousand")
        return file.read_bytes()
    except OSError as error:
        raise ApprovalError(f"cannot be read ({error.strerror})") from None
