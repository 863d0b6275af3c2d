"""The controller brings the modules: it downloads what a commit's go.sum names, once, and knows which files that is.

Go itself downloads, with this machine's own credentials, into a cache of its own (``$GOFALLBACK_HOME/modules/cache``)
and verifies every module with the commit's go.sum. What a commit needs is then written down (``sets/<digest of its
module files>``): the next commit with the same go.mod and go.sum needs neither Go nor any server.
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
from gofallback.gomod import go_command
from gofallback.gomod.run import ModuleError, ModuleRequest, objects
from gofallback.gomod.run import go as run_go
from gofallback.report.style import size_text

_DAY = 86400.0


@dataclass(frozen=True)
class ModuleFile:
    """One file a builder's go asks its proxy for."""

    name: str
    """Below the root of a proxy, with ``/``."""
    path: Path
    size: int
    """Bytes."""
    hash: str = ""
    """``h1:...`` as go.sum has it; empty for a ``.info``, which nothing verifies and nothing is built from."""


@dataclass(frozen=True)
class ModuleSet:
    """All files that one commit needs."""

    files: tuple[ModuleFile, ...]
    fetched: int = 0
    """Bytes that were not in the controller's cache before."""

    @property
    def modules(self) -> int:
        """How many modules."""
        return sum(file.name.endswith(".zip") for file in self.files)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)

    @property
    def receipt(self) -> str:
        """See `gofallback.build.modules.receipt`."""
        return receipt((file.name, file.size) for file in self.files)


def download_modules(wanted: ModuleRequest, say: Callable[[str], None]) -> ModuleSet:
    """Every file of every module that the commit needs, in the controller's cache.

    Args:
        wanted: whose, and how.
        say: hears about progress.

    Raises:
        ModuleError: what is missing cannot be had; cause and remedy in one line.
        GoError, DownloadError: go is needed and the controller has none.
        ModuleSecretError: a credential is not where data says.
    """
    known = _known(wanted)
    if known is not None:
        verb = "is" if known.modules == 1 else "are"
        say(f"{wanted.label}: {_count(known)} {verb} in the controller's cache; nobody was asked")
        return known
    go = wanted.go()
    _sweep(wanted.folder / "tmp")
    export = wanted.folder / "tmp" / secrets.token_hex(6)
    try:
        _export(wanted.files, export)
        found = _download(wanted, go, export, say)
        _remember(wanted, found)
    except OSError as error:
        raise ModuleError(f"{error.filename or wanted.folder}: {error.strerror}; free space and run again") from None
    finally:
        shutil.rmtree(export, ignore_errors=True)
    say(f"{wanted.label}: {_count(found)} verified with go.sum, {size_text(found.fetched)} of it downloaded now")
    return found


def _sweep(folder: Path) -> None:
    """What runs left that were killed; a run beside this one is younger."""
    for one in folder.glob("*"):
        with contextlib.suppress(OSError):  # its own run may just be removing it
            if one.stat().st_mtime < time.time() - _DAY:
                shutil.rmtree(one, ignore_errors=True)


def _count(found: ModuleSet) -> str:
    return f"{found.modules} module{'' if found.modules == 1 else 's'} ({size_text(found.size)})"


def check(file: ModuleFile) -> bool:
    """Whether a file of the cache still is what go.sum names; a damaged one is removed, so that go fetches it again."""
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
    names = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            digest = hashlib.sha256()
            with archive.open(entry) as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
            names[entry.filename] = digest.digest()
    return h1(names)


def _known(wanted: ModuleRequest) -> ModuleSet | None:
    """What an earlier run wrote down for the same module files, if all of it is still there."""
    try:
        listed = json.loads(wanted.record.read_text())
        found = [ModuleFile(one["name"], wanted.downloads / one["name"], one["size"], one["hash"]) for one in listed]
        if all(file.path.stat().st_size == file.size for file in found):
            return ModuleSet(tuple(found))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _remember(wanted: ModuleRequest, found: ModuleSet) -> None:
    wanted.record.parent.mkdir(parents=True, exist_ok=True)
    listed = [{"name": file.name, "size": file.size, "hash": file.hash} for file in found.files]
    fresh = wanted.record.with_suffix(f".{secrets.token_hex(4)}")
    fresh.write_text(json.dumps(listed))
    fresh.replace(wanted.record)


def _export(files: ModuleFiles, folder: Path) -> None:
    for name, content in files.files.items():
        if ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise ModuleError(f"the commit has a file {name!r}, which would lie outside of it; nothing was read")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / files.directory).mkdir(parents=True, exist_ok=True)


def _download(wanted: ModuleRequest, go: go_command.Go, export: Path, say: Callable[[str], None]) -> ModuleSet:
    listed = run_go(wanted, go, export, ["list", "-m", "-json", "all"], say)
    sums = wanted.files.sums
    named = {(one.path, one.version) for one in sums if not one.gomod}
    needed = [(path, real) for path, real in _modules(listed) if real in named]
    fetched: set[tuple[str, str]] = set()
    for attempt in (1, 2):
        absent = {real for _, real in needed if not _cached(wanted, real)}
        if absent:
            say(f"{wanted.label}: {len(absent)} of {len(needed)} modules are not in the controller's cache: fetching")
        if needed:
            # Paths without versions: what go.mod selects, after its `replace`.
            run_go(wanted, go, export, ["mod", "download", "-json", *(path for path, _ in needed)], say)
        fetched |= absent
        found = _collect(wanted, sums, {real for _, real in needed}, fetched)
        damaged = [file.path for file in found.files if file.name.endswith(".zip") and not check(file)]
        if not damaged:
            return found
        if attempt == 1:
            say(f"{wanted.label}: {damaged[0]} was damaged on the disk: fetching it again")
    raise ModuleError(f"{wanted.label}: {damaged[0]} does not keep what is written to it; is the disk damaged?")


def _cached(wanted: ModuleRequest, module: tuple[str, str]) -> bool:
    return (wanted.downloads / proxy_name(*module, "zip")).is_file()


def _modules(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Of ``go list -m -json all``: each path, and what go takes for it after ``replace``; folders are left out."""
    for module in objects(text):
        real = module.get("Replace") or module
        if module.get("Version") and real.get("Version"):
            yield module["Path"], (real["Path"], real["Version"])


def _collect(
    wanted: ModuleRequest, sums: set[Sum], modules: set[tuple[str, str]], fetched: set[tuple[str, str]]
) -> ModuleSet:
    """The files of ``modules``, and each go.mod that go.sum names: go reads those of modules it builds nothing of."""
    found: dict[str, ModuleFile] = {}

    def add(name: str, digest: str = "") -> None:
        path = wanted.downloads / name
        if path.is_file():
            found[name] = ModuleFile(name, path, path.stat().st_size, digest)

    for one in sums:
        if one.gomod:
            add(proxy_name(one.path, one.version, "mod"), one.hash)
        elif (one.path, one.version) in modules:
            add(proxy_name(one.path, one.version, "zip"), one.hash)
            add(proxy_name(one.path, one.version, "info"))
    new = {proxy_name(*module, "zip") for module in fetched}
    return ModuleSet(
        tuple(found[name] for name in sorted(found)), sum(found[name].size for name in new if name in found)
    )
