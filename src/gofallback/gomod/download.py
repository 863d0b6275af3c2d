"""Download the modules that a commit's go.sum names, once, and list their files.

Go downloads, with this machine's own credentials, into a cache of its own (``$GOFALLBACK_HOME/modules/cache``) and
verifies every module with the commit's go.sum. The list of files is kept (``sets/<digest of the module files>``): the
next commit with the same go.mod and go.sum needs neither Go nor any server.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gofallback.disk import file_sha256
from gofallback.gobuild.modules import ModuleFiles, Sum, h1, proxy_name, receipt
from gofallback.gomod.run import GoRun, ModuleError, ModuleRequest, objects
from gofallback.report.style import size_text

_DAY = 86400.0


@dataclass(frozen=True)
class ModuleFile:
    """One file that go on a builder reads from its proxy."""

    name: str
    """Below the root of a proxy, with ``/``."""
    path: Path
    size: int
    """Bytes."""
    hash: str = ""
    """``h1:...`` of go.sum; empty for a ``.info``, which is not verified, and from which nothing is built."""


@dataclass(frozen=True)
class ModuleSet:
    """All files that one commit needs."""

    files: tuple[ModuleFile, ...]
    fetched: int = 0
    """Bytes that this run downloaded."""

    @property
    def modules(self) -> int:
        """Number of modules."""
        return sum(file.name.endswith(".zip") for file in self.files)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)

    @property
    def receipt(self) -> str:
        """See `gofallback.gobuild.modules.receipt`."""
        return receipt((file.name, file.size) for file in self.files)


def download_modules(request: ModuleRequest, report: Callable[[str], None]) -> ModuleSet:
    """Every file of every module that the commit needs, in the controller's cache.

    Args:
        request: the commit, and how its modules may be downloaded.
        report: called with lines of progress.

    Raises:
        ModuleError: a module cannot be downloaded; cause and remedy in one line.
        GoError, DownloadError: go is needed and the controller has none.
        ModuleSecretError: a credential is not in the place that group data names.
    """
    cached = _recorded(request)
    if cached is not None:
        verb = "is" if cached.modules == 1 else "are"
        report(f"{request.label}: {_count(cached)} {verb} in the controller's cache; no server was contacted")
        return cached
    go = request.find_go()
    _remove_old(request.folder / "tmp")
    export = request.folder / "tmp" / secrets.token_hex(6)
    try:
        _export(request.files, export)
        modules = _download(GoRun(request, go, export, report))
        _record(request, modules)
    except OSError as error:
        raise ModuleError(f"{error.filename or request.folder}: {error.strerror}; free space and run again") from None
    finally:
        shutil.rmtree(export, ignore_errors=True)
    report(
        f"{request.label}: {_count(modules)} verified with go.sum, {size_text(modules.fetched)} of it downloaded now"
    )
    return modules


def _remove_old(folder: Path) -> None:
    """Remove folders of killed runs; those of parallel runs are younger."""
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):  # its own run may be removing it
            if path.stat().st_mtime < time.time() - _DAY:
                shutil.rmtree(path, ignore_errors=True)


def _count(modules: ModuleSet) -> str:
    return f"{modules.modules} module{'' if modules.modules == 1 else 's'} ({size_text(modules.size)})"


def verify(file: ModuleFile) -> bool:
    """Whether a cached file still has the hash of go.sum; a damaged file is removed, so that go fetches it again."""
    if not file.hash:
        return True
    try:
        good = file.hash == (_zip_hash(file.path) if file.name.endswith(".zip") else _gomod_hash(file.path))
    except (OSError, zipfile.BadZipFile, EOFError):
        good = False
    if not good:
        for path in (file.path, file.path.with_suffix(".ziphash")):
            path.unlink(missing_ok=True)
    return good


def _gomod_hash(path: Path) -> str:
    return h1({"go.mod": bytes.fromhex(file_sha256(path))})


def _zip_hash(path: Path) -> str:
    digests = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            digest = hashlib.sha256()
            with archive.open(entry) as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
            digests[entry.filename] = digest.digest()
    return h1(digests)


def _recorded(request: ModuleRequest) -> ModuleSet | None:
    """The set that an earlier run recorded for the same module files, if every file is still there."""
    try:
        rows = json.loads(request.record.read_text())
        files = [ModuleFile(row["name"], request.downloads / row["name"], row["size"], row["hash"]) for row in rows]
        if all(file.path.stat().st_size == file.size for file in files):
            return ModuleSet(tuple(files))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _record(request: ModuleRequest, modules: ModuleSet) -> None:
    request.record.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"name": file.name, "size": file.size, "hash": file.hash} for file in modules.files]
    new = request.record.with_suffix(f".{secrets.token_hex(4)}")
    new.write_text(json.dumps(rows))
    new.replace(request.record)


def _export(files: ModuleFiles, folder: Path) -> None:
    for name, content in files.files.items():
        if ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise ModuleError(f"the commit has a file {name!r}, which would lie outside of it; nothing was read")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / files.directory).mkdir(parents=True, exist_ok=True)


def _download(go: GoRun) -> ModuleSet:
    request, sums = go.request, go.request.files.sums
    named = {(entry.path, entry.version) for entry in sums if not entry.gomod}
    needed = [(path, real) for path, real in _modules(go.run("list", "-m", "-json", "all")) if real in named]
    fetched: set[tuple[str, str]] = set()
    for attempt in (1, 2):
        absent = {real for _, real in needed if not _is_cached(request, real)}
        if absent:
            count = f"{len(absent)} of {len(needed)} modules"
            go.report(f"{request.label}: {count} are not in the controller's cache: fetching")
        if needed:
            # Paths without versions: the version that go.mod selects, after its `replace`.
            go.run("mod", "download", "-json", *(path for path, _ in needed))
        fetched |= absent
        modules = _collect(request, sums, {real for _, real in needed}, fetched)
        damaged = [file.path for file in modules.files if file.name.endswith(".zip") and not verify(file)]
        if not damaged:
            return modules
        if attempt == 1:
            go.report(f"{request.label}: {damaged[0]} was damaged on the disk: fetching it again")
    raise ModuleError(f"{request.label}: {damaged[0]} does not keep what is written to it; is the disk damaged?")


def _is_cached(request: ModuleRequest, module: tuple[str, str]) -> bool:
    return (request.downloads / proxy_name(*module, "zip")).is_file()


def _modules(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Of ``go list -m -json all``: each path, with the module and version behind its ``replace``; no folders."""
    for module in objects(text):
        real = module.get("Replace") or module
        if module.get("Version") and real.get("Version"):
            yield module["Path"], (real["Path"], real["Version"])


def _collect(
    request: ModuleRequest, sums: set[Sum], modules: set[tuple[str, str]], fetched: set[tuple[str, str]]
) -> ModuleSet:
    """The files of ``modules``, and every go.mod of go.sum: go reads those of modules that it does not build, too."""
    files: dict[str, ModuleFile] = {}

    def add(name: str, digest: str = "") -> None:
        path = request.downloads / name
        if path.is_file():
            files[name] = ModuleFile(name, path, path.stat().st_size, digest)

    for entry in sums:
        if entry.gomod:
            add(proxy_name(entry.path, entry.version, "mod"), entry.hash)
        elif (entry.path, entry.version) in modules:
            add(proxy_name(entry.path, entry.version, "zip"), entry.hash)
            add(proxy_name(entry.path, entry.version, "info"))
    new = {proxy_name(*module, "zip") for module in fetched}
    return ModuleSet(
        tuple(files[name] for name in sorted(files)), sum(files[name].size for name in new if name in files)
    )
