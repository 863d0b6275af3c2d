"""Files of releases: read from the repository, the project or group data, rendered, and cached by their content."""

from __future__ import annotations

import contextlib
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

from gofallback.disk import file_sha256
from gofallback.model import DataError, ReleaseFile, Service
from gofallback.model.binaries import FILE_NAME
from gofallback.redact import holds_secret
from gofallback.release.extra_file import ExtraFile, diffable
from gofallback.source.select import SelectedFile, base_of, select

#: Seconds without use after which a file is removed from the cache.
_LONGEST_UNUSED = 30 * 86400.0
_CHUNK = 1 << 20
_LARGEST_TEMPLATE = 1 << 20


@dataclass(frozen=True)
class FileSources:
    """The folders that files of a service come from, and the variables of its templates."""

    repository_files: Callable[[str, str, Path], Iterator[SelectedFile]] | None
    """Copies files of the released commit: key, pattern, folder (`gofallback.git.commit_files`); None: no commit."""
    project: Path
    cache: Path
    """Folder of files by their SHA-256 (`Home.files`)."""
    variables: Mapping[str, Any]
    """Variables of templates, besides `values` and those of the service."""


class FileError(DataError):
    """A file of a release is missing or unusable; one line."""


def collect_release_files(service: Service, sources: FileSources) -> dict[str, ExtraFile]:
    """Every file that ``files`` of a service names, by its path inside a release.

    Raises:
        DataError: a file is missing, is no plain file, holds a secret, or does not render.
        OSError: the disk cannot be written.
    """
    collected: dict[str, ExtraFile] = {}
    sources.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=sources.cache) as work:
        for target, entry in service.files.items():
            key = f"services.{service.name}.files[{json.dumps(target)}]"
            for path, file in _placed(key, target, entry, sources, Path(work)):
                if path in collected:
                    raise FileError(f"{key}: {path} comes from two entries; give each file a name of its own")
                if entry.template:
                    _render(key, file, service, sources.variables)
                collected[path] = _cached(key, file, sources.cache)
    _remove_unused(sources.cache)
    return collected


def _placed(
    key: str, target: str, entry: ReleaseFile, sources: FileSources, work: Path
) -> Iterator[tuple[str, SelectedFile]]:
    """The files of one entry, each with its path inside a release."""
    files = list(_files(key, target, entry, sources, work))
    if not target.endswith("/") and len(files) > 1:
        raise FileError(
            f"{key}: {entry.repository or entry.project} is {len(files)} files; write a '/' after {target} to make "
            "it a folder"
        )
    for file in files:
        name = file.name.removesuffix(".j2") if entry.template else file.name
        path = f"{target}{name}" if target.endswith("/") else target
        if any(not FILE_NAME.fullmatch(part) for part in path.split("/")):
            raise FileError(f"{key}: {path!r} is no name for a file of a release; rename it (letters, digits, ._+@=-)")
        yield path, file


def _files(key: str, target: str, entry: ReleaseFile, sources: FileSources, work: Path) -> Iterator[SelectedFile]:
    if entry.text is not None:
        if target.endswith("/"):
            raise FileError(f"{key}: text is one file; write its name after the '/'")
        yield SelectedFile(target, target, _written(work, io.BytesIO(entry.text.encode())), 0o644)
    elif entry.repository is not None:
        if sources.repository_files is None:
            raise FileError(f"{key}: the commit is not known here, so nothing can be read from the repository")
        yield from sources.repository_files(key, entry.repository, work)
    else:
        yield from _from_project(key, str(entry.project), sources.project, work)


def _from_project(key: str, pattern: str, project: Path, work: Path) -> Iterator[SelectedFile]:
    root = project.resolve()
    start = root / base_of(pattern)
    below = [start] if start.is_file() else sorted(path for path in start.rglob("*") if path.is_file())
    matches = select(pattern, [path.relative_to(root).as_posix() for path in below])
    if not matches:
        raise FileError(f"{key}: {pattern} matches nothing in {root}; correct the path (it is relative to the project)")
    for path, name in matches.items():
        file = root / path
        if file.is_symlink() or not file.resolve().is_relative_to(root):
            raise FileError(f"{key}: {path} in {root} is a symbolic link; name plain files")
        try:
            with file.open("rb") as reader:
                yield SelectedFile(path, name, _written(work, reader), 0o755 if file.stat().st_mode & 0o100 else 0o644)
        except OSError as error:
            raise FileError(f"{key}: {file}: cannot be read ({error.strerror})") from None


def _render(key: str, one: SelectedFile, service: Service, variables: Mapping[str, Any]) -> None:
    """Render in place. The sandbox keeps a template of a repository from running code on the controller."""
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    known = {
        **variables,
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
        raise FileError(f"{key}: {one.path} is not UTF-8, so it is no template; remove `template`") from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        text = getattr(error, "message", None) or str(error)
        text = re.sub(r"^'dict object' has no attribute ", "there is no key ", text)
        raise FileError(f"{key}: {one.path}{_line(error)}: {' '.join(text.split())}; correct it, or `values`") from None
    one.local.write_bytes(rendered.encode())


def _line(error: BaseException) -> str:
    """The line in the template: frames of Jinja2 have the template's own line numbers."""
    number = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            number = trace.tb_lineno
        trace = trace.tb_next
    return f" line {number}" if number else ""


def _cached(key: str, one: SelectedFile, cache: Path) -> ExtraFile:
    """Move the file into the cache. One that is already there may be damaged, so it is replaced."""
    digest = file_sha256(one.local)
    size = one.local.stat().st_size
    shown = diffable(one.local.read_bytes()) if size <= _CHUNK else None
    if shown is not None and holds_secret(shown.decode()):
        raise FileError(
            f"{key}: {one.path} holds what looks like a secret, and everybody on a target can read it; put it into "
            "unit.environment"
        )
    final = cache / digest
    one.local.replace(final)
    return ExtraFile(digest, size, final, one.mode, shown)


def _written(work: Path, reader: IO[bytes]) -> Path:
    """A new file with all bytes of the reader."""
    handle, name = tempfile.mkstemp(dir=work)
    with os.fdopen(handle, "wb") as writer:
        shutil.copyfileobj(reader, writer, _CHUNK)
    return Path(name)


def _remove_unused(cache: Path) -> None:
    """Remove files that no run has used for long: `_cached` writes every file of this run again."""
    now = time.time()
    for path in cache.iterdir():
        if re.fullmatch(r"[0-9a-f]{64}", path.name):
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > _LONGEST_UNUSED:
                    path.unlink()
