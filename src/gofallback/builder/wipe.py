"""Wiping a builder: which names are removed, which stay, and the command lines for it. Pure.

Only names that gofallback itself makes below `builder.root` are ever removed. All other files there are left and
reported, also in a root that was set to somebody's own folder.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gofallback.builder.git_config import GIT_CONFIG_NAME
from gofallback.builder.paths import CACHES, FOLDERS, Layout, inside, join, literal, os_of, separator
from gofallback.builder.shell import shell_of

OURS = FOLDERS
#: Of `cache`; the last one belongs to builds with C, and the first of them makes it.
IN_CACHE = (*CACHES, "sysroots")
_OUR_FILES = re.compile(rf"{re.escape(GIT_CONFIG_NAME.split('-')[0])}-[0-9a-f]+")
"""Files directly below the root: git's configuration (`GIT_CONFIG_NAME`), of any version."""
_BUSY, _THERE, _HOME, _END = "@busy ", "@there ", "@home", "@listed"


@dataclass(frozen=True)
class Contents:
    """What lies below a builder's root."""

    root: str
    files: Mapping[str, int]
    """Path relative to the root -> bytes."""
    names: frozenset[str]
    """Folders of gofallback that are there, empty ones too: `work`, `cache`, `cache/gocache`."""
    busy: tuple[str, ...] = ()
    """Programs at work there."""
    home: bool = False
    """The root is the login's home folder, whose `work` and `tmp` may be somebody's own."""

    def count(self, below: str | None = None) -> tuple[int, int]:
        """Files and bytes of one name, or of all."""
        sizes = [size for path, size in self.files.items() if below is None or _within(below, path)]
        return len(sizes), sum(sizes)

    def listing(self) -> str:
        """One line a file: bytes and path."""
        return "".join(f"{size}\t{path}\n" for path, size in sorted(self.files.items()))


def contents_line(root: str) -> str:
    """The command line whose output `parse_contents` reads; it changes nothing."""
    shell = shell_of(root)
    names = [shell.if_there(join(root, name), shell.echo(f"{_THERE}{index}")) for index, name in enumerate(_names())]
    files = shell.if_there(root, shell.list_files(root))
    return shell.script([*_home_steps(root), _busy_step(root), *names, files, shell.echo(_END)], always=True)


def parse_contents(root: str, lines: Iterable[str]) -> Contents | None:
    """Read the output of `contents_line`; None: it is cut off."""
    files: dict[str, int] = {}
    names: set[str] = set()
    busy: set[str] = set()
    home = False
    numbered = {str(index): name for index, name in enumerate(_names())}
    output = [line.rstrip("\r\n") for line in lines if line.strip()]
    if not output or output[-1].strip() != _END:
        return None
    for text in output[:-1]:
        size, _, path = text.strip().partition(" ")
        if size.isdigit() and inside(root, path):
            files[path[len(root) + 1 :].replace(separator(root), "/")] = int(size)
        elif files:
            continue  # a file's name may hold a line end, and the rest of it must not pass for a mark of ours
        elif text.startswith(_BUSY):
            busy.add(text.removeprefix(_BUSY).strip())
        elif text.startswith(_THERE) and text.removeprefix(_THERE).strip() in numbered:
            names.add(numbered[text.removeprefix(_THERE).strip()])
        home = home or (not files and text.strip() == _HOME)
    return Contents(root, files, frozenset(names), tuple(sorted(busy)), home)


def names_to_remove(found: Contents, keep: Collection[str]) -> list[str]:
    """Names relative to the root, in order; `tmp`, into which the others are renamed first, comes last."""
    inner = set(IN_CACHE) & set(keep)
    gone = [name for name in OURS if name in found.names and name not in keep and name not in ("tmp", "cache")]
    if "cache" in found.names and "cache" not in keep:
        gone += [f"cache/{name}" for name in _children(found) if name not in inner] if inner else ["cache"]
    gone += sorted(path for path in found.files if _OUR_FILES.fullmatch(path))
    return [*gone, *(["tmp"] if "tmp" in found.names else [])]


