"""Everything a builder tells about itself in one round trip; `gofallback.builder.answer` reads it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gofallback.builder.paths import Layout, Os, os_of

_ARCHITECTURES = {"AMD64": "amd64", "ARM64": "arm64", "X86_64": "amd64", "AARCH64": "arm64"}


@dataclass(frozen=True)
class ToolchainFound:
    """A Go or a Git that a builder has."""

    tool: str
    version: str
    path: str
    """Folder: GOROOT for Go; for Git the folder above ``cmd\\git.exe`` or ``bin/git``."""
    sha256: str | None
    """SHA-256 of the archive it was unpacked from; None for a machine-wide install."""
    origin: Literal["ours", "machine"]


@dataclass(frozen=True)
class BuilderState:
    """What one round trip told about a builder."""

    root: str
    version: str = ""
    """Windows version such as 10.0.20348.2340; the name that a Linux gives itself."""
    free_bytes: int | None = None
    """Free bytes of the drive the root is on; None when the host did not say."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The ``VARIABLES`` of its shell (`gofallback.builder.cmd`, `.sh`) that are set there, names in upper case."""
    tools: frozenset[str] = frozenset()
    """Which of its shell's ``TOOLS`` are there."""
    folders: frozenset[str] = frozenset()
    """Folders directly below the root, and those of ``cache`` with it before them; lower case."""
    toolchains: Mapping[tuple[str, str], ToolchainFound] = field(default_factory=dict)
    """Ours: (tool, version) to what is there, marked complete and with its program."""
    installed: Mapping[str, tuple[ToolchainFound, ...]] = field(default_factory=dict)
    """Machine-wide: tool to what is there; on Linux there may be one in its vendor's place and one in PATH."""
    leftovers: tuple[str, ...] = ()
    """Names in ``tmp``: what killed attempts left."""
    downloads: Mapping[str, int] = field(default_factory=dict)
    """File names in ``downloads`` to bytes."""
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Service to the commits that the mirror's ``packed-refs`` name: ``git pack-refs --all`` keeps it complete."""
    checkouts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Service to the names of folders in ``work\\<service>``."""

    @property
    def os(self) -> Os:
        """The builder's operating system."""
        return os_of(self.root)

    @property
    def arch(self) -> str:
        """The processor in Go's words, or a Linux host's own word for one that no toolchain is pinned for."""
        told = self.environment.get("MACHINE") or self.environment.get("PROCESSOR_ARCHITECTURE", "")
        return _ARCHITECTURES.get(told.upper(), "amd64" if self.os == "windows" else told or "unknown")

    @property
    def cores(self) -> int:
        """Processor cores; 1 where the host did not say."""
        told = self.environment.get("NUMBER_OF_PROCESSORS", "")
        return max(1, int(told)) if told.isascii() and told.isdigit() and len(told) < 6 else 1

    @property
    def layout(self) -> Layout:
        """Where things lie on this builder."""
        return Layout(self.root)

    def find(self, tool: str, version: str, *, use_installed: bool = True) -> ToolchainFound | None:
        """The toolchain to use: ours, else a machine-wide one of the same version, else None."""
        ours = self.toolchains.get((tool, version))
        if ours is not None or not use_installed:
            return ours
        machine = self.installed.get(tool, ())
        return next((found for found in machine if same_version(tool, found.version, version)), None)

    def toolchain_path(self, tool: str, version: str, *, use_installed: bool = True) -> str:
        """Folder of a toolchain: where it is, or where provisioning is going to put it."""
        found = self.find(tool, version, use_installed=use_installed)
        return found.path if found else self.layout.toolchain(tool, version)


def _git_version(text: str) -> str:
    parts = text.replace(".windows.", ".").split(".")
    return ".".join(parts[:3] if len(parts) == 4 and parts[3] == "1" else parts)


def same_version(tool: str, one: str, other: str) -> bool:
    """Whether two spellings mean one version: Git for Windows counts 2.55.0 and 2.55.0.1 as the same release."""
    if tool == "git":
        return _git_version(one) == _git_version(other)
    return one == other


def marker(tool: str, version: str, kind: str, arch: str, sha256: str) -> str:
    """The one line of a toolchain's marker."""
    return f"gofallback-toolchain 1 {tool} {version} {kind} {arch} {sha256}"
