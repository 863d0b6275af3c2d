"""Files of releases: read from the repository, the project or group data, rendered, and kept by their content."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gofallback.git.git_command import GitError
from gofallback.git.mirror import Mirror
from gofallback.model import DataError, ReleaseFile, Service
from gofallback.model.binaries import FILE_NAME
from gofallback.redact import holds_secret
from gofallback.release.extra_file import Extra, as_text
from gofallback.source.model import Repository
from gofallback.source.select import base_of, select

#: Seconds after which a content that no run asked for is removed from the cache.
_OLD = 30 * 86400.0
_CHUNK = 1 << 20
_LFS = b"version https://git-lfs.github.com/spec/"
_LARGEST_TEMPLATE = 1 << 20


@dataclass(frozen=True)
class Place:
    """Where the files of a service come from, and what its templates know."""

    source: Repository | None
    """The commit that is released; None: no file comes from the repository."""
    project: Path
    cache: Path
    """Folder of contents by SHA-256 (`Home.files`)."""
    context: Mapping[str, Any]
    """Names that templates know, besides `values` and what the service says."""


@dataclass(frozen=True)
class _Found:
    """A file before it is kept: where its bytes are now."""

    path: str
    """Where it comes from, for errors."""
    name: str
    """Below the folder it goes to."""
    local: Path
    mode: int


class FileError(DataError):
    """A file of a release cannot be had; one line."""


def collect_release_files(service: Service, place: Place) -> dict[str, Extra]:
    """Every file that ``files`` of a service names, by its path inside a release.

    Raises:
        DataError: one is not there, is no plain file, holds a secret, or does not render.
        OSError: the disk refuses.
    """
    found: dict[str, Extra] = {}
    place.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=place.cache) as work:
        for target, wanted in service.files.items():
            key = f"services.{service.name}.files[{json.dumps(target)}]"
            for path, extra in _one(key, target, wanted, service, place, Path(work)):
                if path in found:
                    raise FileError(f"{key}: {path} comes from two entries; give each file a name of its own")
                found[path] = extra
    _forget_old(place.cache)
    return found


def _one(
    key: str, target: str, wanted: ReleaseFile, service: Service, place: Place, work: Path
) -> Iterator[tuple[str, Extra]]:
    every = list(_sources(key, target, wanted, place, work))
    if not target.endswith("/") and len(every) > 1:
        raise FileError(
            f"{key}: {wanted.repository or wanted.project} is {len(every)} files; write a '/' behind {target} to make "
            "it a folder"
        )
    for one in every:
        name = one.name.removesuffix(".j2") if wanted.template else one.name
        path = f"{target}{name}" if target.endswith("/") else target
        if any(not FILE_NAME.fullmatch(part) for part in path.split("/")):
            raise FileError(f"{key}: {path!r} is no name for a file of a release; rename it (letters, digits, ._+@=-)")
        if wanted.template:
            _render(key, one, service, place)
        yield path, _kept(key, one, place.cache)


def _sources(key: str, target: str, wanted: ReleaseFile, place: Place, work: Path) -> Iterator[_Found]:
    if wanted.text is not None:
        if target.endswith("/"):
            raise FileError(f"{key}: text is one file; name it behind the '/'")
        yield _Found(target, target, _written(work, io.BytesIO(wanted.text.encode())), 0o644)
    elif wanted.repository is not None:
        if place.source is None:
            raise FileError(f"{key}: the commit is not known here, so nothing can be read from the repository")
        yield from from_repository(key, wanted.repository, place.source, work)
    else:
        yield from _from_project(key, str(wanted.project), place.project, work)


def from_repository(key: str, pattern: str, source: Repository, work: Path) -> Iterator[_Found]:
    """The files of a commit that a path or a pattern means, copied into a folder.

    Args:
        key: of group data, for errors.
        pattern: see `gofallback.source.select`.
        source: the commit, and the mirror that has it.
        work: gets the contents.

    Raises:
        DataError: nothing matches, or what does is no plain file.
    """
    mirror = Mirror(source.mirror, source.repository)
    where = f"{source.repository} at {source.commit[:12]}"
    try:
        entries = {entry.path: entry for entry in mirror.tree(source.commit)}
        chosen = select(pattern, entries)
        if not chosen:
            raise FileError(f"{key}: {pattern} is nothing in {where}; correct the path, or commit the file")
        for path in chosen:
            if {"", ".", ".."} & {*path.split("/")}:  # git itself checks such a tree only when it writes it to a disk
                raise FileError(
                    f"{key}: {path!r} in {where} leads out of its folder; who made that commit? Nothing is sent"
                )
            if entries[path].is_symlink or entries[path].is_submodule:
                kind = "a symbolic link" if entries[path].is_symlink else "a submodule"
                raise FileError(f"{key}: {path} in {where} is {kind}; name plain files")
        with tempfile.TemporaryFile(dir=work) as stream:
            mirror.blobs([entries[path].sha for path in chosen], stream)
            stream.seek(0)
            for path, name in chosen.items():
                local = _written(work, stream, _size_of(stream))
                stream.read(1)
                if _starts(local, _LFS):
                    raise FileError(f"{key}: {path} in {where} is a pointer of Git LFS, not the file; name another")
                yield _Found(path, name, local, 0o755 if entries[path].mode == "100755" else 0o644)
    except GitError as error:
        raise FileError(f"{key}: git cannot read {where} ({error.output.strip()[-200:]}); run again") from None


def _size_of(stream: IO[bytes]) -> int:
    """The size in the next line of ``git cat-file --batch``."""
    words = stream.readline().split()
    if len(words) != 3:
        raise GitError(b" ".join(words).decode(errors="replace"))
    return int(words[2])


def _from_project(key: str, pattern: str, project: Path, work: Path) -> Iterator[_Found]:
    root = project.resolve()
    start = root / base_of(pattern)
    below = [start] if start.is_file() else sorted(path for path in start.rglob("*") if path.is_file())
    chosen = select(pattern, [path.relative_to(root).as_posix() for path in below])
    if not chosen:
        raise FileError(f"{key}: {pattern} is nothing in {root}; correct the path (it is relative to the project)")
    for path, name in chosen.items():
        file = root / path
        if file.is_symlink() or not file.resolve().is_relative_to(root):
            raise FileError(f"{key}: {path} in {root} is a symbolic link; name plain files")
        try:
            with file.open("rb") as reader:
                yield _Found(path, name, _written(work, reader), 0o755 if file.stat().st_mode & 0o100 else 0o644)
        except OSError as error:
            raise FileError(f"{key}: {file}: cannot be read ({error.strerror})") from None


def _render(key: str, one: _Found, service: Service, place: Place) -> None:
    """In place. The sandbox keeps a template of somebody's repository from running code on the controller."""
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    known = {
        **place.context,
        "values": service.values,
        "service": service.name,
        "home": f"{service.home}/current",
        "port": service.port,
    }
    try:
        if one.local.stat().st_size > _LARGEST_TEMPLATE:
            raise FileError(f"{key}: {one.path} is larger than {_LARGEST_TEMPLATE >> 20} MiB, too large for a template")
        rendered = environment.from_string(one.local.read_text("utf-8")).render(known)
    except UnicodeDecodeError:
        raise FileError(f"{key}: {one.path} is not UTF-8, so it is no template; leave `template` out") from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        text = getattr(error, "message", None) or str(error)
        text = re.sub(r"^'dict object' has no attribute ", "there is no key ", text)
        raise FileError(f"{key}: {one.path}{_line(error)}: {' '.join(text.split())}; correct it, or `values`") from None
    one.local.write_bytes(rendered.encode())


