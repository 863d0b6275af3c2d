"""The state of a builder, read in one round trip; `gofallback.builder.state_parser` parses it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gofallback.builder.paths import Layout, Os, os_of

_ARCHITECTURES = {"AMD64": "amd64", "ARM64": "arm64", "X86_64": "amd64", "AARCH64": "arm64"}


@dataclass(frozen=True)
class ToolchainFound:
    """A Go, a Git or a Zig that a builder has."""

    tool: str
    version: str
    path: str
    """Folder: GOROOT for Go; for Git the folder above ``cmd\\git.exe`` or ``bin/git``."""
    sha256: str | None
    """SHA-256 of the archive it was unpacked from; None for a machine-wide install."""
    origin: Literal["ours", "machine"]


@dataclass(frozen=True)
class BuilderState:
    """The state of a builder, as one round trip read it."""

    root: str
    version: str = ""
    """Windows version such as 10.0.20348.2340; on Linux the name of the distribution."""
    free_bytes: int | None = None
    """Free bytes of the drive of the root; None when they cannot be read."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The ``VARIABLES`` (`gofallback.builder.cmd`, `.sh`) that are set there, names in upper case."""
    tools: frozenset[str] = frozenset()
    """Which of the ``TOOLS`` (`gofallback.builder.cmd`, `.sh`) are there."""
    folders: frozenset[str] = frozenset()
    """Folders directly below the root, and those of ``cache`` with it before them; lower case."""
    toolchains: Mapping[tuple[str, str], ToolchainFound] = field(default_factory=dict)
    """gofallback's own: (tool, version) to a toolchain with its marker and its program."""
    installed: Mapping[str, tuple[ToolchainFound, ...]] = field(default_factory=dict)
    """Machine-wide: tool to toolchains; on Linux there may be one in the vendor's place and one in PATH."""
    leftovers: tuple[str, ...] = ()
    """Names in ``tmp``, which killed runs have left."""
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
        """The processor as Go names it; on Linux the host's own name when Go's is not known."""
        name = self.environment.get("MACHINE") or self.environment.get("PROCESSOR_ARCHITECTURE", "")
        return _ARCHITECTURES.get(name.upper(), "amd64" if self.os == "windows" else name or "unknown")

    @property
    def cores(self) -> int:
        """Processor cores; 1 when they are not known."""
        number = self.environment.get("NUMBER_OF_PROCESSORS", "")
        return max(1, int(number)) if number.isascii() and number.isdigit() and len(number) < 6 else 1

    @property
    def layout(self) -> Layout:
        """Where things lie on this builder."""
        return Layout(self.root)

    def find(self, tool: str, version: str, *, use_installed: bool = True) -> ToolchainFound | None:
        """The toolchain to use: gofallback's own, else a machine-wide one of the same version, else None."""
        ours = self.toolchains.get((tool, version))
        if ours is not None or not use_installed:
            return ours
        machine = self.installed.get(tool, ())
        return next((found for found in machine if same_version(tool, found.version, version)), None)

    def toolchain_path(self, tool: str, version: str, *, use_installed: bool = True) -> str:
        """Folder of a toolchain: where it is, or where provisioning will put it."""
        found = self.find(tool, version, use_installed=use_installed)
        return found.path if found else self.layout.toolchain(tool, version)


def git_version(text: str) -> str:
    """A version of git in the form that `same_version` compares: ``2.55.0.windows.1`` is ``2.55.0``."""
    parts = text.replace(".windows.", ".").split(".")
    return ".".join(parts[:3] if len(parts) == 4 and parts[3] == "1" else parts)


def same_version(tool: str, one: str, other: str) -> bool:
    """Whether two spellings mean one version: Git for Windows counts 2.55.0 and 2.55.0.1 as the same release."""
    if tool == "git":
        return git_version(one) == git_version(other)
    return one == other


def marker(tool: str, version: str, kind: str, arch: str, sha256: str) -> str:
    """The one line of a toolchain's marker."""
    return f"gofallback-toolchain 1 {tool} {version} {kind} {arch} {sha256}"
