"""What is published for a version: every file of every platform's artifact under a name of its own, and their sums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gofallback.controller.store import ArtifactStore, Stored
from gofallback.disk import file_sha256
from gofallback.publish.archive import pack
from gofallback.publish.errors import PublishError

CHECKSUMS = "checksums.txt"
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
        """Read the file once for its sum."""
        return cls(name, path, path.stat().st_size, file_sha256(path))


def chosen(store: ArtifactStore, service: str | None, version: str) -> tuple[str, list[Stored]]:
    """The service, and its artifacts of the version: of each binary and platform the one built last.

    Raises:
        PublishError: nothing has this version, or several services have it.
    """
    folders = sorted(store.root.iterdir()) if store.root.is_dir() else []
    known = [one.name for one in folders if one.is_dir() and not one.name.startswith(".") and one.name != AGENT]
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
    for one in store.by_version(having[0], version):
        newest_of.setdefault((one.manifest.platform, one.manifest.spec.binary), one)
    if not newest_of:
        raise PublishError(f"{having[0]} {version}: every artifact of it is damaged; build it again")
    return having[0], list(newest_of.values())


def collect(artifacts: list[Stored], work: Path, *, archives: bool) -> list[Item]:
    """Every file to publish, the sums last: whoever sees those sees a complete version.

    Args:
        artifacts: of one version.
        work: an empty folder for what is made here.
        archives: also an archive of each artifact.

    Raises:
        PublishError: two files would have one name, or one cannot be read.
    """
    items: dict[str, Item] = {}
    try:
        for one in artifacts:
            for path in _files(one):
                if path.name != CHECKSUMS:  # it names files as the artifact's folder does; here they have other names
                    _add(items, Item.of(path, public_name(one, path.name)))
            if archives:
                packed = pack(one, _files(one), work, stem(one))
                _add(items, Item.of(packed, packed.name))
        ordered = [items[name] for name in sorted(items)]
        sums = work / CHECKSUMS
        sums.write_text("".join(f"{item.sha256}  {item.name}\n" for item in ordered))
        _add(items, Item.of(sums, CHECKSUMS))
    except OSError as error:
        raise PublishError(f"{error.filename or work}: cannot be read or written ({error.strerror})") from None
    return [*ordered, items[CHECKSUMS]]


def stem(one: Stored) -> str:
    """Name of an artifact among those of its version, such as ``hello-linux-amd64``."""
    spec = one.manifest.spec
    return f"{spec.binary}-{spec.goos}-{spec.goarch}"


def public_name(one: Stored, name: str) -> str:
    """Name of a file of an artifact: registries have no folders below a version.

    ``hello`` -> ``hello-linux-amd64``, ``manifest.json`` -> ``hello-linux-amd64.manifest.json``.
    """
    spec = one.manifest.spec
    if name == spec.file_name:
        return stem(one) + name.removeprefix(spec.binary)
    return f"{stem(one)}.{name.removeprefix(f'{spec.file_name}.')}"


def _files(one: Stored) -> list[Path]:
    """Every file of the artifact's folder; what begins with a dot is somebody's work in progress."""
    folder = one.path.parent
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _add(items: dict[str, Item], item: Item) -> None:
    if item.name in items:
        raise PublishError(f"{item.name}: {item.path} and {items[item.name].path} would have this name; rename one")
    items[item.name] = item