def _line(error: BaseException) -> str:
    """Where in the template: Jinja2 gives its frames the template's own line numbers."""
    number = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            number = trace.tb_lineno
        trace = trace.tb_next
    return f" line {number}" if number else ""


def _kept(key: str, one: _Found, cache: Path) -> Extra:
    """Under its content's name; what was there before may be damaged, so it is replaced."""
    with one.local.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = one.local.stat().st_size
    shown = as_text(one.local.read_bytes()) if size <= _CHUNK else None
    if shown is not None and holds_secret(shown.decode()):
        raise FileError(
            f"{key}: {one.path} holds what looks like a secret, and everybody on a target can read it; put it into "
            "unit.environment"
        )
    kept = cache / digest
    one.local.replace(kept)
    return Extra(digest, size, kept, one.mode, shown)


def _written(work: Path, reader: IO[bytes], size: int | None = None) -> Path:
    """A new file with the next ``size`` bytes, or all that is left."""
    handle, name = tempfile.mkstemp(dir=work)
    with os.fdopen(handle, "wb") as writer:
        if size is None:
            shutil.copyfileobj(reader, writer, _CHUNK)
        while size:
            chunk = reader.read(min(size, _CHUNK))
            if not chunk:
                raise GitError("the answer is cut short")
            size -= len(chunk)
            writer.write(chunk)
    return Path(name)


def _starts(path: Path, with_: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(with_)) == with_


def _forget_old(cache: Path) -> None:
    """What a run uses was written anew just now (`_kept`), so only what nobody asks for is old."""
    now = time.time()
    for path in cache.iterdir():
        if re.fullmatch(r"[0-9a-f]{64}", path.name):
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > _OLD:
                    path.unlink()
