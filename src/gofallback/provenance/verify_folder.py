"""Compares a folder (an artifact, a release, published files) with its manifest and its provenance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from gofallback.artifact.binary import ArtifactError, BinaryInfo, inspect
from gofallback.artifact.manifest import Manifest
from gofallback.artifact.verify import problems
from gofallback.controller.store import MANIFEST
from gofallback.disk import file_sha256
from gofallback.errors import GofallbackError
from gofallback.model.base import Sha256
from gofallback.provenance.check import Case, Result, check
from gofallback.provenance.keys import TrustedKey

AGENT = Path("lib") / "gofallback-agent"
#: Levels below a folder that are searched for artifacts: <version>/<platform>/<key>/manifest.json of the store.
_DEPTH = 3


class NothingToVerifyError(GofallbackError):
    """The path holds nothing to verify; one line."""


class ReleaseManifest(Manifest):
    """manifest.json of an artifact, or of a release on a target with its further fields."""

    release: str | None = None
    agent_sha256: Sha256 | None = None
    contents: dict[str, Sha256] | None = None
    """SHA-256 of further binaries and further files of a release, by path inside it."""


@dataclass
class Verdict:
    """The result for one binary."""

    binary: Path
    info: BinaryInfo | None
    manifest: ReleaseManifest | None
    problems: list[str]
    """First of binary and manifest, then of the attestation."""
    attestation: Result


def artifact_folders(path: Path) -> list[Path]:
    """The folders of artifacts, or the published binaries, below a folder."""
    if not path.is_dir():
        return []
    if (path / MANIFEST).exists():
        manifest = _manifest(path / MANIFEST)
        further = [name for name in (manifest and manifest.contents) or () if name.startswith("bin/")]
        return [path, *(path / name for name in further)] if further else []
    published = [_published(found) for found in sorted(path.glob(f"*.{MANIFEST}"))]
    return published or sorted(
        found.parent for depth in range(1, _DEPTH + 1) for found in path.glob("*/" * depth + MANIFEST)
    )


def _published(manifest: Path) -> Path:
    """The binary of a published manifest, by the manifest's platform, whatever files are there."""
    known = _manifest(manifest)
    windows = known is not None and known.spec.goos == "windows"
    return manifest.with_name(manifest.name.removesuffix(f".{MANIFEST}") + (".exe" if windows else ""))


def verify_folder(path: Path, trusted: Sequence[TrustedKey], *, signature_required: bool) -> Verdict:
    """Compare a binary, or the main one of an artifact's or a release's folder, with the files beside it.

    Args:
        path: the binary, or the folder.
        trusted: keys whose signatures count.
        signature_required: a signature by a trusted key is required, even without a manifest.

    Raises:
        NothingToVerifyError: there is no binary.
        ArtifactError: the file is no binary.
    """
    binary, manifest, folder, prefix = _located(path)
    info, found = _inspected(binary, required=manifest is None)
    if manifest is not None:
        if info is not None:
            found += problems(info, manifest.spec, sha256=manifest.sha256, size=manifest.size)
        if manifest.key != manifest.spec.key:
            found.append(
                f"{MANIFEST}: key should be {manifest.spec.key}, the key of its build, got {manifest.key}; build again"
            )
        found += _contents(folder, manifest)
    result = check(
        Case(folder, binary, info, manifest, release=binary.parent != folder and not prefix, prefix=prefix),
        trusted,
        # Without trusted keys no signature can be checked; a binary alone is only described.
        required=signature_required or (manifest is not None and bool(trusted)),
    )
    return Verdict(binary, info, manifest, found + result.problems, result)


def _inspected(binary: Path, *, required: bool) -> tuple[BinaryInfo | None, list[str]]:
    try:
        return inspect(binary), []
    except ArtifactError as error:
        if required:
            raise
        return None, [str(error)]


def _contents(folder: Path, manifest: ReleaseManifest) -> Iterator[str]:
    """Problems of the agent, of further binaries and of further files of a release."""
    agent = {str(AGENT): manifest.agent_sha256} if manifest.agent_sha256 else {}
    for name, sha256 in (agent | (manifest.contents or {})).items():
        if name.startswith("/") or ".." in Path(name).parts:
            yield f"{MANIFEST}: names {name!r:.80}, which is outside of the folder"
            continue
        try:
            have = file_sha256(folder / name)
        except OSError as error:
            yield f"{name}: cannot be read ({error.strerror}); copy the folder again"
            continue
        if have != sha256:
            yield f"{name}: has sha256 {have}, {MANIFEST} says {sha256}; it was changed or damaged"


def _located(path: Path) -> tuple[Path, ReleaseManifest | None, Path, str]:
    """The binary, its manifest, the folder of its attestation, and the beginning of names there.

    The manifest lies beside the binary; in a release one folder up, for a further binary with its name in front; for
    published files with the binary's name in front.
    """
    if path.is_dir():
        manifest = _manifest(path / MANIFEST)
        if manifest is None:
            raise NothingToVerifyError(
                f"{path}: holds no {MANIFEST}; name the folder of an artifact or a release, or a binary"
            )
        names = (path / manifest.spec.file_name, path / "bin" / manifest.spec.binary)
        there = [name for name in names if name.is_file()]
        if not there:
            raise NothingToVerifyError(
                f"{path}: holds no {manifest.spec.file_name}, which its {MANIFEST} names; build or copy it again"
            )
        if len(there) > 1:  # an attacker may hope that the wrong one is verified
            raise NothingToVerifyError(
                f"{path}: holds {names[0].name} and bin/{names[1].name}; one of them is not ours"
            )
        return there[0], manifest, path, ""
    prefix = path.name.removesuffix(".exe")
    own = path.parent / f"{prefix}.{MANIFEST}"
    if own.exists() and _published(own) == path:
        return path, _manifest(own), path.parent, prefix
    above = path.parent.parent if path.parent.name == "bin" else path.parent
    further = above / f"{prefix}.{MANIFEST}"
    if above != path.parent and further.exists():
        return path, _manifest(further), above, prefix
    for folder in (path.parent, above):
        manifest = _manifest(folder / MANIFEST)
        if manifest is not None:
            return path, manifest, folder, ""
    return path, None, path.parent, ""


def _manifest(path: Path) -> ReleaseManifest | None:
    try:
        return ReleaseManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NothingToVerifyError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        first = f"{'.'.join(str(part) for part in detail['loc']) or 'content'}: {detail['msg'].lower()}"
        raise NothingToVerifyError(f"{path}: is not a manifest of gofallback ({first}); build again") from None
