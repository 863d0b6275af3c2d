"""Everything a Windows builder tells about itself: one command for cmd.exe, and the reader of its answer. Pure."""

from __future__ import annotations

import ntpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gofallback.errors import GofallbackError
from gofallback.windows.paths import MARKER, Layout, literal, toolchain_name

#: Variables that are asked for; never the whole environment, which may hold secrets.
VARIABLES = ("SystemRoot", "SystemDrive", "ProgramFiles", "PROCESSOR_ARCHITECTURE", "NUMBER_OF_PROCESSORS", "USERNAME")
#: Programs in System32 that Windows 10 1803 and Server 2019 brought, and that provisioning needs.
TOOLS = ("tar.exe", "curl.exe", "certutil.exe")
_CODE_PAGE_KEY = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Nls\\CodePage"
_ARCHITECTURES: dict[str, Literal["amd64", "arm64"]] = {"AMD64": "amd64", "ARM64": "arm64"}


class StateError(GofallbackError):
    """The host's answer cannot be read; one line."""


@dataclass(frozen=True)
class ToolchainFound:
    """A Go or a Git that a builder has."""

    tool: str
    version: str
    path: str
    """Folder: GOROOT for Go; the folder above ``cmd\\git.exe`` for Git."""
    sha256: str | None
    """SHA-256 of the archive it was unpacked from; None for a machine-wide install."""
    origin: Literal["ours", "machine"]


@dataclass(frozen=True)
class BuilderState:
    """What one round trip told about a builder."""

    root: str
    version: str = ""
    """Windows version such as 10.0.20348.2340."""
    free_bytes: int | None = None
    """Free bytes of the drive the root is on; None when Windows did not say."""
    code_page: int | None = None
    """OEM code page, such as 437 or 936."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """``VARIABLES`` that are set there, names in upper case."""
    tools: frozenset[str] = frozenset()
    """Which of ``TOOLS`` are there."""
    folders: frozenset[str] = frozenset()
    """Folders directly below the root, and those below ``cache`` as ``cache\\<name>``; lower case."""
    toolchains: Mapping[tuple[str, str], ToolchainFound] = field(default_factory=dict)
    """Ours: (tool, version) to what is there, marked complete and with its program."""
    installed: Mapping[str, ToolchainFound] = field(default_factory=dict)
    """Machine-wide: tool to what is there."""
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
    def arch(self) -> Literal["amd64", "arm64"]:
        """The host's architecture in Go's words; amd64 when it did not say."""
        return _ARCHITECTURES.get(self.environment.get("PROCESSOR_ARCHITECTURE", "").upper(), "amd64")

    @property
    def layout(self) -> Layout:
        """Where things lie on this builder."""
        return Layout(self.root)

    def find(self, tool: str, version: str, *, use_installed: bool = True) -> ToolchainFound | None:
        """The toolchain to use: ours, else a machine-wide one of the same version, else None."""
        ours = self.toolchains.get((tool, version))
        if ours is not None or not use_installed:
            return ours
        machine = self.installed.get(tool)
        return machine if machine is not None and same_version(tool, machine.version, version) else None

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
    """The version in the answer of ``go version`` or ``git --version``, or in Go's VERSION file; None: not one."""
    if tool == "go":
        match = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?(?:rc\d+|beta\d+)?)\b", output)
        return match.group(1) if match else None
    match = re.search(r"\bgit version (\d+(?:\.\d+)+)(?:\.windows\.(\d+))?", output)
    if not match:
        return None
    return _git_version(f"{match.group(1)}.{match.group(2)}") if match.group(2) else match.group(1)


