"""The archives of a version for people who want files: one for each platform and format, and their checksums."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gofallback.artifact.binary import inspect
from gofallback.artifact.checksums import CHECKSUMS, parse_line, render
from gofallback.artifact.verify import problems
from gofallback.controller.store import Stored
from gofallback.disk import file_sha256
from gofallback.git import resolve
from gofallback.git.commit_files import commit_files
from gofallback.model import Service
from gofallback.publish.address import replaced
from gofallback.publish.archive import Entry, Format, default_format, write
from gofallback.publish.errors import PublishError
from gofallback.publish.files import Item


@dataclass(frozen=True)
class WrittenFile:
    """One file in the folder."""

    item: Item
    state: str
    """``written``, ``there already``, or ``replaced``: a file with other bytes had this name."""


def complete_platforms(service: Service, artifacts: Sequence[Stored]) -> dict[str, list[Stored]]:
    """Platform to all its binaries by group data, the main one first.

    Args:
        service: group data.
        artifacts: of one version; the last build of each binary and platform.

    Raises:
        PublishError: a binary of a platform is missing, or is of another commit.
    """
    platforms: dict[str, list[Stored]] = {}
    for platform in sorted({one.manifest.platform for one in artifacts}):
        of = {one.manifest.spec.binary: one for one in artifacts if one.manifest.platform == platform}
        names = [service.binary, *sorted(service.build.binaries)]
        lacking = [name for name in names if name not in of]
        version = artifacts[0].manifest.spec.version
        if lacking:
            raise PublishError(
                f"{service.name} {version} {platform}: {', '.join(lacking)} is not in the artifact store; build every "
                f"binary with deploys/drill.py --data ref={version}"
            )
        platforms[platform] = [of[name] for name in names]
    commits = sorted({one.manifest.spec.commit for binaries in platforms.values() for one in binaries})
    if len(commits) > 1:
        raise PublishError(
            f"{service.name}: its artifacts are of several commits ({', '.join(one[:12] for one in commits)}), a tag "
            "was moved; build it again"
        )
    return platforms


def write_archives(service: Service, platforms: dict[str, list[Stored]], mirrors: Path, to: Path) -> list[WrittenFile]:
    """Write every archive into a folder, then checksums.txt, which keeps its earlier lines.

    Args:
        service: group data; its ``archives`` names the archives and their files.
        platforms: see `complete_platforms`.
        mirrors: folder of git mirrors, for ``archives.files``.
        to: the folder; made if it is missing.

    Raises:
        PublishError: an artifact is not what its manifest says, two files would have one name, or the disk fails.
        DataError, SourceError: a file of the repository cannot be read.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".archive-", dir=to) as folder:
            work = Path(folder)
            beside = list(_repository_files(service, platforms, mirrors, work))
            written = [
                _moved(path, to)
                for binaries in platforms.values()
                for path in _of_platform(service, binaries, beside, work)
            ]
            sums = work / CHECKSUMS
            sums.write_text(_sums(to, written))
            return [*written, _moved(sums, to)]
    except OSError as error:
        raise PublishError(f"{error.filename or to}: cannot be read or written ({error.strerror})") from None


def _repository_files(
    service: Service, platforms: dict[str, list[Stored]], mirrors: Path, work: Path
) -> Iterator[Entry]:
    if not service.archives.files:
        return
    commit = next(iter(platforms.values()))[0].manifest.spec.commit
    source = resolve.at_commit(service, commit, mirrors)
    seen = set()
    for number, pattern in enumerate(service.archives.files):
        key = f"services.{service.name}.archives.files[{number}]"
        for file in commit_files(source, key, pattern, work):
            if file.path not in seen:  # two patterns may select the same file
                seen.add(file.path)
                yield Entry(file.path, file.local, file.mode)


def _of_platform(service: Service, binaries: list[Stored], beside: Sequence[Entry], work: Path) -> Iterator[Path]:
    spec = binaries[0].manifest.spec
    values = {"service": service.name, "version": spec.version, "os": spec.goos, "arch": spec.goarch}
    name = replaced(service.archives.name, values)
    when = _commit_time(binaries)
    programs = [Entry(one.manifest.spec.file_name, one.path, 0o755) for one in binaries]
    taken = {entry.name.lower() for entry in programs}
    for entry in beside:
        if entry.name.lower() in taken:
            raise PublishError(
                f"{service.name}: archives.files: {entry.name} is the name of a binary too; leave it out"
            )
    entries = [Entry(f"{name}/{entry.name}", entry.path, entry.mode) for entry in (*programs, *beside)]
    kinds: list[Format] = list(dict.fromkeys(service.archives.formats)) or [default_format(spec.goos)]
    for kind in kinds:
        target = work / f"{name}.{kind}"
        if target.exists():
            raise PublishError(f"{service.name}: archives.name gives two archives the name {target.name}")
        yield write(kind, entries, target, when=when)


def _commit_time(binaries: list[Stored]) -> datetime:
    """The time of the commit, from the build info of the binaries, which are verified once more here."""
    times = []
    for one in binaries:
        info, manifest = inspect(one.path), one.manifest
        wrong = problems(info, manifest.spec, sha256=manifest.sha256, size=manifest.size)
        if wrong:
            raise PublishError(f"{'; '.join(wrong)}; not packed")
        times.append(info.build.settings.get("vcs.time", "") if info.build else "")
    try:
        return datetime.fromisoformat(times[0]).astimezone(UTC)
    except ValueError:
        spec = binaries[0].manifest.spec
        raise PublishError(
            f"{spec.binary} {spec.version}: has no time of its commit (vcs.time); build it again"
        ) from None


def _moved(path: Path, to: Path) -> WrittenFile:
    target = to / path.name
    state = "written"
    if target.is_file():
        state = "there already" if file_sha256(target) == file_sha256(path) else "replaced"
    path.chmod(0o644)
    path.replace(target)
    return WrittenFile(Item.of(target, target.name), state)


def _sums(to: Path, written: Sequence[WrittenFile]) -> str:
    """checksums.txt, with the lines of other versions whose files are still in the folder."""
    sums = {}
    try:
        lines = (to / CHECKSUMS).read_text("utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except UnicodeDecodeError:
        raise PublishError(f"{to / CHECKSUMS}: is not a file of sums; choose another folder") from None
    for line in lines:
        entry = parse_line(line)
        if entry is None:
            raise PublishError(f"{to / CHECKSUMS}: is not a file of sums; choose another folder")
        if (to / entry[0]).is_file():
            sums[entry[0]] = entry[1]
    return render(sums | {file.item.name: file.item.sha256 for file in written})
