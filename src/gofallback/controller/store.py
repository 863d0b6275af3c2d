"""The artifacts of this controller: binaries and their manifests. Every read verifies the hash again.

Layout below the root (``$GOFALLBACK_HOME/artifacts``)::

    <service>/<version>/<goos>-<goarch>/<first 16 of the key>/
        {<binary>, manifest.json, provenance.json, sbom.json, checksums.txt}

Safe for concurrent runs: a folder appears complete by one rename, and writers of a service take turns (flock).
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
from gofallback.disk import file_sha256, sync_folder
from gofallback.errors import GofallbackError

MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]*")
_KEY = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


class StoreError(GofallbackError):
    """An artifact that cannot be stored; one line."""


@dataclass(frozen=True)
class Stored:
    """A verified artifact."""

    path: Path
    """The binary."""
    manifest: Manifest


class ArtifactStore:
    """Artifacts below ``root``; ``log`` receives one line for every damaged one, which counts as absent."""

    def __init__(self, root: Path, log: Callable[[str], None] = lambda _: None) -> None:
        self.root = root
        self._log = log

    def add(self, manifest: Manifest, file: Path, beside: Mapping[str, bytes] | None = None) -> Stored:
        """Copy ``file`` into the store; the written bytes have to match the manifest.

        Args:
            manifest: of the artifact.
            file: the binary.
            beside: more files of the artifact's folder, such as its provenance; they appear together with it.

        Raises:
            StoreError: the content, the key or a name is wrong, or the disk cannot be written.
        """
        folder = self._folder(manifest)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(manifest.spec.service):
                stored = self._read(folder)
                if stored:
                    return stored
                return self._place(manifest, file, folder, beside or {})
        except OSError as error:
            raise StoreError(f"artifact {_label(manifest)}: cannot be stored in {folder}: {error.strerror}") from None

    def attach(self, stored: Stored, beside: Mapping[str, bytes], without: Collection[str] = ()) -> None:
        """Put more files beside a stored artifact; each appears whole.

        Args:
            stored: the artifact.
            beside: file name to content.
            without: names of files to remove from its folder.

        Raises:
            StoreError: the disk cannot be written.
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
        """The artifact of a key, verified; None when it is missing or damaged."""
        _require_name("service", service)
        if not _KEY.fullmatch(key):
            raise StoreError(f"artifact key {key!r}: should be 64 hex digits")
        for folder in sorted((self.root / service).glob(f"*/*/{key[:16]}")):
            stored = self._read(folder)
            if stored and stored.manifest.key == key:
                return stored
        return None

    def services(self) -> list[str]:
        """Names of services with artifacts, gofallback's own agent included; sorted."""
        folders = self.root.iterdir() if self.root.is_dir() else ()
        return sorted(entry.name for entry in folders if entry.is_dir() and _NAME.fullmatch(entry.name))

    def versions(self, service: str) -> list[str]:
        """Versions with at least one artifact, the newest build first. Reads manifests, does not hash."""
        newest: dict[str, str] = {}
        for folder in self._folders(service):
            manifest = _manifest(folder)
            if manifest:
                version = manifest.spec.version
                newest[version] = max(newest.get(version, ""), manifest.built_at)
        return sorted(newest, key=lambda version: (newest[version], version), reverse=True)

    def by_version(self, service: str, version: str) -> list[Stored]:
        """Every undamaged artifact of a version, verified; by platform, the newest build first."""
        _require_name("version", version)
        found = [self._read(folder) for folder in self._folders(service, version)]
        good = sorted((one for one in found if one), key=lambda one: one.manifest.built_at, reverse=True)
        return sorted(good, key=lambda one: one.manifest.platform)

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
            if folder.exists():  # damaged, as `add` has logged
                shutil.rmtree(folder)
            temporary.rename(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return Stored(folder / manifest.spec.file_name, manifest)

    def _read(self, folder: Path) -> Stored | None:
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
        self._log(f"artifact {folder}: {problem}; treated as absent")
        return None

    def _folders(self, service: str, version: str = "*") -> list[Path]:
        _require_name("service", service)
        return sorted(
            entry for entry in (self.root / service).glob(f"{version}/*/*") if re.fullmatch("[0-9a-f]{16}", entry.name)
        )

    def _folder(self, manifest: Manifest) -> Path:
        spec = manifest.spec
        for what, part in (("service", spec.service), ("version", spec.version), ("binary", spec.file_name)):
            _require_name(what, part)
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


def _damage(manifest: Manifest, path: Path, folder: Path) -> str:
    """The damage of an artifact; empty when it is intact."""
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


def _require_name(what: str, part: str) -> None:
    if not _NAME.fullmatch(part):
        raise StoreError(f"artifact {what} {part!r}: should be letters, digits, '.', '_', '+' and '-'")


def _copy(source: Path, target: Path) -> tuple[int, str]:
    """Copy, and hash the written bytes; size and SHA-256."""
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
