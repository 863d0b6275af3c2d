"""Everything a builder tells about itself, read from its answer to `gofallback.builder.shell.Shell.gather`. Pure."""

from __future__ import annotations

import ntpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gofallback.builder import cmd, sh
from gofallback.builder.paths import Layout, Os, os_of, toolchain_name
from gofallback.errors import GofallbackError

_ARCHITECTURES = {"AMD64": "amd64", "ARM64": "arm64", "X86_64": "amd64", "AARCH64": "arm64"}


class StateError(GofallbackError):
    """The host's answer cannot be read; one line."""


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
    code_page: int | None = None
    """OEM code page of Windows, such as 437 or 936."""
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
    broken: tuple[str, ...] = ()
    """Folders in ``toolchains`` without a marker or without a program."""
    leftovers: tuple[str, ...] = ()
    """Names in ``tmp``: what killed attempts left."""
    downloads: Mapping[str, int] = field(default_factory=dict)
    """File names in ``downloads`` to bytes."""
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Service to the commits that the mirror's ``packed-refs`` name: ``git pack-refs --all`` keeps it complete."""
    checkouts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Service to the names of folders in ``work\\<service>``."""
    artifacts: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(service, build key) of folders in ``out`` to the first line of their ``artifact.txt``, or ``""``."""

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


def same_version(tool: str, one: str, other: str) -> bool:
    """Whether two spellings mean one version: Git for Windows counts 2.55.0 and 2.55.0.1 as the same release."""
    if tool == "git":
        return _git_version(one) == _git_version(other)
    return one == other


def _git_version(text: str) -> str:
    parts = text.replace(".windows.", ".").split(".")
    return ".".join(parts[:3] if len(parts) == 4 and parts[3] == "1" else parts)


def read_version(tool: str, output: str) -> str | None:
    """The version that ``go version``, ``git --version`` or ``zig version`` says, or Go's VERSION file; else None."""
    if tool == "go":
        match = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?(?:rc\d+|beta\d+)?)\b", output)
        return match.group(1) if match else None
    if tool == "zig":
        match = re.search(r"^(\d+\.\d+\.\d+)\b", output.strip())
        return match.group(1) if match else None
    match = re.search(r"\bgit version (\d+(?:\.\d+)+)(?:\.windows\.(\d+))?", output)
    if not match:
        return None
    return _git_version(f"{match.group(1)}.{match.group(2)}") if match.group(2) else match.group(1)


def parse(root: str, lines: Iterable[str]) -> BuilderState:
    """Read the answer to `gofallback.builder.shell.Shell.gather`.

    Raises:
        StateError: the answer is cut off, or not an answer to this command.
    """
    sections = _sections(lines)
    if "unreadable" in sections:
        raise StateError(f"builder.root {root} cannot be entered; it should be a folder the login may read and write")
    if "end" not in sections:
        shell = "sh" if os_of(root) == "linux" else "cmd.exe"
        got = " ".join(" ".join(part) for part in sections.values()).strip()[:120] or "nothing"
        raise StateError(
            f"the builder's answer is incomplete (is {shell} its shell?): got {got!r}; run again with -vvv"
        )

    def lines_of(name: str) -> list[str]:
        return [line.strip() for line in sections.get(name, []) if line.strip()]

    environment = _environment(sections.get("environment", []))
    toolchains, broken = _toolchains(Layout(root), lines_of("toolchains"))
    return BuilderState(
        root=root,
        version=_version(os_of(root), lines_of("version")),
        free_bytes=read_free(lines_of("free")),
        code_page=_number(_first(r"OEMCP\s+REG_SZ\s+(\d+)", lines_of("codepage"))),
        environment=environment,
        tools=frozenset(line.lower() for line in lines_of("tools")),
        folders=frozenset(line.lower() for line in lines_of("folders")),
        toolchains=toolchains,
        installed=_installed(os_of(root), environment, {tool: lines_of(tool) for tool in ("go", "git")}),
        broken=broken,
        leftovers=tuple(lines_of("leftovers")),
        downloads=_downloads(lines_of("downloads")),
        mirrors=_mirrors(lines_of("mirrors")),
        checkouts=_checkouts(lines_of("checkouts")),
        artifacts=_artifacts(lines_of("artifacts")),
    )


def _sections(lines: Iterable[str]) -> dict[str, list[str]]:
    current: list[str] = []
    sections = {"": current}
    for line in lines:
        text = line.rstrip("\r\n")
        if text.startswith("@@"):
            current = sections.setdefault(text[2:].strip(), [])
        else:
            current.append(text)
    return sections