def gather(root: str) -> str:
    """The one command line for cmd.exe that makes a builder tell everything; well below cmd's 8,191 characters.

    Only parts of cmd.exe itself, ``reg.exe`` and, where it is there, the machine-wide ``git.exe`` run; nothing is
    changed. The answer's sections begin with ``@@name``; ``@@end`` proves that nothing was cut off.
    """
    here = root + "\\"
    parts = [
        "echo @@version& ver",
        "echo @@environment",
        *(f"2>nul set {name}" for name in VARIABLES),
        f'echo @@codepage& "%SystemRoot%\\System32\\reg.exe" query {_CODE_PAGE_KEY} /v OEMCP 2>nul',
        "echo @@tools",
        *(f'(if exist "%SystemRoot%\\System32\\{tool}" echo {tool})' for tool in TOOLS),
        'echo @@go& (if exist "%ProgramFiles%\\Go\\bin\\go.exe" type "%ProgramFiles%\\Go\\VERSION" 2>nul)',
        'echo @@git& (if exist "%ProgramFiles%\\Git\\cmd\\git.exe" "%ProgramFiles%\\Git\\cmd\\git.exe" --version)',
        # Other tools that tell free bytes need an administrator (fsutil) or are gone (wmic).
        # The root may be the mount point of a disk of its own.
        f"echo @@free& (if exist {literal(here)} (dir /-c /ad {literal(root)}) else (dir /-c /ad {root[:2]}\\))",
        # Loops run over relative names: quotes around a wildcard in `for` are honoured by Windows but not by Wine.
        f"(if not exist {literal(here)} (echo @@end& exit 0))& cd /d {literal(root)} || (echo @@unreadable& exit 0)",
        "echo @@folders",
        _each("*", "echo %~nxD"),
        _each("cache\\*", "echo cache\\%~nxD"),
        "echo @@toolchains",
        _each(
            "toolchains\\*",
            f'(echo @d %~nxD& type "%~fD\\{MARKER}" 2>nul'
            '& (if exist "%~fD\\bin\\go.exe" echo @x go)& (if exist "%~fD\\cmd\\git.exe" echo @x git))',
        ),
        "echo @@leftovers",
        _each("tmp\\*", "echo %~nxD"),
        "(for %F in (tmp\\*) do @echo %~nxF)",
        "echo @@downloads",
        "(for %F in (downloads\\*) do @echo %~zF %~nxF)",
        "echo @@mirrors",
        _each("mirrors\\*", '(echo @d %~nxD& type "%~fD\\packed-refs" 2>nul)'),
        "echo @@checkouts",
        "(for /d %S in (work\\*) do @for /d %K in (work\\%~nxS\\*) do @echo %~nxS %~nxK)",
        "echo @@artifacts",
        "(for /d %S in (out\\*) do @for /d %K in (out\\%~nxS\\*) do "
        '@(echo @d %~nxS %~nxK& type "%~fK\\artifact.txt" 2>nul))',
        "echo @@end",
        # `type` of a missing file left an error level; this command is judged by @@end.
        "exit 0",
    ]
    return "& ".join(parts)


def _each(folders: str, body: str) -> str:
    # The parentheses end the loop's body, which would take in everything after the next `&`.
    return f"(for /d %D in ({folders}) do @{body})"


def parse(root: str, lines: Iterable[str]) -> BuilderState:
    """Read the answer to `gather`.

    Raises:
        StateError: the answer is cut off, or not an answer to this command.
    """
    sections = _sections(lines)
    if "unreadable" in sections:
        raise StateError(f"builder.root {root} cannot be entered; it should be a folder the login may read and write")
    if "end" not in sections:
        got = " ".join(" ".join(part) for part in sections.values()).strip()[:120] or "nothing"
        raise StateError(
            f"the builder's answer is incomplete (is cmd.exe its shell?): got {got!r}; run again with -vvv"
        )

    def lines_of(name: str) -> list[str]:
        return [line.strip() for line in sections.get(name, []) if line.strip()]

    environment = _environment(sections.get("environment", []))
    toolchains, broken = _toolchains(Layout(root), lines_of("toolchains"))
    return BuilderState(
        root=root,
        version=_first(r"(\d+\.\d+\.\d+(?:\.\d+)?)", lines_of("version")) or "",
        free_bytes=read_free(lines_of("free")),
        code_page=_number(_first(r"OEMCP\s+REG_SZ\s+(\d+)", lines_of("codepage"))),
        environment=environment,
        tools=frozenset(line.lower() for line in lines_of("tools")),
        folders=frozenset(line.lower() for line in lines_of("folders")),
        toolchains=toolchains,
        installed=_installed(environment, {tool: lines_of(tool) for tool in ("go", "git")}),
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


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _environment(lines: Iterable[str]) -> dict[str, str]:
    wanted = {name.upper() for name in VARIABLES}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name.upper(): value for name, _, value in pairs if name.upper() in wanted}


def read_free(lines: list[str]) -> int | None:
    """The last number of `dir`'s last line: the words around it are in the language of the host."""
    last = next((line for line in reversed(lines) if line.strip()), "")
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


def _installed(environment: Mapping[str, str], sections: Mapping[str, list[str]]) -> dict[str, ToolchainFound]:
    program_files = environment.get("PROGRAMFILES", "C:\\Program Files")
    found: dict[str, ToolchainFound] = {}
    for tool, folder in (("go", "Go"), ("git", "Git")):
        version = read_version(tool, "\n".join(sections[tool]))
        if version:
            found[tool] = ToolchainFound(tool, version, f"{program_files}\\{folder}", None, "machine")
    return found


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
