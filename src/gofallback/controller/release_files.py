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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gofallback.model import DataError, ReleaseFile, Service
from gofallback.model.binaries import FILE_NAME
from gofallback.redact import holds_secret
from gofallback.release.extra_file import ExtraFile, diffable
from gofallback.source.select import SelectedFile, base_of, select

#: Seconds after which a content that no run asked for is removed from the cache.
_OLD = 30 * 86400.0
_CHUNK = 1 << 20
_LARGEST_TEMPLATE = 1 << 20


@dataclass(frozen=True)
class Place:
    """Where the files of a service come from, and what its templates know."""

    repository_files: Callable[[str, str, Path], Iterator[SelectedFile]] | None
    """Copies files of the released commit: key, pattern, folder (`gofallback.git.commit_files`); None: no commit."""
    project: Path
    cache: Path
    """Folder of contents by SHA-256 (`Home.files`)."""
    context: Mapping[str, Any]
    """Names that templates know, besides `values` and what the service says."""


class FileError(DataError):
    """A file of a release cannot be had; one line."""


def collect_release_files(service: Service, place: Place) -> dict[str, ExtraFile]:
    """Every file that ``files`` of a service names, by its path inside a release.

    Raises:
        DataError: one is not there, is no plain file, holds a secret, or does not render.
        OSError: the disk refuses.
    """
    found: dict[str, ExtraFile] = {}
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
) -> Iterator[tuple[str, ExtraFile]]:
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


def _sources(key: str, target: str, wanted: ReleaseFile, place: Place, work: Path) -> Iterator[SelectedFile]:
    if wanted.text is not None:
        if target.endswith("/"):
            raise FileError(f"{key}: text is one file; name it behind the '/'")
        yield SelectedFile(target, target, _written(work, io.BytesIO(wanted.text.encode())), 0o644)
    elif wanted.repository is not None:
        if place.repository_files is None:
            raise FileError(f"{key}: the commit is not known here, so nothing can be read from the repository")
        yield from place.repository_files(key, wanted.repository, work)
    else:
        yield from _from_project(key, str(wanted.project), place.project, work)


def _from_project(key: str, pattern: str, project: Path, work: Path) -> Iterator[SelectedFile]:
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
                yield SelectedFile(path, name, _written(work, reader), 0o755 if file.stat().st_mode & 0o100 else 0o644)
        except OSError as error:
            raise FileError(f"{key}: {file}: cannot be read ({error.strerror})") from None


def _render(key: str, one: SelectedFile, service: Service, place: Place) -> None:
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


def _kept(key: str, one: SelectedFile, cache: Path) -> ExtraFile:
    """Under its content's name; what was there before may be damaged, so it is replaced."""
    with one.local.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = one.local.stat().st_size
    shown = diffable(one.local.read_bytes()) if size <= _CHUNK else None
    if shown is not None and holds_secret(shown.decode()):
        raise FileError(
            f"{key}: {one.path} holds what looks like a secret, and everybody on a target can read it; put it into "
            "unit.environment"
        )
    kept = cache / digest
    one.local.replace(kept)
    return ExtraFile(digest, size, kept, one.mode, shown)


def _written(work: Path, reader: IO[bytes]) -> Path:
    """A new file with everything that is read."""
    handle, name = tempfile.mkstemp(dir=work)
    with os.fdopen(handle, "wb") as writer:
        shutil.copyfileobj(reader, writer, _CHUNK)
    return Path(name)


def _forget_old(cache: Path) -> None:
    """What a run uses was written anew just now (`_kept`), so only what nobody asks for is old."""
    now = time.time()
    for path in cache.iterdir():
        if re.fullmatch(r"[0-9a-f]{64}", path.name):
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > _OLD:
                    path.unlink()
