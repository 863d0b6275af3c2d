"""The sources of gofallback's own Go programs, which come with this package and are built by the builder."""

from __future__ import annotations

import hashlib
from importlib.resources import files

FOLDER = "agent"
KEEPER_FOLDER = "keeper"


def agent_files() -> dict[str, bytes]:
    """The agent's sources without tests, and its go.mod: file name to content, with LF line ends."""
    return go_files(FOLDER)


def keeper_files() -> dict[str, bytes]:
    """The same of the keeper, which keeps builds alive on a builder (docs/detached-builds.md)."""
    return go_files(KEEPER_FOLDER)


def go_files(folder: str) -> dict[str, bytes]:
    """The Go program in a folder of this package.

    A checkout on Windows may have CRLF, and the same sources must give the same digest everywhere.
    """
    found = {}
    for entry in files("gofallback").joinpath(folder).iterdir():
        is_source = entry.name == "go.mod" or (entry.name.endswith(".go") and not entry.name.endswith("_test.go"))
        if is_source and entry.is_file():
            found[entry.name] = entry.read_bytes().replace(b"\r\n", b"\n")
    return dict(sorted(found.items()))


def agent_digest(sources: dict[str, bytes] | None = None) -> str:
    """64 hex digits: SHA-256 over names and contents of ``sources`` (default: `agent_files`), in any order."""
    total = hashlib.sha256()
    for name, content in sorted((agent_files() if sources is None else sources).items()):
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()
