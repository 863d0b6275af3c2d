r"""git on a Windows builder: the command lines, for cmd.exe. Pure: nothing is run here.

A builder has one bare mirror per repository (``mirrors\<name>.git``: objects from bundles, refs from one
``packed-refs`` file) and one clean tree per commit (``work\<service>\<commit>``), which borrows the mirror's objects.
Every line says ``@failed <what>`` and ends with status 1 at the first command that fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from gofallback.build.plan import GIT_CONFIG_NAME
from gofallback.source.model import ResolvedSource
from gofallback.source.urls import mirror_name
from gofallback.windows.paths import Layout, join, literal
from gofallback.windows.quoting import COMMAND_LIMIT, command_line, length

#: Environment of git where it talks to a remote: the host's own settings and credentials, and never a question.
REMOTE_ENVIRONMENT: Mapping[str, str] = {
    "GIT_TERMINAL_PROMPT": "0",
    "GCM_INTERACTIVE": "never",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=15",
    "LC_ALL": "C",
}


_ONE_LINE = COMMAND_LIMIT - 1500
"""Longest command sent as one line; the environment comes on top."""
TREES = 5
"""Trees of one service that a builder keeps, newest first; an older one is checked out again in a second."""


@dataclass(frozen=True)
class Place:
    """One repository on a builder."""

    name: str
    """Of the mirror's folder, without ``.git``."""
    url: str
    commit: str
    mirror: str
    tree: str
    """Folder of the tree, relative to the top; empty for the service itself."""


def places(source: ResolvedSource, root: str) -> list[Place]:
    """The service's repository, then its submodules, parents first."""
    layout = Layout(root)
    found = [Place(source.service, source.repository, source.commit, layout.mirror(source.service), "")]
    for submodule in source.below():
        # One for each path: the same repository may be there twice, at two commits.
        unique = hashlib.sha256(submodule.path.encode()).hexdigest()[:6]
        name = f"{source.service}+{mirror_name(submodule.repository).removesuffix('.git')}-{unique}"
        tree = submodule.path.replace("/", "\\")
        found.append(Place(name, submodule.repository, submodule.commit, layout.mirror(name), tree))
    return found


@dataclass(frozen=True)
class GitOnWindows:
    """The lines for one builder.

    Args:
        git: path of ``git.exe``; no PATH is relied on.
        root: the builder's root.
    """

    git: str
    root: str

    @property
    def configuration(self) -> str:
        """Where our git configuration is kept there."""
        return join(self.root, GIT_CONFIG_NAME)

    def run(self, *arguments: str) -> str:
        """One git command."""
        return command_line([self.git, *arguments])

    def look(self, where: list[Place], tree: str) -> list[str]:
        """What is there already; `read_look` reads the answer."""
        lines = [f"(if exist {literal(self.configuration)} echo @config)"]
        for number, place in enumerate(where):
            at = join(tree, place.tree) if place.tree else tree
            lines += [
                f"echo @mirror {number}& {_hash(join(place.mirror, 'packed-refs'))}",
                f"echo @refs {number}& {_hash(join(at, '.git', 'packed-refs'))}",
                f"echo @head {number}& {self._if_tree(at, self.run('-C', at, 'rev-parse', 'HEAD'))}",
            ]
        lines.append(f"echo @status& {self._if_tree(tree, self._status(tree))}")
        return [*lines, "echo @end", "exit 0"]

    def receive(self, place: Place, bundle: str | None, refs: str, *, anew: bool = False) -> list[str]:
        """Bring a mirror up to date from uploaded files: objects first, then all refs by one rename.

        Args:
            place: which mirror.
            bundle: the uploaded bundle; None: every object is there.
            refs: the uploaded ``packed-refs``.
            anew: throw the mirror away first.
        """
        bare, mirror = f"--git-dir={place.mirror}", literal(place.mirror)
        # Loose refs would win over the packed ones; a mirror filled by `clone` may have some.
        loose = literal(join(place.mirror, "refs"))
        steps = [f"(if exist {mirror} rmdir /s /q {mirror})"] if anew else []
        steps.append(self._init(place))
        if bundle:
            steps.append(self.run(bare, "bundle", "unbundle", bundle) + " >nul")
        steps += [
            self.run(bare, "cat-file", "-e", place.commit),
            f"(if exist {loose} rmdir /s /q {loose})& mkdir {loose}",
            f"move /y {literal(refs)} {literal(join(place.mirror, 'packed-refs'))} >nul",
        ]
        if bundle:
            steps.append(f"(del /f /q {literal(bundle)}& ver >nul)")
        return [_or_end(step, f"mirror {place.name}") for step in steps]

    def fetch(self, place: Place) -> list[str]:
        """Let the builder fetch from the remote itself (``source.delivery: clone``)."""
        bare = f"--git-dir={place.mirror}"
        specs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        steps = [
            self._init(place),
            self.run(bare, "fetch", "--quiet", "--prune", "--force", "--no-tags", "--", place.url, *specs),
            self.run(bare, "cat-file", "-e", place.commit),
            self.run(bare, "pack-refs", "--all", "--prune"),
        ]
        return [_or_end(step, f"fetch {place.url}") for step in steps]

    def tree(self, where: list[Place], final: str, temporary: str) -> list[str]:
        """Make the tree of a commit beside, prove it, and rename it into place: ``@done`` says that it is there.

        Args:
            where: see `places`.
            final: the folder it gets.
            temporary: the folder it is made in; on the same drive.
        """
        made = [_or_end(f"(if exist {literal(temporary)} rmdir /s /q {literal(temporary)})", "clean-up")]
        for place in where:
            at = join(temporary, place.tree) if place.tree else temporary
            made += [
                _or_end(step, f"checkout {place.tree or place.name}")
                for step in (
                    self.run("clone", "--quiet", "--shared", "--no-checkout", "--template=", place.mirror, at),
                    self._copy_refs(place, at),
                    self.run("-C", at, "checkout", "--quiet", "--detach", place.commit),
                )
            ]
        return [*made, *self._proof(where, temporary), self.settle(final, temporary), prune_line(final, TREES)]

    def refresh(self, where: list[Place], final: str) -> list[str]:
        """Give a tree that is there the names of today: a tag decides what go stamps."""
        copies = [self._copy_refs(place, join(final, place.tree) if place.tree else final) for place in where]
        return [*(_or_end(copy, "refs") for copy in copies), "echo @done"]

    def settle(self, final: str, temporary: str) -> str:
        """The rename; it can be said again when something had a file open."""
        target = literal(final)
        parts = [
            f"(if exist {target} rmdir /s /q {target})",
            f"(if not exist {literal(final.rpartition(chr(92))[0])} mkdir {literal(final.rpartition(chr(92))[0])})",
            # `move` onto a folder that is still there would put the new one into it.
            f"(if not exist {target} move {literal(temporary)} {target} >nul)",
            f"(if exist {literal(join(final, '.git', 'HEAD'))} if not exist {literal(temporary)} echo @done)",
        ]
        return "& ".join(parts)

    def _proof(self, where: list[Place], tree: str) -> list[str]:
        heads = []
        for number, place in enumerate(where):
            at = join(tree, place.tree) if place.tree else tree
            heads.append(f"echo @head {number}& {self.run('-C', at, 'rev-parse', 'HEAD')}")
        return [*heads, f"echo @status& {self._status(tree)}", "echo @end"]

    def _if_tree(self, at: str, line: str) -> str:
        return f"(if exist {literal(join(at, '.git', 'HEAD'))} {line})"

    def _status(self, tree: str) -> str:
        return self.run("-C", tree, "status", "--porcelain", "--untracked-files=all")

    def _init(self, place: Place) -> str:
        head = literal(join(place.mirror, "HEAD"))
        return f"(if not exist {head} {self.run('init', '--quiet', '--bare', '--template=', place.mirror)})"

    def _copy_refs(self, place: Place, at: str) -> str:
        return f"copy /y {literal(join(place.mirror, 'packed-refs'))} {literal(join(at, '.git', 'packed-refs'))} >nul"


