"""The files that are published for a version: every artifact's files under names of their own, and checksums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gofallback.artifact.checksums import CHECKSUMS, render
from gofallback.controller.store import ArtifactStore, Stored
from gofallback.disk import file_sha256
from gofallback.publish.archive import pack
from gofallback.publish.errors import PublishError

AGENT = "gofallback-agent"


@dataclass(frozen=True)
class Item:
    """One file to publish."""

    name: str
    path: Path
    size: int
    """Bytes."""
    sha256: str

    @classmethod
    def of(cls, path: Path, name: str) -> Item:
        """A file with its hash."""
        return cls(name, path, path.stat().st_size, file_sha256(path))


def select_artifacts(store: ArtifactStore, service: str | None, version: str) -> tuple[str, list[Stored]]:
    """The service, and its artifacts of the version: the last build of each binary and platform.

    Raises:
        PublishError: no service has this version, or several have it.
    """
    folders = sorted(store.root.iterdir()) if store.root.is_dir() else []
    known = [path.name for path in folders if path.is_dir() and not path.name.startswith(".") and path.name != AGENT]
    having = [name for name in ([service] if service else known) if version in store.versions(name)]
    if not having:
        newest = "; ".join(
            f"{name}: {', '.join(store.versions(name)[:5])}" for name in known if service in (None, name)
        )
        whose = f"{service} " if service else ""
        raise PublishError(
            f"{whose}{version}: not in the artifact store ({newest or 'nothing'}); build it with "
            f"deploys/drill.py --data ref={version}"
        )
    if len(having) > 1:
        raise PublishError(f"{version}: {', '.join(having)} have it; say which with --service")
    newest_of: dict[tuple[str, str], Stored] = {}
    for stored in store.by_version(having[0], version):
        newest_of.setdefault((stored.manifest.platform, stored.manifest.spec.binary), stored)
    if not newest_of:
        raise PublishError(f"{having[0]} {version}: every artifact of it is damaged; build it again")
    return having[0], list(newest_of.values())


def collect_files(artifacts: list[Stored], work: Path, *, archives: bool) -> list[Item]:
    """Every file to publish, checksums.txt last: where it is, the version is complete.

    Args:
        artifacts: of one version.
        work: an empty folder for new files.
        archives: also an archive of each artifact.

    Raises:
        PublishError: two files would have one name, or one cannot be read.
    """
    items: dict[str, Item] = {}
    try:
        for stored in artifacts:
            for path in _files(stored):
                if path.name != CHECKSUMS:  # has the names of the artifact's folder; published files have others
                    _add(items, Item.of(path, public_name(stored, path.name)))
            if archives:
                packed = pack(stored, _files(stored), work, stem(stored))
                _add(items, Item.of(packed, packed.name))
        ordered = [items[name] for name in sorted(items)]
        sums = work / CHECKSUMS
        sums.write_text(render({item.name: item.sha256 for item in ordered}))
        _add(items, Item.of(sums, CHECKSUMS))
    except OSError as error:
        raise PublishError(f"{error.filename or work}: cannot be read or written ({error.strerror})") from None
    return [*ordered, items[CHECKSUMS]]


def stem(stored: Stored) -> str:
    """Name of an artifact among those of its version, such as ``hello-linux-amd64``."""
    spec = stored.manifest.spec
    return f"{spec.binary}-{spec.goos}-{spec.goarch}"


def public_name(stored: Stored, name: str) -> str:
    """The published name of an artifact's file: registries have no folders below a version.

    ``hello`` -> ``hello-linux-amd64``, ``manifest.json`` -> ``hello-linux-amd64.manifest.json``.
    """
    spec = stored.manifest.spec
    if name == spec.file_name:
        return stem(stored) + name.removeprefix(spec.binary)
    return f"{stem(stored)}.{name.removeprefix(f'{spec.file_name}.')}"


def _files(stored: Stored) -> list[Path]:
    """Every file of the artifact's folder, without temporary ones, whose names begin with a dot."""
    folder = stored.path.parent
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _add(items: dict[str, Item], item: Item) -> None:
    if item.name in items:
        raise PublishError(f"{item.name}: {item.path} and {items[item.name].path} would have this name; rename one")
    items[item.name] = item
