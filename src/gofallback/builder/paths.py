r"""The folders below a builder's root, and which paths are inside it. Pure.

The shape of the root tells the kind of path: ``C:\gofallback`` is Windows', ``/home/builder/gofallback`` is POSIX'.
"""

from __future__ import annotations

import ntpath
import posixpath
import shlex
from dataclasses import dataclass
from typing import Literal

from gofallback.windows.quoting import QuotingError

Os = Literal["windows", "linux"]

MARKER = "gofallback-toolchain.txt"
"""The last file that is written into a toolchain's folder, before it gets its final name."""

FOLDERS = ("toolchains", "downloads", "mirrors", "work", "out", "cache", "tmp", "jobs", "tools")
"""Folders below the root."""

MODULES = "modproxy"
"""Below ``cache``: modules that the controller brought, in the layout of GOPROXY=file:// (go help goproxy)."""

CACHES = ("gocache", "gomodcache", "gotmp", "gopath", MODULES)
"""Folders below ``cache``: everything that Go reads and writes, so that one antivirus exclusion covers it."""

_PROGRAMS: dict[Os, dict[str, str]] = {
    "windows": {"go": "bin\\go.exe", "git": "cmd\\git.exe", "zig": "zig.exe"},
    "linux": {"go": "bin/go", "git": "bin/git", "zig": "zig"},
}


def os_of(path: str) -> Os:
    """The operating system that an absolute path belongs to, by its shape."""
    return "linux" if path.startswith("/") else "windows"


def separator(path: str) -> str:
    r"""The separator of a path: ``/`` or ``\``."""
    return "/" if os_of(path) == "linux" else "\\"


def program(tool: str, home: str) -> str:
    """The program of a toolchain.

    Args:
        tool: ``go``, ``git`` or ``zig``.
        home: the toolchain's folder.
    """
    return join(home, _PROGRAMS[os_of(home)][tool])


def join(*parts: str) -> str:
    r"""Join the parts of a path: with ``/`` after a POSIX path, else with backslashes."""
    between = separator(parts[0])
    if between == "/":
        # A backslash is an ordinary character there: our parts never have one, a repository's may.
        return posixpath.join(parts[0].rstrip("/") or "/", *(part.strip("/") for part in parts[1:]))
    return "\\".join(
        part.replace("/", "\\").strip("\\") if index else part.rstrip("\\") for index, part in enumerate(parts)
    )


def parent(path: str) -> str:
    """The folder that an absolute path is in."""
    return path.rpartition(separator(path))[0]


def name(path: str) -> str:
    """The last name of an absolute path."""
    return path.rpartition(separator(path))[2]


def literal(path: str) -> str:
    """A path in quotes for the shell's own commands.

    Raises:
        QuotingError: its shell cannot be given it: for cmd.exe ``"`` (in no Windows path), ``%`` (would expand) or a
            line break; for sh a control character.
    """
    broken = any(ord(character) < 0x20 for character in path)
    if os_of(path) == "linux":
        if broken:
            raise QuotingError(f"path {path!r}: should hold no line breaks or other control characters")
        return shlex.quote(path)
    if '"' in path or "%" in path or broken:
        raise QuotingError(f"path {path!r}: should hold neither quotes nor % nor line breaks")
    return f'"{path}"'


def inside(root: str, path: str) -> bool:
    """Whether ``path`` is strictly below ``root``, ``..`` resolved; on Windows without case.

    There a short (8.3) name or a stream (``a:b``) cannot be compared by text and counts as outside.
    """
    if os_of(root) == "linux":
        base = posixpath.normpath(root).rstrip("/")
        return path.startswith("/") and posixpath.normpath(path).startswith(base + "/")
    if not ntpath.isabs(path) or ":" in path[2:] or "~" in path:
        return False
    base = ntpath.normcase(ntpath.normpath(root)).rstrip("\\")
    return ntpath.normcase(ntpath.normpath(path)).startswith(base + "\\")


@dataclass(frozen=True)
class Layout:
    """The folders below one builder's root."""

    root: str

    @property
    def os(self) -> Os:
        """The builder's operating system."""
        return os_of(self.root)

    @property
    def downloads(self) -> str:
        """Archives, each under the name its URL ends with."""
        return join(self.root, "downloads")

    @property
    def toolchains(self) -> str:
        """Complete toolchains only: a folder gets its name here after it was checked."""
        return join(self.root, "toolchains")

    @property
    def tmp(self) -> str:
        """Unfinished files and folders; on the same drive as the rest, so that a rename finishes them."""
        return join(self.root, "tmp")

    @property
    def cache(self) -> str:
        """What Go caches: ``gocache gomodcache gotmp gopath``."""
        return join(self.root, "cache")

    @property
    def modules(self) -> str:
        """Modules that the controller brought: a proxy as files."""
        return join(self.cache, MODULES)

    @property
    def jobs(self) -> str:
        """Detached builds, each with its log and its status (docs/detached-builds.md)."""
        return join(self.root, "jobs")

    @property
    def tools(self) -> str:
        """Our own programs, compiled there."""
        return join(self.root, "tools")

    def sysroot(self, digest: str) -> str:
        """Folder of a sysroot, by its digest."""
        return join(self.cache, "sysroots", digest)

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
