"""Sysroots for builders: read on the controller, named by their content, packed once.

The name of a sysroot is the SHA-256 of its list: a line ``<sha256>  <path>`` for every file, sorted, as
``sha256sum -c`` reads it. A folder and an archive of it have the same name, whatever owner, time or order their files
have. Symbolic links become copies of their targets *within* the sysroot: Windows makes no links without privilege.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import secrets
import shutil
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from gofallback.controller.downloads import Log
from gofallback.disk import file_sha256
from gofallback.errors import GofallbackError

LIST = "gofallback-sysroot.txt"
"""The list, in the sysroot's own folder on a builder."""
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".zip")
_MOST_FILES = 200_000
_MOST_LINKS = 40
"""Links on one path before it counts as a loop, as in Linux (path_resolution(7))."""


class SysrootError(GofallbackError):
    """A sysroot that cannot be read or packed; one line."""


@dataclass(frozen=True)
class Sysroot:
    """A sysroot that was read."""

    digest: str
    """64 hex digits: the SHA-256 of its list."""
    files: tuple[tuple[str, Path], ...]
    """(path within, file on the controller), sorted."""
    listing: bytes
    sizes: tuple[int, ...] = ()
    """Bytes of each file."""
    same_on_windows: tuple[tuple[str, str], ...] = ()
    """Pairs of paths that differ only in case."""

    @property
    def folders(self) -> frozenset[str]:
        """Every folder that holds a file or a folder, such as ``usr/include``."""
        found: set[str] = set()
        for name, _ in self.files:
            parts = name.split("/")[:-1]
            found |= {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
        return frozenset(found)

    @property
    def count(self) -> int:
        """Number of files, the list not counted."""
        return len(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files, the list not counted."""
        return sum(self.sizes)


def read(path: Path, cache: Path, *, where: str) -> Sysroot:
    """Read and name a sysroot.

    Args:
        path: folder or archive.
        cache: folder where archives are unpacked.
        where: key path, for errors.

    Raises:
        SysrootError: not there, not readable, empty, or a name that no list can hold.
    """
    try:
        if path.is_dir():
            folder = path
        elif path.is_file():
            folder = _unpacked(path, cache, where)
        else:
            raise SysrootError(
                f"{where}: {path} is not there; expected a folder or an archive ({' '.join(_ARCHIVES)}) on the "
                "controller: correct the path"
            )
        return _of(folder, where)
    except OSError as error:
        raise SysrootError(f"{where}: {error.filename or path}: {error.strerror}; correct it and run again") from None


def packed(sysroot: Sysroot, cache: Path, log: Log) -> Path:
    """The archive of a sysroot, ``<digest>.tar``; made when it is missing.

    Raises:
        SysrootError: it cannot be written, or a file changed since it was read.
    """
    final = cache / f"{sysroot.digest}.tar"
    if _is_complete(final, sysroot):
        return final
    temporary = cache / f".{final.name}.{secrets.token_hex(4)}.part"
    log(f"sysroot {sysroot.digest[:12]}: packing {sysroot.count} files, {sysroot.size / 1e6:.0f} MB")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, LIST, sysroot.listing, executable=False)
            for (name, file), line in zip(sysroot.files, sysroot.listing.splitlines(), strict=True):
                content = file.read_bytes()
                if hashlib.sha256(content).hexdigest().encode() != line[:64]:
                    raise SysrootError(f"{file}: was changed while the sysroot was packed; run again")
                _add(archive, name, content, executable=os.access(file, os.X_OK))
        temporary.replace(final)
    except OSError as error:
        raise SysrootError(f"{final}: {error.strerror}; free space or permission of the folder?") from None
    finally:
        temporary.unlink(missing_ok=True)
    return final


def _is_complete(archive: Path, sysroot: Sysroot) -> bool:
    """Whether the archive is there and whole: a power cut may leave a short file, or zeros, under its name."""
    expected = {line[66:].decode(): line[:64].decode() for line in sysroot.listing.splitlines()}
    expected[LIST] = sysroot.digest
    found: dict[str, str] = {}
    try:
        with tarfile.open(archive) as opened:
            for entry in opened:
                stream = opened.extractfile(entry)
                found[entry.name] = hashlib.sha256(stream.read()).hexdigest() if stream else ""
    except (OSError, tarfile.TarError, EOFError, ValueError):
        return False
    return found == expected


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, executable: bool) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o755 if executable else 0o644, 0
    archive.addfile(entry, io.BytesIO(content))


def _of(folder: Path, where: str) -> Sysroot:
    files = sorted(_walk(folder, where))
    if not files:
        raise SysrootError(f"{where}: {folder} holds no file; expected headers and libraries below usr/")
    listing = "".join(f"{file_sha256(file)}  {name}\n" for name, file in files).encode()
    return Sysroot(
        digest=hashlib.sha256(listing).hexdigest(),
        files=tuple(files),
        listing=listing,
        sizes=tuple(file.stat().st_size for _, file in files),
        same_on_windows=tuple(_colliding(name for name, _ in files)),
    )


def _walk(root: Path, where: str) -> Iterator[tuple[str, Path]]:
    """Every file below ``root``; links are followed within it, and those that lead nowhere are skipped."""
    base = root.resolve()
    count = 0
    waiting: list[tuple[str, Path, tuple[Path, ...]]] = [("", base, (base,))]
    while waiting:
        prefix, folder, above = waiting.pop()
        for entry in sorted(os.scandir(folder), key=lambda one: one.name):
            name = prefix + entry.name
            if any(ord(character) < 0x20 or character == "\\" for character in name):
                raise SysrootError(f"{where}: {name!r}: a name with control characters or backslashes; rename it")
            found = _within(base, posixpath.join(folder.relative_to(base).as_posix(), entry.name))
            if found is None or name == LIST:
                continue
            if found.is_dir():
                if found not in above:  # a link to a folder above never ends
                    waiting.append((name + "/", found, (*above, found)))
            elif found.is_file():
                count += 1
                if count > _MOST_FILES:
                    raise SysrootError(
                        f"{where}: more than {_MOST_FILES} files; expected a sysroot, not a whole system: keep "
                        "usr/include and the libraries"
                    )
                yield name, found


def _within(base: Path, name: str) -> Path | None:
    """The file that a name leads to when ``base`` is the root of the file system; None: it leads nowhere."""
    todo = [part for part in reversed(name.split("/")) if part not in ("", ".")]
    inside: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            inside = inside[:-1]
            continue
        path = base.joinpath(*inside, part)
        if not path.is_symlink():
            inside.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        target = str(path.readlink())
        inside = [] if target.startswith("/") else inside
        todo += reversed(target.split("/"))
    path = base.joinpath(*inside)
    return path if path.exists() else None


def _colliding(names: Iterator[str]) -> Iterator[tuple[str, str]]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[name.casefold()].append(name)
    yield from ((found[0], found[1]) for found in alike.values() if len(found) > 1)


def _unpacked(archive: Path, cache: Path, where: str) -> Path:
    """The folder of an unpacked archive; each content is unpacked once."""
    if not archive.name.lower().endswith(_ARCHIVES):
        raise SysrootError(f"{where}: {archive} is no archive; expected a folder or {' '.join(_ARCHIVES)}")
    final = cache / f"unpacked-{file_sha256(archive)}"
    if not final.is_dir():
        part = cache / f".{final.name}.{secrets.token_hex(4)}.part"
        part.mkdir(parents=True)
        try:
            if archive.name.lower().endswith(".zip"):
                with zipfile.ZipFile(archive) as opened:
                    opened.extractall(part)
            else:
                with tarfile.open(archive) as opened_tar:
                    opened_tar.extractall(part, members=_ordinary(opened_tar), filter=_filter)
            try:
                part.rename(final)
            except OSError:  # another run was first
                if not final.is_dir():
                    raise
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError) as error:
            raise SysrootError(f"{where}: {archive} cannot be unpacked: {error}; make it again") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
    entries = list(final.iterdir())
    # An archive of a folder has that folder as its only entry; a sysroot itself has usr. A link may lead out of it.
    only = entries[0] if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink() else final
    return final if only.name in ("usr", "lib") else only


def _ordinary(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    return (entry for entry in archive if entry.isreg() or entry.isdir() or entry.issym() or entry.islnk())


def _filter(entry: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """tarfile's own filter, but absolute links pass: links of a sysroot are followed within it."""
    if entry.issym():
        plain = copy(entry)
        plain.type = tarfile.REGTYPE
        tarfile.data_filter(plain, folder)
        return entry
    return tarfile.data_filter(entry, folder)
