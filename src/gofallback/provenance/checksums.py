"""checksums.txt, in the format of sha256sum: ``sha256sum -c checksums.txt`` reads it too. Pure but for the files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gofallback.artifact.manifest import Manifest
from gofallback.disk import file_sha256
from gofallback.provenance import CHECKSUMS

_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def render(digests: Mapping[str, str]) -> bytes:
    """The file.

    Args:
        digests: file name to SHA-256.
    """
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def of(files: Mapping[str, bytes], manifest: Manifest) -> bytes:
    """The file of an artifact's folder.

    Args:
        files: name to content of everything in it but the binary.
        manifest: the artifact's.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != CHECKSUMS}
    return render(digests | {manifest.spec.file_name: manifest.sha256})


def problems(folder: Path, wanted: Iterable[str]) -> Iterator[str]:
    """What in a folder is not as its checksums.txt says, a line each.

    Args:
        folder: holds checksums.txt.
        wanted: names that have to be in it.
    """
    try:
        text = (folder / CHECKSUMS).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        yield f"{CHECKSUMS}: cannot be read ({why}); copy the folder again"
        return
    listed: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        found = _LINE.fullmatch(line)
        if found is None:
            yield f"{CHECKSUMS}: line {number} is not of sha256sum; expected 64 hex digits, two blanks and a name"
            continue
        listed.add(found[2])
        yield from _file(folder, found[2], found[1])
    for name in sorted(set(wanted) - listed):
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
