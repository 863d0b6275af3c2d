"""checksums.txt of an artifact's folder: made, and compared with the files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gofallback.artifact.checksums import CHECKSUMS, parse_line, render
from gofallback.artifact.manifest import Manifest
from gofallback.disk import file_sha256


def of(files: Mapping[str, bytes], manifest: Manifest) -> bytes:
    """The file of an artifact's folder.

    Args:
        files: name to content of every file in the folder, without the binary.
        manifest: of the artifact.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != CHECKSUMS}
    return render(digests | {manifest.spec.file_name: manifest.sha256}).encode()


def problems(folder: Path, required: Iterable[str]) -> Iterator[str]:
    """Differences between a folder and its checksums.txt, a line each.

    Args:
        folder: holds checksums.txt.
        required: names that have to be listed.
    """
    try:
        text = (folder / CHECKSUMS).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        yield f"{CHECKSUMS}: cannot be read ({why}); copy the folder again"
        return
    listed: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        entry = parse_line(line)
        if entry is None:
            yield f"{CHECKSUMS}: line {number} is not of sha256sum; expected 64 hex digits, two blanks and a name"
            continue
        listed.add(entry[0])
        yield from _file(folder, *entry)
    for name in sorted(set(required) - listed):
        yield f"{CHECKSUMS}: does not name {name}; it should name every file of the artifact"


def _file(folder: Path, name: str, digest: str) -> Iterator[str]:
    if name.startswith("/") or ".." in Path(name).parts:
        yield f"{CHECKSUMS}: names {name!r:.80}, which is outside of the folder"
        return
    try:
        have = file_sha256(folder / name)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        yield f"{name}: is in {CHECKSUMS} and cannot be read ({why}); copy the folder again"
        return
    if have != digest:
        yield f"{name}: has sha256 {have}, {CHECKSUMS} says {digest}; it was changed or damaged"
