"""Where things lie below a builder's root, and which paths are inside it. Pure: no host is asked."""

from __future__ import annotations

import ntpath
from dataclasses import dataclass

from gofallback.windows.quoting import QuotingError

MARKER = "gofallback-toolchain.txt"
"""Written into a toolchain's folder as the last thing before it gets its final name."""

FOLDERS = ("toolchains", "downloads", "mirrors", "work", "out", "cache", "tmp")
"""Folders below the root (docs/architecture.md, Names)."""

CACHES = ("gocache", "gomodcache", "gotmp", "gopath")
"""Folders below ``cache``: all that Go writes, so that one antivirus exclusion covers it."""

PROGRAMS = {"go": "bin\\go.exe", "git": "cmd\\git.exe"}
"""The program of each tool, below the tool's folder."""


def join(*parts: str) -> str:
    """Join the parts of a Windows path with backslashes."""
    return "\\".join(
        part.replace("/", "\\").strip("\\") if index else part.rstrip("\\") for index, part in enumerate(parts)
    )


def literal(path: str) -> str:
    """A path in quotes, as cmd.exe's own commands want it whatever characters it has.

    Raises:
        QuotingError: it holds ``"``, ``%`` or a line break: the first is in no Windows path, the second would expand.
    """
    if '"' in path or "%" in path or any(ord(character) < 0x20 for character in path):
        raise QuotingError(f"path {path!r}: should hold neither quotes nor % nor line breaks")
    return f'"{path}"'


def inside(root: str, path: str) -> bool:
    """Whether ``path`` is strictly below ``root``: compared as Windows does, without case, ``..`` resolved.

    A short (8.3) name or a stream (``a:b``) cannot be compared by text and counts as outside.
    """
    if not ntpath.isabs(path) or ":" in path[2:] or "~" in path:
        return False
    base = ntpath.normcase(ntpath.normpath(root)).rstrip("\\")
    return ntpath.normcase(ntpath.normpath(path)).startswith(base + "\\")


@dataclass(frozen=True)
class Layout:
    """The folders below one builder's root."""

    root: str

    @property
    def downloads(self) -> str:
        """Archives, each under the name its URL ends with."""
        return join(self.root, "downloads")

    @property
    def toolchains(self) -> str:
        """Complete toolchains only: a folder gets its name here when it is checked."""
        return join(self.root, "toolchains")

    @property
    def tmp(self) -> str:
        """Unfinished things; on the same drive as the rest, so that a rename ends them."""
        return join(self.root, "tmp")

    @property
    def cache(self) -> str:
        """What Go caches: ``gocache gomodcache gotmp gopath``."""
        return join(self.root, "cache")

    def folders(self) -> list[str]:
        """Every folder that provisioning makes."""
        return [join(self.root, name) for name in FOLDERS] + [join(self.cache, name) for name in CACHES]

    def toolchain(self, tool: str, version: str) -> str:
        """Folder of one of our toolchains: ``toolchains\\go1.27.0`` or ``toolchains\\git-2.55.0.5``."""
        return join(self.toolchains, toolchain_name(tool, version))

    def mirror(self, service: str) -> str:
        """Bare repository of a service."""
        return join(self.root, "mirrors", f"{service}.git")

    def work(self, service: str, commit: str) -> str:
        """Checked-out tree of one commit."""
        return join(self.root, "work", service, commit)

    def out(self, service: str, key: str) -> str:
        """Output folder of one build."""
        return join(self.root, "out", service, key)


def toolchain_name(tool: str, version: str) -> str:
    """Folder name of a toolchain; Go's is the name its own archives carry."""
    return f"go{version}" if tool == "go" else f"{tool}-{version}"