def _first(pattern: str, lines: Iterable[str]) -> str | None:
    for line in lines:
        match = re.search(pattern, line)
        if match:
            return match.group(1)
    return None


def _version(os: Os, lines: list[str]) -> str:
    if os == "linux":
        return lines[0] if lines else ""
    return _first(r"(\d+\.\d+\.\d+(?:\.\d+)?)", lines) or ""


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _environment(lines: Iterable[str]) -> dict[str, str]:
    wanted = {name.upper() for name in (*cmd.VARIABLES, *sh.VARIABLES)}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name.upper(): value for name, _, value in pairs if name.upper() in wanted}


def read_free(lines: list[str]) -> int | None:
    """The free bytes in the last line of ``dir`` (its last number) or ``df -Pk`` (the third of its numbers)."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    blocks = re.search(r"\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%\s", last)
    if blocks:
        return int(blocks.group(3)) * 1024
    # The words around it are in the language of the host.
    # Wine groups digits whatever /-c says; a group separator is never followed by a blank on its own.
    numbers = re.findall(r"\d+(?:[.,\u00a0\u202f']\d{3})*", last)
    return int(re.sub(r"\D", "", numbers[-1])) if len(numbers) > 1 else None


def _groups(lines: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Split at lines ``@d <name>``."""
    groups: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("@d "):
            groups.append((line[3:].strip(), []))
        elif groups:
            groups[-1][1].append(line.strip())
    return groups


def marker(tool: str, version: str, kind: str, arch: str, sha256: str) -> str:
    """The one line of a toolchain's marker."""
    return f"gofallback-toolchain 1 {tool} {version} {kind} {arch} {sha256}"


def _toolchains(layout: Layout, lines: Iterable[str]) -> tuple[dict[tuple[str, str], ToolchainFound], tuple[str, ...]]:
    found: dict[tuple[str, str], ToolchainFound] = {}
    broken: list[str] = []
    for name, content in _groups(lines):
        words = next((line.split() for line in content if line.startswith("gofallback-toolchain ")), [])
        complete = len(words) == 7 and words[1] == "1" and f"@x {words[2]}" in content
        if not complete or name.lower() != toolchain_name(words[2], words[3]).lower():
            broken.append(name)
            continue
        tool, version, sha256 = words[2], words[3], words[6]
        path = layout.toolchain(tool, version)
        found[(tool, version)] = ToolchainFound(tool, version, path, sha256, "ours")
    return found, tuple(broken)


def _installed(
    os: Os, environment: Mapping[str, str], sections: Mapping[str, list[str]]
) -> dict[str, tuple[ToolchainFound, ...]]:
    if os == "linux":
        return {tool: tuple(_machine_wide(tool, lines)) for tool, lines in sections.items()}
    program_files = environment.get("PROGRAMFILES", "C:\\Program Files")
    found: dict[str, tuple[ToolchainFound, ...]] = {}
    for tool, folder in (("go", "Go"), ("git", "Git")):
        version = read_version(tool, "\n".join(sections[tool]))
        if version:
            found[tool] = (ToolchainFound(tool, version, f"{program_files}\\{folder}", None, "machine"),)
    return found


def _machine_wide(tool: str, lines: Iterable[str]) -> Iterator[ToolchainFound]:
    """Read ``@p <folder>`` followed by what tells the version."""
    path = ""
    for line in lines:
        if line.startswith("@p "):
            path = line[3:].strip()
        elif path and (version := read_version(tool, line)):
            yield ToolchainFound(tool, version, path, None, "machine")
            path = ""


def _downloads(lines: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in lines:
        size, _, name = line.strip().partition(" ")
        if size.isdigit() and name:
            found[ntpath.basename(name)] = int(size)
    return found


def _mirrors(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    mirrors: dict[str, tuple[str, ...]] = {}
    for name, content in _groups(lines):
        # A line of packed-refs: `<sha> <ref>`, or `^<sha>` for the commit an annotated tag above it points to.
        commits = (re.match(r"\^?([0-9a-f]{40}(?:[0-9a-f]{24})?)\b", line) for line in content)
        if name.endswith(".git"):
            mirrors[name.removesuffix(".git")] = tuple(dict.fromkeys(match.group(1) for match in commits if match))
    return mirrors


def _checkouts(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        service, _, name = line.strip().partition(" ")
        if name:
            found[service] = (*found.get(service, ()), name)
    return found


def _artifacts(lines: Iterable[str]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for name, content in _groups(lines):
        service, _, key = name.partition(" ")
        if key:
            found[(service, key)] = next((line for line in content if line), "")
    return found
