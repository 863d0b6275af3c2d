"""The parser of a builder's state: the output of `Shell.state`. Pure."""

from __future__ import annotations

import ntpath
import re
from collections.abc import Iterable, Iterator, Mapping

from gofallback.builder import cmd, sh
from gofallback.builder.paths import Layout, Os, os_of, toolchain_name
from gofallback.builder.state import BuilderState, ToolchainFound, git_version
from gofallback.errors import GofallbackError


class StateError(GofallbackError):
    """The output cannot be parsed; one line."""


def read_version(tool: str, output: str) -> str | None:
    """The version in the output of ``go version``, ``git --version`` or ``zig version``, or in Go's VERSION file."""
    if tool == "go":
        match = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?(?:rc\d+|beta\d+)?)\b", output)
        return match.group(1) if match else None
    if tool == "zig":
        match = re.search(r"^(\d+\.\d+\.\d+)\b", output.strip())
        return match.group(1) if match else None
    match = re.search(r"\bgit version (\d+(?:\.\d+)+)(?:\.windows\.(\d+))?", output)
    if not match:
        return None
    return git_version(f"{match.group(1)}.{match.group(2)}") if match.group(2) else match.group(1)


def parse(root: str, lines: Iterable[str]) -> BuilderState:
    """Parse the output of `gofallback.builder.shell.Shell.state`.

    Raises:
        StateError: it is cut off, or the output of another command.
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
    return BuilderState(
        root=root,
        version=_version(os_of(root), lines_of("version")),
        free_bytes=read_free(lines_of("free")),
        environment=environment,
        tools=frozenset(line.lower() for line in lines_of("tools")),
        folders=frozenset(line.lower() for line in lines_of("folders")),
        toolchains=_toolchains(Layout(root), lines_of("toolchains")),
        installed=_installed(os_of(root), environment, {tool: lines_of(tool) for tool in ("go", "git")}),
        leftovers=tuple(lines_of("leftovers")),
        downloads=_downloads(lines_of("downloads")),
        mirrors=_mirrors(lines_of("mirrors")),
        checkouts=_checkouts(lines_of("checkouts")),
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


def _environment(lines: Iterable[str]) -> dict[str, str]:
    names = {name.upper() for name in (*cmd.VARIABLES, *sh.VARIABLES)}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name.upper(): value for name, _, value in pairs if name.upper() in names}


def read_hash(lines: Iterable[str]) -> str | None:
    """The SHA-256 that certutil or sha256sum printed; None: there is none, whatever the exit code was.

    Windows 7 and 8 print the digits in pairs, later ones without blanks; the words around them are translated.
    """
    for line in lines:
        digits = line.strip().replace(" ", "").lower()
        if re.fullmatch(r"[0-9a-f]{64}", digits):
            return digits
    return None


def read_free(lines: Iterable[str]) -> int | None:
    """The free bytes in the last line of ``dir`` (its last number) or ``df -Pk`` (the third of its numbers)."""
    last = next((line for line in reversed([*lines]) if line.strip()), "")
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


def _toolchains(layout: Layout, lines: Iterable[str]) -> dict[tuple[str, str], ToolchainFound]:
    """Those that are complete: with their marker, their program, and the marker's name."""
    found: dict[tuple[str, str], ToolchainFound] = {}
    for name, content in _groups(lines):
        words = next((line.split() for line in content if line.startswith("gofallback-toolchain ")), [])
        complete = len(words) == 7 and words[1] == "1" and f"@x {words[2]}" in content
        if not complete or name.lower() != toolchain_name(words[2], words[3]).lower():
            continue
        tool, version, sha256 = words[2], words[3], words[6]
        path = layout.toolchain(tool, version)
        found[(tool, version)] = ToolchainFound(tool, version, path, sha256, "ours")
    return found


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
    """Parse ``@p <folder>`` followed by a line with the version."""
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
