"""The artifacts that this controller has: binaries and their manifests, read only after their hash was checked again.

Layout below the root (``$GOFALLBACK_HOME/artifacts``)::

    <service>/<version>/<goos>-<goarch>/<first 16 of the key>/
        {<binary>, manifest.json, provenance.json, sbom.json, checksums.txt}

Safe for several runs at once: a folder appears complete by one rename, and writers of a service take turns (flock).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from gofallback.artifact.manifest import Manifest
from gofallback.disk import sync_folder
from gofallback.errors import GofallbackError

MANIFEST = "manifest.json"
_PART = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]*")
_KEY = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


class StoreError(GofallbackError):
    """An artifact that cannot be kept; one line."""


@dataclass(frozen=True)
class Stored:
    """A checked artifact."""

    path: Path
    """The binary."""
    manifest: Manifest


def _silent(_: str) -> None:
    pass


class ArtifactStore:
    """Artifacts below ``root``; ``say`` hears one line about every damaged one (which then counts as absent)."""

    def __init__(self, root: Path, say: Callable[[str], None] = _silent) -> None:
        self.root = root
        self._say = say

    def add(self, manifest: Manifest, file: Path, beside: Mapping[str, bytes] | None = None) -> Stored:
        """Copy ``file`` into the store; the bytes that were written have to be those the manifest names.

        Args:
            manifest: of the artifact.
            file: the binary.
            beside: further files of the artifact's folder, such as its provenance; they appear together with it.

        Raises:
            StoreError: the content, the key or a name is wrong, or the disk refuses.
        """
        folder = self._folder(manifest)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(manifest.spec.service):
                present = self._read(folder, report=True)
                if present:
                    return present
                return self._place(manifest, file, folder, beside or {})
        except OSError as error:
            raise StoreError(f"artifact {_label(manifest)}: cannot be stored in {folder}: {error.strerror}") from None

    def attach(self, stored: Stored, beside: Mapping[str, bytes], without: Collection[str] = ()) -> None:
        """Put further files beside an artifact that is there already; each appears whole.

        Args:
            stored: the artifact.
            beside: file name to content.
            without: names of files beside it that are removed, if they are there.

        Raises:
            StoreError: the disk refuses.
        """
        folder = stored.path.parent
        try:
            with self._locked(stored.manifest.spec.service):
                for name, content in beside.items():
                    _write(folder / f".{name}", content)
                for name in beside:
                    (folder / f".{name}").replace(folder / name)
                for name in without:
                    (folder / name).unlink(missing_ok=True)
                sync_folder(folder)
        except OSError as error:
            raise StoreError(f"{folder}: cannot be written ({error.strerror})") from None

    def find(self, service: str, key: str) -> Stored | None:
        """The artifact of a key, re-hashed; None when there is none or it is damaged."""
        _checked("service", service)
        if not _KEY.fullmatch(key):
            raise StoreError(f"artifact key {key!r}: should be 64 hex digits")
        for folder in sorted((self.root / service).glob(f"*/*/{key[:16]}")):
            stored = self._read(folder, report=True)
            if stored and stored.manifest.key == key:
                return stored
        return None

    def versions(self, service: str) -> list[str]:
        """Versions with at least one artifact, the one built last first. Reads manifests, does not hash."""
        newest: dict[str, str] = {}
        for folder in self._folders(service):
            manifest = _manifest(folder)
            if manifest:
                version = manifest.spec.version
                newest[version] = max(newest.get(version, ""), manifest.built_at)
        return sorted(newest, key=lambda version: (newest[version], version), reverse=True)

    def by_version(self, service: str, version: str) -> list[Stored]:
        """Every undamaged artifact of a version, re-hashed; by platform, the one built last first."""
        _checked("version", version)
        found = [self._read(folder, report=True) for folder in self._folders(service, version)]
        good = sorted((one for one in found if one), key=lambda one: one.manifest.built_at, reverse=True)
        return sorted(good, key=lambda one: one.manifest.platform)

    def prune(self, keep: int, protect: Collection[str] = ()) -> list[Path]:
        """Remove all but the ``keep`` newest versions of every service; artifacts whose key is in ``protect`` stay.

        Returns:
            The folders that were removed.
        """
        if keep < 1:
            raise StoreError(f"prune: keep should be at least 1, got {keep}")
        removed: list[Path] = []
        for service in sorted(entry.name for entry in _listed(self.root) if _PART.fullmatch(entry.name)):
            with self._locked(service):
                for version in self.versions(service)[keep:]:
                    removed += [folder for folder in self._folders(service, version) if self._drop(folder, protect)]
        return removed

    def _place(self, manifest: Manifest, file: Path, folder: Path, beside: Mapping[str, bytes]) -> Stored:
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
        try:
            binary = temporary / manifest.spec.file_name
            size, digest = _copy(file, binary)
            if (size, digest) != (manifest.size, manifest.sha256):
                raise StoreError(
                    f"artifact {_label(manifest)}: {file} has sha256 {digest} and {size} bytes, its manifest says "
                    f"{manifest.sha256} and {manifest.size} bytes; it changed on the way, run again"
                )
            for name, content in {**beside, MANIFEST: manifest_text(manifest)}.items():
                _write(temporary / name, content)
            temporary.chmod(0o755)
            if folder.exists():  # damaged: reported by add
                shutil.rmtree(folder)
            temporary.rename(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return Stored(folder / manifest.spec.file_name, manifest)

    def _read(self, folder: Path, *, report: bool) -> Stored | None:
        if not folder.is_dir():
            return None
        problem = ""
        manifest = _manifest(folder)
        if manifest is None:
            problem = "its manifest cannot be read"
        else:
            path = folder / manifest.spec.file_name
            problem = _damage(manifest, path, folder)
            if not problem:
                return Stored(path, manifest)
        if report and folder.is_dir():  # not pruned meanwhile
            self._say(f"artifact {folder}: {problem}; treated as absent")
        return None

    def _drop(self, folder: Path, protect: Collection[str]) -> bool:
        manifest = _manifest(folder)
        if manifest and manifest.key in protect:
            return False
        doomed = folder.with_name(f".old-{folder.name}")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed)
        for parent in (folder.parent, folder.parent.parent):
            with contextlib.suppress(OSError):  # not empty
                parent.rmdir()
        return True

    def _folders(self, service: str, version: str = "*") -> list[Path]:
        _checked("service", service)
        return sorted(
            entry for entry in (self.root / service).glob(f"{version}/*/*") if re.fullmatch("[0-9a-f]{16}", entry.name)
        )

    def _folder(self, manifest: Manifest) -> Path:
        spec = manifest.spec
        for what, part in (("service", spec.service), ("version", spec.version), ("binary", spec.file_name)):
            _checked(what, part)
        if manifest.key != spec.key:
            raise StoreError(f"artifact {_label(manifest)}: key {manifest.key} is not the key of its build, {spec.key}")
        return self.root / spec.service / spec.version / f"{spec.goos}-{spec.goarch}" / manifest.key[:16]

    @contextlib.contextmanager
    def _locked(self, service: str) -> Iterator[None]:
        folder = self.root / service
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def manifest_text(manifest: Manifest) -> bytes:
    """The bytes of manifest.json."""
    return manifest.model_dump_json(indent=2).encode() + b"\n"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damage(manifest: Manifest, path: Path, folder: Path) -> str:
    if manifest.key != manifest.spec.key or manifest.key[:16] != folder.name:
        return "its manifest belongs to another artifact"
    try:
        size = path.stat().st_size
        digest = file_sha256(path)
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"
    if (size, digest) != (manifest.size, manifest.sha256):
        return (
            f"{path.name} is damaged: sha256 {digest} and {size} bytes, its manifest says "
            f"{manifest.sha256} and {manifest.size} bytes"
        )
    return ""


def _manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def _label(manifest: Manifest) -> str:
    return f"{manifest.spec.what} {manifest.spec.version} {manifest.platform}"


def _checked(what: str, part: str) -> None:
    if not _PART.fullmatch(part):
        raise StoreError(f"artifact {what} {part!r}: should be letters, digits, '.', '_', '+' and '-'")


def _listed(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []


def _copy(source: Path, target: Path) -> tuple[int, str]:
    """Copy and hash what is written; size in bytes and SHA-256."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    target.chmod(0o755)
    return size, digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
