"""The operation that puts the exact commit on a builder, as a clean tree with every tag, submodules included.

Killed anywhere, the next run takes it up: a mirror's refs change by one rename after all objects are there, and a tree
gets its name only when git has called it clean. Two runs may bring the same commit at the same time: what each makes
has names of its own (`Checkout.mark`) until the first one gives it the name that both want.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import gevent
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.git_config import GIT_CONFIG
from gofallback.builder.messages import not_renamed
from gofallback.builder.paths import Layout, join, name, os_of
from gofallback.builder.shell import shell_of
from gofallback.facts.builder import builder_state, forget
from gofallback.git.fetch import SourceError
from gofallback.git.resolve import bundle, refs_file
from gofallback.gobuild.environment import git_environment, git_programs
from gofallback.operations.remote import CommandResult, fail, run_command, send
from gofallback.operations.stale_files import new_mark, sweep
from gofallback.report.style import size_text
from gofallback.source.commands import REMOTE_ENVIRONMENT, GitOnBuilder, Look, Place, places, read_look
from gofallback.source.git_errors import explain
from gofallback.source.model import Repository, ResolvedSource

Delivery = Literal["bundle", "clone"]
_TIMEOUT = 1800.0
_MOVE_ATTEMPTS = 4
"""An antivirus keeps new files open for some seconds, and Windows renames no folder with an open file in it."""


@dataclass(frozen=True)
class Checkout:
    """One source to bring to one builder."""

    source: ResolvedSource
    root: str
    git: str
    """Path of git's program there."""
    scratch: Path
    """Folder on the controller for bundles; they are removed again."""
    delivery: Delivery = "bundle"
    mark: str = field(default_factory=new_mark)
    """Of this run alone, in the names of all that it makes."""

    @property
    def tree(self) -> str:
        """The folder it ends up in."""
        return Layout(self.root).work(self.source.service, self.source.commit)

    @property
    def temporary(self) -> str:
        """The folder it is made in: short, as Windows' paths are."""
        return join(Layout(self.root).tmp, f"{self.source.service}-{self.source.commit[:8]}-{self.mark}")

    def beside(self, what: str, ending: str) -> str:
        """A name in `tmp` for something else that this run makes or uploads."""
        return join(Layout(self.root).tmp, f"{what}-{self.mark}{ending}")


def deliver(state: State, host: Host, work: Checkout) -> bool:
    """Step: ``work\\<service>\\<commit>`` is there, clean, and every name in it is today's."""
    began = time.monotonic()
    lines, where = GitOnBuilder(work.git, work.root), places(work.source, work.root)
    try:
        refs = _refs(work, where)
        answer = _git(state, host, work, lines.look(where, work.tree))
        look = read_look(answer.out)
        if not look.complete:
            return fail(host, f"{_label(work)}: the builder cannot be asked what it has ({answer.last()}); run again")
        present = _is_clean(look, where) and len(look.mirrors) == len(where)
        same = bool(refs) and all(look.mirrors.get(n) == look.refs.get(n) == refs[n][1] for n in refs)
        if present and same:
            host.log(f"{_label(work)}: the tree is there")
            return True
        if look.heads and not _is_clean(look, where):
            # At once, before another run that saw the same can have put a good one in its place.
            shell = shell_of(work.root)
            run_command(
                state, host, shell.script([shell.remove_aside(work.tree, work.beside("changed", ""))]), timeout=600
            )
        if not look.configured and not _put(state, host, GIT_CONFIG, lines.configuration, work):
            return False
        sweep(state, host, work.root)
        forget(host)
        if not _fill_mirrors(state, host, work, lines, where, look, refs):
            return False
        refreshed = present and _refresh(state, host, work, lines, where)
        if not refreshed and not _make_tree(state, host, work, lines, where):
            run_command(state, host, shell_of(work.root).remove(work.temporary))
            return False
    except SourceError as error:
        return fail(host, str(error))
    host.log(f"{_label(work)}: checked out in {time.monotonic() - began:.1f} s: {work.tree}")
    return True


