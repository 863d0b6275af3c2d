"""The files of a commit, and what a Windows builder makes of them that Linux does not. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

#: Names no Windows file can have (learn.microsoft.com/windows/win32/fileio/naming-a-file).
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$')


@dataclass(frozen=True)
class Entry:
    """One line of ``git ls-tree``."""

    mode: str
    sha: str
    path: str

    @property
    def is_file(self) -> bool:
        """Neither a link nor a submodule."""
        return not self.is_symlink and not self.is_submodule

    @property
    def is_submodule(self) -> bool:
        """A gitlink."""
        return self.mode == "160000"

    @property
    def is_symlink(self) -> bool:
        """A symbolic link."""
        return self.mode == "120000"


def parse_tree(text: str) -> list[Entry]:
    """Read ``git ls-tree -r -z --full-tree``."""
    entries = []
    for record in filter(None, text.split("\0")):
        head, _, path = record.partition("\t")
        mode, _, sha = head.split(" ")
        entries.append(Entry(mode, sha, path))
    return entries


def notes(entries: list[Entry], *, lfs: bool = False, submodules: bool = True) -> list[str]:
    """One line for each kind of problem, with its first path.

    Args:
        entries: every file of the commit.
        lfs: the commit has files in Git LFS.
        submodules: submodules are fetched too.
    """
    found: list[str] = []
    if lfs:
        found.append("Git LFS: a bundle holds its pointers, not its files; code that embeds them embeds the pointers")
    left_out = [] if submodules else [entry.path for entry in entries if entry.is_submodule]
    if left_out:
        found.append(f"{_these(left_out)}: submodule, left as an empty folder; source.submodules: true brings it")
    illegal = [entry.path for entry in entries if any(_illegal(part) for part in entry.path.split("/"))]
    if illegal:
        found.append(f"{_these(illegal)} cannot exist on Windows: the checkout there fails; rename in the repository")
    twins = Counter(entry.path.lower() for entry in entries)
    clash = [entry.path for entry in entries if twins[entry.path.lower()] > 1]
    if clash:
        found.append(f"{_these(clash)} differ only in case: Windows keeps one of them; rename in the repository")
    links = [entry.path for entry in entries if entry.is_symlink]
    if links:
        code = [path for path in links if path.endswith((".go", ".mod", ".sum", ".work"))]
        what = f"; {_these(code)} cannot be compiled: put the code itself there" if code else ""
        found.append(f"{_these(links)}: symbolic link, on every builder a text file that holds the link's target{what}")
    return found


def _illegal(part: str) -> bool:
    return bool(_FORBIDDEN.search(part) or _DEVICES.fullmatch(part))


def _these(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
