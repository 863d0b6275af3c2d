"""Wiping a builder: what of ours goes, what stays, and how both are told. Pure.

Only names that gofallback itself makes below `builder.root` are ever removed: whatever else lies there, or a root that
was set to somebody's own folder, is left and told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gofallback.builder.git_config import GIT_CONFIG_NAME
from gofallback.builder.paths import CACHES, FOLDERS, Layout, inside, join, literal, os_of, separator
from gofallback.builder.shell import shell_of

OURS = FOLDERS
#: Of `cache`; the last one is that of builds with C, and made by the first of them.
IN_CACHE = (*CACHES, "sysroots")
_OUR_FILES = re.compile(rf"{re.escape(GIT_CONFIG_NAME.split('-')[0])}-[0-9a-f]+")
"""Files directly below the root: git's own settings, `gofallback.builder.git_config.GIT_CONFIG_NAME` of any version."""
_BUSY, _THERE, _HOME, _END = "@busy ", "@there ", "@home", "@listed"


@dataclass(frozen=True)
class Contents:
    """What lies below a builder's root."""

    root: str
    files: Mapping[str, int]
    """Path relative to the root -> bytes."""
    names: frozenset[str]
    """Folders of ours that are there, empty ones too: `work`, `cache`, `cache/gocache`."""
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


def look(root: str) -> str:
    """The command line whose answer `read` reads; nothing is changed by it."""
    shell = shell_of(root)
    names = [shell.if_there(join(root, name), shell.say(f"{_THERE}{index}")) for index, name in enumerate(_names())]
    files = shell.if_there(root, shell.list_files(root))
    return shell.script([*_at_home(root), _at_work(root), *names, files, shell.say(_END)], always=True)


def read(root: str, lines: Iterable[str]) -> Contents | None:
    """What the builder answered to `look`; None: the answer is cut off."""
    files: dict[str, int] = {}
    names: set[str] = set()
    busy: set[str] = set()
    home = False
    numbered = {str(index): name for index, name in enumerate(_names())}
    told = [line.rstrip("\r\n") for line in lines if line.strip()]
    if not told or told[-1].strip() != _END:
        return None
    for text in told[:-1]:
        size, _, path = text.strip().partition(" ")
        if size.isdigit() and inside(root, path):
            files[path[len(root) + 1 :].replace(separator(root), "/")] = int(size)
        elif files:
            continue  # a file's name may hold a line end, and what follows it must not pass for a word of ours
        elif text.startswith(_BUSY):
            busy.add(text.removeprefix(_BUSY).strip())
        elif text.startswith(_THERE) and text.removeprefix(_THERE).strip() in numbered:
            names.add(numbered[text.removeprefix(_THERE).strip()])
        home = home or (not files and text.strip() == _HOME)
    return Contents(root, files, frozenset(names), tuple(sorted(busy)), home)


def doomed(found: Contents, keep: Collection[str]) -> list[str]:
    """Names that are removed, relative to the root, in order; `tmp`, where the others are put aside, last."""
    inner = set(IN_CACHE) & set(keep)
    gone = [name for name in OURS if name in found.names and name not in keep and name not in ("tmp", "cache")]
    if "cache" in found.names and "cache" not in keep:
        gone += [f"cache/{name}" for name in _children(found) if name not in inner] if inner else ["cache"]
    gone += sorted(path for path in found.files if _OUR_FILES.fullmatch(path))
    return [*gone, *(["tmp"] if "tmp" in found.names else [])]


def anything(folders: Iterable[str], keep: Collection[str]) -> bool:
    r"""Whether a builder with these folders (`BuilderState.folders`: ``work``, ``cache\gocache``) has to be wiped."""
    names = frozenset(name.replace("\\", "/") for name in folders)
    return bool(doomed(Contents("", {}, names), keep))


def _children(found: Contents) -> list[str]:
    told = {path.split("/")[1] for path in found.files if path.startswith("cache/") and path.count("/") > 1}
    empty = {name.removeprefix("cache/") for name in found.names if name.startswith("cache/")}
    return sorted(told | empty)


def removal(root: str, names: Iterable[str], token: str) -> str:
    """The command line that removes them, each first renamed into ``tmp``: nothing of it stays half under its name.

    Args:
        root: the builder's root.
        names: see `doomed`.
        token: makes the names in ``tmp`` unique.
    """
    shell, tmp = shell_of(root), Layout(root).tmp
    steps = [shell.make(tmp)]
    for name in names:
        if name != "tmp":
            aside = join(tmp, f"wiped-{name.replace('/', '-')}-{token}")
            steps.append(shell.remove_aside(join(root, *name.split("/")), aside))
    return shell.script([*steps, shell.remove(tmp)], always=True)


def left(found: Contents, keep: Collection[str]) -> tuple[list[str], list[str], list[str]]:
    """What is there after a wipe: what was to stay (``toolchains (402 MB)``), files that should be gone, and what is
    not ours."""
    kept = []
    for name in sorted({one for one in keep if one in OURS} | {f"cache/{one}" for one in keep if one in IN_CACHE}):
        files, size = found.count(name)
        if files:
            kept.append(f"{name} ({size / 1e6:,.0f} MB in {files:,} files)")
    stays = [name for name in keep if name in OURS] + [f"cache/{name}" for name in keep if name in IN_CACHE]
    stuck: list[str] = []
    foreign: list[str] = []
    for path in sorted(found.files):
        if any(_within(name, path) for name in stays):
            continue
        ours = path.split("/")[0] in OURS or _OUR_FILES.fullmatch(path)
        (stuck if ours else foreign).append(path)
    if not stuck:  # a folder that is somebody's current one cannot be removed though it is empty
        empty = {name for name in found.names if name.split("/")[0] not in {one.split("/")[0] for one in stays}}
        stuck = sorted(empty)
    return kept, stuck, foreign


def _names() -> list[str]:
    return [*OURS, *(f"cache/{name}" for name in IN_CACHE)]


def _within(name: str, path: str) -> bool:
    return path == name or path.startswith(f"{name}/")


def _at_home(root: str) -> list[str]:
    """Say ``@home`` when the root is the login's own folder; on Windows `gofallback.model.base` refuses those."""
    if os_of(root) == "windows":
        return []
    return [f'if [ "$(readlink -f {literal(root)})" = "$(readlink -f "$HOME")" ]; then echo {_HOME}; fi']


def _at_work(root: str) -> str:
    """Say ``@busy`` for every program that builds there now, whoever started it.

    On Linux: whose current folder is below the root. Windows tells no such thing: any go.exe of the host counts.
    """
    if os_of(root) == "linux":
        # /proc tells folders as they are behind every link; the root may lie behind one.
        found = f'case "$d/" in "$r"/*) echo "{_BUSY}$(cat "$p/comm" 2>/dev/null)";; esac'
        each = f'for p in /proc/[0-9]*; do d=$(readlink "$p/cwd" 2>/dev/null) && {found}; done'
        return f'r=$(readlink -f {literal(root)}); if [ -n "$r" ]; then {each}; fi'
    tasks = '"%SystemRoot%\\System32\\tasklist.exe" /nh 2^>nul'
    return f'(for /f "tokens=1" %P in (\'{tasks}\') do @if /i "%P"=="go.exe" echo {_BUSY}go.exe)'
