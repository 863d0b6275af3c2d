"""The archives of a version for people who want files: one a platform and format, and the sums of all of them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gofallback.artifact.binary import inspect
from gofallback.artifact.verify import problems
from gofallback.controller.store import Stored
from gofallback.disk import file_sha256
from gofallback.git import resolve
from gofallback.git.commit_files import commit_files
from gofallback.model import Service
from gofallback.publish.archive import Entry, Format, default_format, write
from gofallback.publish.errors import PublishError
from gofallback.publish.files import CHECKSUMS, Item

_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


@dataclass(frozen=True)
class Made:
    """One file in the folder."""

    item: Item
    state: str
    """``written``, ``there already``, or ``replaced``: other bytes had its name."""


def complete(service: Service, artifacts: Sequence[Stored]) -> dict[str, list[Stored]]:
    """Platform to its binaries, every one that group data names, the main one first.

    Args:
        service: group data.
        artifacts: of one version; of each binary and platform the one that was built last.

    Raises:
        PublishError: a binary of a platform is missing, is of another commit, or is not what was asked for.
    """
    found: dict[str, list[Stored]] = {}
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
        found[platform] = [of[name] for name in names]
    commits = sorted({one.manifest.spec.commit for several in found.values() for one in several})
    if len(commits) > 1:
        raise PublishError(
            f"{service.name}: its artifacts are of several commits ({', '.join(one[:12] for one in commits)}), a tag "
            "was moved; build it anew"
        )
    return found


def make(service: Service, platforms: dict[str, list[Stored]], mirrors: Path, to: Path) -> list[Made]:
    """Write every archive into a folder, then checksums.txt, which names them and what else it named before.

    Args:
        service: group data; its ``archives`` says what they hold and what they are called.
        platforms: see `complete`.
        mirrors: folder of git mirrors, for ``archives.files``.
        to: the folder; made where it is not there.

    Raises:
        PublishError: an artifact is not what was asked for, two files would have one name, or the disk refuses.
        DataError, SourceError: a file of the repository cannot be had.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".archive-", dir=to) as folder:
            work = Path(folder)
            beside = list(_repository_files(service, platforms, mirrors, work))
            made = [
                _placed(path, to)
                for binaries in platforms.values()
                for path in _of_platform(service, binaries, beside, work)
            ]
            sums = work / CHECKSUMS
            sums.write_text(_sums(to, made))
            return [*made, _placed(sums, to)]
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
        for one in commit_files(source, key, pattern, work):
            if one.path not in seen:  # two patterns may mean the same file
                seen.add(one.path)
                yield Entry(one.path, one.local, one.mode)


def _of_platform(service: Service, binaries: list[Stored], beside: Sequence[Entry], work: Path) -> Iterator[Path]:
    spec = binaries[0].manifest.spec
    name = _filled(service.archives.name, service.name, spec.version, spec.goos, spec.goarch)
    when = _checked(binaries)
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


def _checked(binaries: list[Stored]) -> datetime:
    """The time of the commit, from what Go wrote into the binaries; each is judged once more on the way."""
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
            f"{spec.binary} {spec.version}: says no time of its commit (vcs.time); build it again"
        ) from None


def _filled(name: str, service: str, version: str, goos: str, goarch: str) -> str:
    known = {"service": service, "version": version, "os": goos, "arch": goarch}
    return re.sub(r"\{(\w+)\}", lambda found: known[found[1]], name)


def _placed(path: Path, to: Path) -> Made:
    target = to / path.name
    state = "written"
    if target.is_file():
        state = "there already" if file_sha256(target) == file_sha256(path) else "replaced"
    path.chmod(0o644)
    path.replace(target)
    return Made(Item.of(target, target.name), state)


def _sums(to: Path, made: Sequence[Made]) -> str:
    """Of a folder that collects versions it keeps the lines of the others, as long as their files are there."""
    sums = {}
    try:
        lines = (to / CHECKSUMS).read_text("utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except UnicodeDecodeError:
        raise PublishError(f"{to / CHECKSUMS}: is not a file of sums; choose another folder") from None
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            raise PublishError(f"{to / CHECKSUMS}: is not a file of sums; choose another folder")
        if (to / found[2]).is_file():
            sums[found[2]] = found[1]
    sums |= {one.item.name: one.item.sha256 for one in made}
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
