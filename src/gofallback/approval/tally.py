"""Counts the approvals of a release: which are good, which are not and why, who could still sign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from gofallback.approval.digest import ApprovalError, Release
from gofallback.approval.keygen import CHANGED, Keygen
from gofallback.approval.requester import Requester
from gofallback.approval.signers import Signer, parse_signers
from gofallback.approval.statement import LARGEST, Statement, parse, path_part, written
from gofallback.model.approval import Approval

#: A clock of a signer may be ahead of ours by this much.
_AHEAD = timedelta(minutes=5)
#: More files than people could have signed are no approvals.
_MOST_FILES = 200


@dataclass(frozen=True)
class Accepted:
    """An approval that counts."""

    principal: str
    key: str
    """Fingerprint."""
    at: str
    expires: str
    """When it ends: by its own words or the environment's, whichever is earlier."""
    file: str
    """Below the project."""
    reason: str = ""


@dataclass(frozen=True)
class Tally:
    """How one release stands in one environment."""

    environment: str
    release: Release
    required: int
    accepted: tuple[Accepted, ...] = ()
    refused: tuple[str, ...] = ()
    """A line for each approval that does not count, with its file and why."""
    could_sign: tuple[str, ...] = ()
    """Principals of allowed_signers who have not approved, and are not the requester."""

    @property
    def enough(self) -> bool:
        """Whether the release may go."""
        return len(self.accepted) >= self.required

    def had(self) -> str:
        """How many there are, and by whom."""
        by = f" ({', '.join(one.principal for one in self.accepted)})" if self.accepted else ""
        return f"{len(self.accepted)} of {self.required} approvals{by}"

    def line(self) -> str:
        """The same, and who is missing."""
        if self.enough:
            return self.had()
        missing = ", ".join(self.could_sign) or "nobody else in allowed_signers"
        return f"{self.had()}; who could still approve: {missing}"


@dataclass(frozen=True)
class ApprovalPolicy:
    """Where approvals lie and who may give them: one environment's rules, in one project."""

    project: Path
    environment: str
    rules: Approval
    keygen: Keygen = field(default_factory=Keygen)

    @property
    def signers_file(self) -> Path:
        """The file of allowed signers."""
        return self.project / self.rules.signers

    def signers(self) -> list[Signer]:
        """Who may sign.

        Raises:
            ApprovalError: the file cannot be read, or names nobody.
        """
        try:
            found = parse_signers(self.signers_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ApprovalError(
                f"{self.rules.signers}: cannot be read ({why}), and environment {self.environment} demands approvals; "
                "list who may approve there (docs/approvals.md)"
            ) from None
        if not found:
            raise ApprovalError(f"{self.rules.signers}: names nobody who may approve; see docs/approvals.md")
        return found

    def folder(self, service: str, version: str) -> Path:
        """Where the approvals of a release lie, below the project."""
        parts = (("environment", self.environment), ("service", service), ("version", version))
        return Path(self.rules.folder, *(path_part(what, part) for what, part in parts))

    def count(self, release: Release, requester: Requester, now: datetime) -> Tally:
        """Look at every approval of a release.

        Args:
            release: what is about to be rolled out.
            requester: whose approvals do not count.
            now: aware.
        """
        signers = self.signers()
        accepted: list[Accepted] = []
        refused: list[str] = []
        for file in self._files(release):
            name = str(file.relative_to(self.project))
            try:
                found = self._approval(file, name, release, requester, now)
                _only_once(found, accepted)
            except ApprovalError as error:
                refused.append(f"{name}: {error}")
            else:
                accepted.append(found)
        return Tally(
            environment=self.environment,
            release=release,
            required=self.rules.required,
            accepted=tuple(accepted),
            refused=tuple(refused),
            could_sign=_could_sign(signers, accepted, requester, now),
        )

    def _files(self, release: Release) -> Iterator[Path]:
        folder = self.project / self.folder(release.service, release.version)
        try:
            every = sorted(folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            raise ApprovalError(f"{folder}: cannot be read ({error.strerror})") from None
        if len(every) > _MOST_FILES:
            raise ApprovalError(f"{folder}: has {len(every)} files, more than people can have signed; clear it up")
        for file in every:
            if file.name.endswith(".json.sig") and not file.with_suffix("").exists():
                yield file.with_suffix("")
            elif file.suffix == ".json":
                yield file

    def _approval(self, file: Path, name: str, release: Release, requester: Requester, now: datetime) -> Accepted:
        content, signature = _read(file), file.with_name(file.name + ".sig")
        statement = parse(content)
        if not signature.is_file():
            raise ApprovalError(f"is not signed ({signature.name} is missing)")
        answer = self.keygen.verify(self.signers_file, statement.principal, content, signature)
        if answer.key is None:
            raise ApprovalError(self._closer(answer.why, statement, signature, release))
        if requester.is_own(statement.principal, answer.key):
            raise ApprovalError(f"{statement.principal} asks for this run, and cannot approve it as well")
        _fits(statement, release, self.environment)
        expires = min(statement.expires_at, statement.signed_at + timedelta(hours=self.rules.validity))
        if statement.signed_at > now + _AHEAD:
            raise ApprovalError(f"says that it was signed at {statement.at}, which is yet to come; mind the clocks")
        if now >= expires:
            raise ApprovalError(f"expired at {written(expires)}; {statement.principal} has to approve anew")
        return Accepted(statement.principal, answer.key, statement.at, written(expires), name, statement.reason)

    def _closer(self, why: str, statement: Statement, signature: Path, release: Release) -> str:
        """Of a text that was changed after it was signed: what was changed, where that can be told."""
        if why != CHANGED:
            return why
        original = statement.model_copy(update={"digest": release.digest})
        if original != statement and self.keygen.genuine(original.text(), signature):
            return "its digest was changed after it was signed"
        for other in sorted(signature.parent.glob("*.json"))[:_MOST_FILES]:
            if other.name + ".sig" != signature.name and self.keygen.genuine(_read(other), signature):
                return f"its signature is that of {other.name}"
        return f"{CHANGED}, or the signature is that of another file"


def _fits(statement: Statement, release: Release, environment: str) -> None:
    for what, said, wanted in (
        ("environment", statement.environment, environment),
        ("service", statement.service, release.service),
        ("version", statement.version, release.version),
    ):
        if said != wanted:
            raise ApprovalError(f"approves {what} {said}, not {wanted}")
    if statement.digest != release.digest:
        raise ApprovalError(
            f"approves other binaries of {release.version}: digest {statement.digest[:12]} "
            f"(commit {statement.commit[:12]}, {' '.join(statement.platforms)}), this controller has "
            f"{release.digest[:12]} (commit {release.commit[:12]}, {' '.join(release.platforms)})"
        )


def _only_once(found: Accepted, accepted: Sequence[Accepted]) -> None:
    for one in accepted:
        if one.principal == found.principal:
            raise ApprovalError(f"{found.principal} has approved already ({one.file}), and counts once")
        if one.key == found.key:
            raise ApprovalError(
                f"is signed by the same key as {one.file}: {found.principal} and {one.principal} are one person"
            )


def _could_sign(
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
