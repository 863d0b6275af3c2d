r"""The git commands for a builder, for its shell. Pure: nothing is run here.

A builder has one bare mirror per repository (``mirrors\<name>.git``: objects from bundles, refs from one
``packed-refs`` file) and one clean tree per commit (``work\<service>\<commit>``), which borrows the mirror's objects.
Every script prints ``@failed <what>`` and ends with status 1 at the first command that fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from gofallback.builder.git_config import GIT_CONFIG_NAME
from gofallback.builder.paths import Layout, join, separator
from gofallback.builder.shell import Shell, shell_of
from gofallback.source.model import ResolvedSource
from gofallback.source.urls import mirror_name

#: Environment of git where it talks to a remote: the host's own settings and credentials, and never a prompt.
REMOTE_ENVIRONMENT: Mapping[str, str] = {
    "GIT_TERMINAL_PROMPT": "0",
    "GCM_INTERACTIVE": "never",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=15",
    "LC_ALL": "C",
}


TREES = 5
"""Trees of one service that a builder keeps, newest first; an older one is checked out again in a second."""


@dataclass(frozen=True)
class Place:
    """One repository on a builder."""

    name: str
    """Name of the mirror's folder, without ``.git``."""
    url: str
    commit: str
    mirror: str
    tree: str
    """Folder of the tree, relative to the top; empty for the service itself."""


def places(source: ResolvedSource, root: str) -> list[Place]:
    """The service's repository, then its submodules, parents first."""
    layout = Layout(root)
    repositories = [Place(source.service, source.repository, source.commit, layout.mirror(source.service), "")]
    for submodule in source.below():
        # A mirror for each path: the same repository may be there twice, at two commits.
        unique = hashlib.sha256(submodule.path.encode()).hexdigest()[:6]
        name = f"{source.service}+{mirror_name(submodule.repository).removesuffix('.git')}-{unique}"
        tree = submodule.path.replace("/", separator(root))
        repositories.append(Place(name, submodule.repository, submodule.commit, layout.mirror(name), tree))
    return repositories