def _refs(work: Checkout, where: list[Place]) -> dict[int, tuple[str, str]]:
    """Number of the place to the content its ``packed-refs`` must have, and the content's SHA-256."""
    repositories: list[Repository] = [work.source, *work.source.below()]
    texts = [refs_file(repository) for repository in repositories]
    if work.delivery == "clone":
        return {}  # the builder's own fetch decides
    return {number: (text, hashlib.sha256(text.encode()).hexdigest()) for number, text in enumerate(texts)}


def _is_clean(look: Look, where: list[Place]) -> bool:
    return not look.changes and all(look.heads.get(number) == place.commit for number, place in enumerate(where))


def _fill_mirrors(
    state: State,
    host: Host,
    work: Checkout,
    lines: GitOnBuilder,
    where: list[Place],
    look: Look,
    refs: Mapping[int, tuple[str, str]],
) -> bool:
    if work.delivery == "clone":
        return all(_clone(state, host, work, lines, place) for place in where)
    repositories: list[Repository] = [work.source, *work.source.below()]
    for number, place in enumerate(where):
        if look.mirrors.get(number) == refs[number][1]:
            continue
        have = _have(host, work.root, place) if number in look.mirrors else ()
        bring = partial(_receive, state, host, work, lines, place, repositories[number], refs[number][0])
        answer = bring(have)
        if answer is not None and _damaged(answer):
            host.log(f"{_label(work)}: the mirror {place.mirror} is damaged ({answer.last()}); sending all of it again")
            answer = bring((), anew=True)
        if answer is None:
            return False
        if not answer.ok:
            return fail(host, f"{_label(work)}: {place.mirror}: {_git_words(answer, work.root)}")
    return True


def _damaged(answer: CommandResult) -> bool:
    """Whether git itself refused a mirror; a broken connection or a full disk says nothing of it."""
    return not answer.ok and any(line.startswith("@failed mirror") for line in answer.out) and not _full(answer)


def _have(host: Host, root: str, place: Place) -> tuple[str, ...]:
    try:
        return builder_state(host, root).mirrors.get(place.name, ())
    except PyinfraError:
        return ()  # a full bundle does as well


def _receive(
    state: State,
    host: Host,
    work: Checkout,
    lines: GitOnBuilder,
    place: Place,
    repository: Repository,
    refs: str,
    have: tuple[str, ...],
    *,
    anew: bool = False,
) -> CommandResult | None:
    """Upload and take in; None: an upload failed and was reported."""
    remote = work.beside(place.name, ".bundle")
    local = work.scratch / name(remote)
    try:
        made = bundle(repository, have, local)
        if made:
            trouble = send(state, host, made, remote)
            if trouble:
                fail(host, f"{_label(work)}: {remote}: {trouble}")
                return None
            host.log(f"{_label(work)}: sent {size_text(made.stat().st_size)} of {place.url}")
    finally:
        local.unlink(missing_ok=True)
    shell = shell_of(work.root)
    if not _put(state, host, refs, f"{remote}.refs", work):
        run_command(state, host, shell.delete(remote))
        return None
    steps = lines.receive(place, remote if made else None, f"{remote}.refs", work.beside("mirror", ".git"), anew=anew)
    answer = _git(state, host, work, steps, _TIMEOUT)
    if not answer.ok:
        run_command(state, host, shell.script([shell.delete(remote), shell.delete(f"{remote}.refs")]))
    return answer


def _clone(state: State, host: Host, work: Checkout, lines: GitOnBuilder, place: Place) -> bool:
    environment = {**REMOTE_ENVIRONMENT, **git_programs(work.root, work.git)}
    line, environment = lines.shell.prepared(lines.fetch(place, work.beside("mirror", ".git")), environment)
    answer = run_command(state, host, line, timeout=_TIMEOUT, env=environment)
    if answer.ok:
        return True
    cause, remedy = explain("\n".join(answer.err))
    return fail(
        host,
        f"{_label(work)}: source.delivery: clone: the builder cannot fetch {place.url}: {cause}; "
        f"{remedy} on the builder, or set source.delivery: bundle, which needs neither",
    )


