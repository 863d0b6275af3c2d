"""Compares a folder with its signed provenance. Only reads files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gofallback.artifact.binary import BinaryInfo
from gofallback.artifact.manifest import Manifest
from gofallback.controller.store import MANIFEST
from gofallback.disk import file_sha256
from gofallback.provenance import (
    CHECKSUMS,
    PROVENANCE,
    SBOM,
    TWIN,
    ProvenanceError,
    checksums,
    envelope,
    sbom,
    statement,
    twin,
)
from gofallback.provenance.keys import TrustedKey
from gofallback.provenance.statement import Statement

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope

#: Bytes; the SBOM of a large Go program has a few hundred kB.
_LARGEST = 64 << 20


@dataclass(frozen=True)
class Case:
    """The folder and the binary that are checked."""

    folder: Path
    """Holds provenance.json and sbom.json."""
    binary: Path
    info: BinaryInfo | None
    """None: the file is no binary (any more)."""
    manifest: Manifest | None
    release: bool = False
    """A release folder of a target: its manifest.json names the release too, and it has no checksums.txt."""
    prefix: str = ""
    """Beginning of names of published files, which share a folder and checksums.txt: ``hello-linux-amd64``."""

    def name(self, what: str) -> str:
        """Name of a file that is called ``what`` in an artifact's folder."""
        return f"{self.prefix}.{what}" if self.prefix else what

    def file(self, what: str) -> Path:
        """Path of that file."""
        return self.folder / self.name(what)


@dataclass
class Result:
    """The result of a check."""

    problems: list[str] = field(default_factory=list)
    """One line each."""
    signed_by: list[TrustedKey] = field(default_factory=list)
    statement: Statement | None = None
    """The content of the provenance; to be trusted only when `signed_by` is not empty."""
    reproduced_by: str = ""
    """Another builder that made the same bytes, signed with a trusted key; or empty."""
    attested: bool = True
    """False: the folder has no attestation, and none is required."""


def check(case: Case, trusted: Sequence[TrustedKey], *, required: bool) -> Result:
    """Compare binary, manifest, SBOM, checksums and provenance with one another, and the signature with the keys.

    Args:
        case: the folder.
        trusted: keys whose signatures count.
        required: whether a folder without any attestation is a problem.
    """
    there = [what for what in (PROVENANCE, SBOM, CHECKSUMS) if case.file(what).exists()]
    if not there and not required:
        return Result(attested=False)
    result = Result()
    if CHECKSUMS in there and not case.release and not case.prefix:
        names = [what for what in (MANIFEST, PROVENANCE, SBOM) if case.file(what).exists()]
        result.problems += checksums.problems(case.folder, [*names, case.binary.name])
    _provenance(case, trusted, result)
    _twin(case, trusted, result)
    result.problems += _sbom(case, result.statement)
    return result


def _provenance(case: Case, trusted: Sequence[TrustedKey], result: Result) -> None:
    name = case.name(PROVENANCE)
    try:
        content = _read(case.file(PROVENANCE))
        if content is None:
            result.problems.append(_missing(name, case, "nothing proves who built this, and from what"))
            return
        sealed = envelope.unseal(content)
        result.signed_by = envelope.signers(sealed, trusted)
        if not result.signed_by:
            result.problems.append(f"{name}: {_unsigned(sealed, trusted)}")
        result.statement = statement.read(sealed.payload)
    except ProvenanceError as error:
        result.problems.append(f"{name}: {error}; copy it again, or attest the artifact again")
        return
    result.problems += [f"{name}: {line}" for line in _compared(case, result.statement)]


def _twin(case: Case, trusted: Sequence[TrustedKey], result: Result) -> None:
    """The attestation of a second builder: it may be missing, but must not be wrong."""
    name = case.name(TWIN)
    try:
        content = _read(case.file(TWIN))
        if content is None or case.manifest is None:
            return
        result.reproduced_by = twin.read(content, case.manifest, trusted)
    except ProvenanceError as error:
        result.problems.append(f"{name}: {error}; remove it, or build again with --data twin=true")


def _unsigned(sealed: Envelope, trusted: Sequence[TrustedKey]) -> str:
    """The reason no signature counts."""
    if not sealed.signatures:
        return "is not signed"
    known = {key.fingerprint: key for key in trusted}
    changed = [known[keyid].name for keyid in sealed.signatures if keyid in known]
    if changed:
        return f"was changed after it was signed with {changed[0]}"
    named = ", ".join(keyid if re.fullmatch("[0-9a-f]{64}", keyid) else f"{keyid!r:.80}" for keyid in sealed.signatures)
    whose = ", ".join(f"{key.name} ({key.fingerprint[:16]})" for key in trusted) or "none"
    return (
        f"was signed with the unknown key {named}; trusted: {whose}; if the key is one you know, name its .pub with "
        "--key or put it into trusted_keys/"
    )


def _compared(case: Case, made: Statement) -> Iterator[str]:
    digest = case.info.sha256 if case.info else _digest(case.binary)
    if digest not in made.digests():
        about = ", ".join(
            f"{subject.name} with sha256 {(subject.digest or {}).get('sha256')}" for subject in made.subject
        )
        yield f"is about another subject ({about:.300}); {case.binary.name} has sha256 {digest}"
    if case.manifest is None:
        return
    if case.manifest.sha256 not in made.digests():
        yield f"does not name the binary of {MANIFEST}, sha256 {case.manifest.sha256}"
    yield from statement.differences(made, case.manifest)
    if not case.release:
        yield from _byproduct(case, made, MANIFEST)


def _byproduct(case: Case, made: Statement, name: str) -> Iterator[str]:
    signed = made.byproduct(name)
    have = _digest(case.file(name))
    if signed is None:
        yield f"does not name {name}, so nothing proves whose it is"
    elif have != signed:
        yield f"{name} has sha256 {have}, it was signed with {signed}"


def _sbom(case: Case, made: Statement | None) -> Iterator[str]:
    name = case.name(SBOM)
    try:
        content = _read(case.file(SBOM))
    except ProvenanceError as error:
        yield f"{name}: {error}"
        return
    if content is None:
        yield _missing(name, case, "nothing says what is inside the binary")
        return
    if made is not None:
        yield from (f"{case.name(PROVENANCE)}: {line}" for line in _byproduct(case, made, SBOM))
    if case.info is not None and case.info.build is not None:
        yield from sbom.problems(content, case.info.sha256, case.info.build, name)


def _missing(name: str, case: Case, consequence: str) -> str:
    version = case.manifest.spec.version if case.manifest else "VERSION"
    remedy = f"on the controller that has it: gofallback attest {version}, then copy it again"
    return f"{name}: missing, so {consequence}; {remedy}"


def _read(path: Path) -> bytes | None:
    """The content, or None without a file."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProvenanceError(f"cannot be read ({error.strerror})") from None
    if len(content) > _LARGEST:
        raise ProvenanceError(f"is larger than {_LARGEST >> 20} MiB")
    return content


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        return f"of nothing ({error.strerror})"