@dataclass(frozen=True)
class GitOnBuilder:
    """The scripts for one builder.

    Args:
        git: path of git's program; PATH does not count.
        root: the builder's root.
    """

    git: str
    root: str

    @property
    def shell(self) -> Shell:
        """The builder's shell."""
        return shell_of(self.root)

    @property
    def configuration(self) -> str:
        """Path of our git configuration on the builder."""
        return join(self.root, GIT_CONFIG_NAME)

    def run(self, *arguments: str) -> str:
        """One git command."""
        return self.shell.command([self.git, *arguments])

    def state(self, where: list[Place], tree: str) -> str:
        """The script that shows what the builder has; `parse_source_state` reads its output."""
        sh = self.shell
        steps = [sh.if_there(self.configuration, sh.echo("@config"))]
        for number, place in enumerate(where):
            at = join(tree, place.tree) if place.tree else tree
            steps += [
                sh.echo(f"@mirror {number}"),
                sh.hash(join(place.mirror, "packed-refs")),
                sh.echo(f"@refs {number}"),
                sh.hash(join(at, ".git", "packed-refs")),
                sh.echo(f"@head {number}"),
                self._if_tree(at, self.run("-C", at, "rev-parse", "HEAD")),
            ]
        steps += [sh.echo("@status"), self._if_tree(tree, self._status(tree)), sh.echo("@end")]
        return sh.script(steps, always=True)

    def receive(self, place: Place, bundle: str | None, refs: str, beside: str, *, recreate: bool = False) -> str:
        """Bring a mirror up to date from uploaded files: objects first, then all refs by one rename.

        Two runs may do that at the same time: objects are named after their content, and refs are one file.

        Args:
            place: the repository.
            bundle: the uploaded bundle; None: the mirror has every object.
            refs: the uploaded ``packed-refs``.
            beside: a folder of this run alone, in which a missing mirror is made.
            recreate: remove the mirror first.
        """
        sh, bare = self.shell, f"--git-dir={place.mirror}"
        # Loose refs would win over the packed ones; a mirror filled by `clone` may have some. `refs` itself stays:
        # without it no other run's git would take the folder for a repository.
        loose = [join(place.mirror, "refs", kind) for kind in ("heads", "tags")]
        steps = [sh.remove(place.mirror)] if recreate else []
        steps += self._init(place, beside)
        if bundle:
            steps.append(sh.quiet(self.run(bare, "bundle", "unbundle", bundle)))
        steps += [
            self.run(bare, "cat-file", "-e", place.commit),
            *(sh.remove(folder) for folder in loose),
            sh.replace(refs, join(place.mirror, "packed-refs")),
        ]
        if bundle:
            steps.append(sh.delete(bundle))
        return self._all(steps, f"mirror {place.name}")

    def fetch(self, place: Place, beside: str) -> str:
        """Let the builder fetch from the remote itself (``source.delivery: clone``); ``beside``: see `receive`."""
        bare = f"--git-dir={place.mirror}"
        specs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        steps = [
            *self._init(place, beside),
            self.run(bare, "fetch", "--quiet", "--prune", "--force", "--no-tags", "--", place.url, *specs),
            self.run(bare, "cat-file", "-e", place.commit),
            self.run(bare, "pack-refs", "--all", "--prune"),
        ]
        return self._all(steps, f"fetch {place.url}")

    def tree(self, where: list[Place], final: str, temporary: str) -> str:
        """Make the tree of a commit beside, check it, and rename it into place: then the script prints ``@done``.

        Without ``@done`` there is a tree already, or a program has a file of the new tree open: `state` shows which.

        Args:
            where: see `places`.
            final: folder of the tree, unless that is there already.
            temporary: folder of this run alone in which the tree is made; on the same drive.
        """
        sh = self.shell
        made = [sh.or_exit(sh.remove(temporary), "clean-up")]
        for place in where:
            at = join(temporary, place.tree) if place.tree else temporary
            made += [
                sh.or_exit(step, f"checkout {place.tree or place.name}")
                for step in (
                    self.run("clone", "--quiet", "--shared", "--no-checkout", "--template=", place.mirror, at),
                    self._copy_refs(place, at),
                    self.run("-C", at, "checkout", "--quiet", "--detach", place.commit),
                )
            ]
        check = self._check(where, temporary)
        done = sh.if_there(join(final, ".git", "HEAD"), sh.unless_there(temporary, sh.echo("@done")))
        return sh.script([*made, *check, sh.claim(temporary, final), done, sh.prune(final, TREES)])

    def refresh(self, where: list[Place], final: str) -> str:
        """Give an existing tree today's refs: a tag decides what go stamps."""
        sh = self.shell
        copies = [self._copy_refs(place, join(final, place.tree) if place.tree else final) for place in where]
        return sh.script([*(sh.or_exit(copy, "refs") for copy in copies), sh.echo("@done")])

    def put_in_place(self, final: str, temporary: str) -> str:
        """Rename over a tree that is not the commit's; can be repeated when a program had a file open."""
        return self.shell.put_in_place(temporary, final, [".git/HEAD"])

    def _check(self, where: list[Place], tree: str) -> list[str]:
        sh, heads = self.shell, []
        for number, place in enumerate(where):
            at = join(tree, place.tree) if place.tree else tree
            heads += [sh.echo(f"@head {number}"), self.run("-C", at, "rev-parse", "HEAD")]
        return [*heads, sh.echo("@status"), self._status(tree), sh.echo("@end")]

    def _all(self, steps: list[str], what: str) -> str:
        return self.shell.script([self.shell.or_exit(step, what) for step in steps])

    def _if_tree(self, at: str, line: str) -> str:
        return self.shell.if_there(join(at, ".git", "HEAD"), line)

    def _status(self, tree: str) -> str:
        # Ignored files too: go compiles them, and still calls the tree unmodified.
        return self.run("-C", tree, "status", "--porcelain", "--untracked-files=all", "--ignored")

    def _init(self, place: Place, beside: str) -> list[str]:
        # Beside: two `git init` in one folder trip over each other's locks.
        sh, missing = self.shell, join(place.mirror, "HEAD")
        init = self.run("init", "--quiet", "--bare", "--template=", beside)
        return [sh.unless_there(missing, init), sh.claim(beside, place.mirror), sh.remove(beside)]

    def _copy_refs(self, place: Place, at: str) -> str:
        return self.shell.copy(join(place.mirror, "packed-refs"), join(at, ".git", "packed-refs"))


@dataclass(frozen=True)
class SourceState:
    """What a builder has of one source."""

    complete: bool
    """The output was not cut off."""
    configured: bool
    mirrors: Mapping[int, str]
    """Number of the place to SHA-256 of its mirror's ``packed-refs``."""
    refs: Mapping[int, str]
    """The same for its tree."""
    heads: Mapping[int, str]
    """Number of the place to the commit that is checked out."""
    changes: tuple[str, ...]
    """Lines of ``git status``."""
    done: bool
    failed: str | None


def parse_source_state(lines: tuple[str, ...]) -> SourceState:
    """Read the output of `GitOnBuilder.state` and `GitOnBuilder.tree`."""
    hashes: dict[str, dict[int, str]] = {"mirror": {}, "refs": {}, "head": {}}
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
        elif section in hashes and (text := line.strip().replace(" ", "").lower()) and len(text) in (40, 64):
            hashes[section][number] = text
    return SourceState(
        complete="end" in seen,
        configured="config" in seen,
        mirrors=hashes["mirror"],
        refs=hashes["refs"],
        heads=hashes["head"],
        changes=tuple(changes),
        done="done" in seen,
        failed=failed,
    )