def _refresh(state: State, host: Host, work: Checkout, lines: GitOnBuilder, where: list[Place]) -> bool:
    return read_look(_git(state, host, work, lines.refresh(where, work.tree)).out).done


def _make_tree(state: State, host: Host, work: Checkout, lines: GitOnBuilder, where: list[Place]) -> bool:
    answer = _git(state, host, work, lines.tree(where, work.tree, work.temporary), _TIMEOUT)
    look = read_look(answer.out)
    if look.failed or not look.complete:
        return fail(host, f"{_label(work)}: {look.failed or 'checkout'}: {_git_words(answer, work.root)}")
    if not _is_clean(look, where):
        return fail(host, f"{_label(work)}: the checkout differs from the commit: {_difference(look, where)}")
    if look.done or _others(state, host, work, lines, where):
        return True
    for pause in range(_MOVE_ATTEMPTS):
        gevent.sleep(float(pause))
        if read_look(run_command(state, host, lines.settle(work.tree, work.temporary)).out).done:
            return True
    return fail(
        host,
        f"{_label(work)}: {work.temporary} cannot be renamed to {work.tree}: {not_renamed(work.root)}",
    )


def _others(state: State, host: Host, work: Checkout, lines: GitOnBuilder, where: list[Place]) -> bool:
    """Whether another run has meanwhile put the same tree in place; it may be building there, so it stays."""
    look = read_look(_git(state, host, work, lines.look(where, work.tree)).out)
    if not look.complete or not _is_clean(look, where) or not _refresh(state, host, work, lines, where):
        return False
    run_command(state, host, lines.shell.remove(work.temporary))
    host.log(f"{_label(work)}: another run has brought the tree meanwhile")
    return True


def _difference(look: Look, where: list[Place]) -> str:
    for number, place in enumerate(where):
        if look.heads.get(number) != place.commit:
            return f"{place.tree or 'HEAD'} is {look.heads.get(number)}, should be {place.commit}"
    return f"{look.changes[0].strip()}" + (f" and {len(look.changes) - 1} more" if len(look.changes) > 1 else "")


def _put(state: State, host: Host, text: str, remote: str, work: Checkout) -> bool:
    local = work.scratch / name(remote)
    try:
        work.scratch.mkdir(parents=True, exist_ok=True)
        local.write_bytes(text.encode())
        trouble = send(state, host, local, remote)
    except OSError as error:
        trouble = f"{local}: {error.strerror}"
    finally:
        local.unlink(missing_ok=True)
    return trouble is None or fail(host, f"{_label(work)}: {remote}: {trouble}")


def _git(state: State, host: Host, work: Checkout, line: str, timeout: float = 120) -> CommandResult:
    """A line with git in it: under our settings, whatever the login has."""
    line, environment = shell_of(work.root).prepared(line, git_environment(work.root, work.git))
    return run_command(state, host, line, timeout=timeout, env=environment)


def _git_words(answer: CommandResult, root: str) -> str:
    text = "\n".join(answer.err)
    if (
        os_of(root) == "windows"
        and "unable to create file" in text
        and ("Filename too long" in text or "Invalid argument" in text)
    ):
        return f"{answer.last()}; Windows cannot hold that name: shorten builder.root or rename in the repository"
    if _full(answer):
        return "the disk of the builder is full; free space there and run again"
    lines = [line.strip() for line in answer.err if line.startswith(("fatal:", "error:"))]
    return f"{lines[-1] if lines else answer.last()}; run again, with -vvv for all of git's output"


def _full(answer: CommandResult) -> bool:
    text = "\n".join(answer.err)
    return "not enough space" in text.lower() or "No space left" in text


def _label(work: Checkout) -> str:
    return f"{work.source.service} {work.source.commit[:12]}"