@dataclass(frozen=True)
class Look:
    """What a builder has of one source."""

    complete: bool
    """The answer was not cut off."""
    configured: bool
    mirrors: Mapping[int, str]
    """Number of the place to SHA-256 of its mirror's ``packed-refs``."""
    refs: Mapping[int, str]
    """The same of its tree's."""
    heads: Mapping[int, str]
    """Number of the place to the commit that is checked out."""
    changes: tuple[str, ...]
    """Lines of ``git status``."""
    done: bool
    failed: str | None


def read_look(lines: tuple[str, ...]) -> Look:
    """Read the answer to `GitOnWindows.look` and `GitOnWindows.tree`."""
    found: dict[str, dict[int, str]] = {"mirror": {}, "refs": {}, "head": {}}
    changes: list[str] = []
    seen: set[str] = set()
    failed, section, number = None, "", 0
    for line in lines:
        if line.startswith("@failed "):
            failed = line.removeprefix("@failed ").strip()
        elif line.startswith("@"):
            section, _, rest = line[1:].strip().partition(" ")
            number = int(rest) if rest.isdigit() else 0
            seen.add(section)
        elif section == "status" and line.strip():
            changes.append(line)
        elif section in found and (text := line.strip().replace(" ", "").lower()) and len(text) in (40, 64):
            found[section][number] = text
    return Look(
        complete="end" in seen,
        configured="config" in seen,
        mirrors=found["mirror"],
        refs=found["refs"],
        heads=found["head"],
        changes=tuple(changes),
        done="done" in seen,
        failed=failed,
    )


def prune_line(newest: str, keep: int) -> str:
    """Remove all folders beside ``newest`` but the ``keep`` newest; what cannot be removed stays.

    Args:
        newest: the folder that was made last; it stays in any case.
        keep: how many.
    """
    parent, _, name = newest.rpartition("\\")
    listed = f"'dir /b /ad /o-d {literal(parent)} 2^>nul'"
    removed = f"@if /i not %D=={name} rmdir /s /q {literal(parent)}\\%D"
    return f'(for /f "skip={keep} delims=" %D in ({listed}) do {removed})'


def as_command(steps: list[str]) -> str:
    """The steps as one command for cmd.exe: one line where it fits, else several, which go as a batch file."""
    line = "& ".join(steps)
    return line if length(line) < _ONE_LINE else "\n".join(steps)


def _hash(path: str) -> str:
    return f'(if exist {literal(path)} "%SystemRoot%\\System32\\certutil.exe" -hashfile {literal(path)} SHA256)'


def _or_end(step: str, what: str) -> str:
    # The name is ours or a path of a repository: quoted nowhere, so what cmd.exe gives a meaning is left out.
    plain = "".join(character for character in what if character not in '&|<>^%!"()')
    return f"{step}|| (echo @failed {plain}& exit 1)"