def needs_wipe(folders: Iterable[str], keep: Collection[str]) -> bool:
    r"""Whether a builder with these folders (`BuilderState.folders`: ``work``, ``cache\gocache``) has to be wiped."""
    names = frozenset(name.replace("\\", "/") for name in folders)
    return bool(names_to_remove(Contents("", {}, names), keep))


def _children(found: Contents) -> list[str]:
    with_files = {path.split("/")[1] for path in found.files if path.startswith("cache/") and path.count("/") > 1}
    empty = {name.removeprefix("cache/") for name in found.names if name.startswith("cache/")}
    return sorted(with_files | empty)


def removal_line(root: str, names: Iterable[str], token: str) -> str:
    """The command line that removes these names, each renamed into ``tmp`` first: no half of it keeps its name.

    Args:
        root: the builder's root.
        names: see `names_to_remove`.
        token: makes the names in ``tmp`` unique.
    """
    shell, tmp = shell_of(root), Layout(root).tmp
    steps = [shell.make(tmp)]
    for name in names:
        if name != "tmp":
            aside = join(tmp, f"wiped-{name.replace('/', '-')}-{token}")
            steps.append(shell.remove_aside(join(root, *name.split("/")), aside))
    return shell.script([*steps, shell.remove(tmp)], always=True)


class Remains(NamedTuple):
    """What is there after a wipe."""

    kept: list[str]
    """What group data keeps, with sizes: ``toolchains (402 MB in 9,120 files)``."""
    stuck: list[str]
    """Paths that should be gone."""
    foreign: list[str]
    """Files that are not gofallback's."""


def remains(found: Contents, keep: Collection[str]) -> Remains:
    """Sort what is there after a wipe.

    Args:
        found: what is there.
        keep: `builder.wipe.keep`.
    """
    stays = [name for name in keep if name in OURS] + [f"cache/{name}" for name in keep if name in IN_CACHE]
    kept = []
    for name in sorted(set(stays)):
        files, size = found.count(name)
        if files:
            kept.append(f"{name} ({size / 1e6:,.0f} MB in {files:,} files)")
    stuck: list[str] = []
    foreign: list[str] = []
    for path in sorted(found.files):
        if any(_within(name, path) for name in stays):
            continue
        ours = path.split("/")[0] in OURS or _OUR_FILES.fullmatch(path)
        (stuck if ours else foreign).append(path)
    if not stuck:  # a folder cannot be removed, though it is empty, while it is the current folder of a program
        tops = {name.split("/")[0] for name in stays}
        stuck = sorted(name for name in found.names if name.split("/")[0] not in tops)
    return Remains(kept, stuck, foreign)


def _names() -> list[str]:
    return [*OURS, *(f"cache/{name}" for name in IN_CACHE)]


def _within(name: str, path: str) -> bool:
    return path == name or path.startswith(f"{name}/")


def _home_steps(root: str) -> list[str]:
    """Print ``@home`` when the root is the login's own folder; on Windows `gofallback.model.base` refuses those."""
    if os_of(root) == "windows":
        return []
    return [f'if [ "$(readlink -f {literal(root)})" = "$(readlink -f "$HOME")" ]; then echo {_HOME}; fi']


def _busy_step(root: str) -> str:
    """Print ``@busy`` for every program that builds there now, whoever started it.

    On Linux a program counts whose current folder is below the root. Windows does not show that: any go.exe counts.
    """
    if os_of(root) == "linux":
        # /proc shows folders with every link resolved; the root may lie behind a link.
        found = f'case "$d/" in "$r"/*) echo "{_BUSY}$(cat "$p/comm" 2>/dev/null)";; esac'
        each = f'for p in /proc/[0-9]*; do d=$(readlink "$p/cwd" 2>/dev/null) && {found}; done'
        return f'r=$(readlink -f {literal(root)}); if [ -n "$r" ]; then {each}; fi'
    tasks = '"%SystemRoot%\\System32\\tasklist.exe" /nh 2^>nul'
    return f'(for /f "tokens=1" %P in (\'{tasks}\') do @if /i "%P"=="go.exe" echo {_BUSY}go.exe)'
