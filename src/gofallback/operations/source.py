r"""Brings the exact commit to a builder, as a clean tree with every tag, submodules included.

After a kill at any moment the next run resumes: a mirror's refs change by one rename after all objects are there, and a
tree gets its name only when git has called it clean. Two runs may bring the same commit at the same time: what each
makes has names of its own (`Checkout.mark`) until the first run gives it the name that both need.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import gevent
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.git_config import GIT_CONFIG
from gofallback.builder.messages import not_renamed
from gofallback.builder.paths import Layout, join, name, os_of
from gofallback.connectors.local import TransferError
from gofallback.errors import GofallbackError
from gofallback.facts.builder import builder_state, forget
from gofallback.git.fetch import SourceError
from gofallback.git.resolve import bundle, refs_file
from gofallback.gobuild.environment import git_environment, git_programs
from gofallback.operations.remote import CommandResult, fail, run_command, send, send_content
from gofallback.operations.stale_files import new_mark, sweep
from gofallback.report.style import size_text
from gofallback.source.commands import REMOTE_ENVIRONMENT, GitOnBuilder, Place, SourceState, parse_source_state, places
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
    r"""Step: ``work\<service>\<commit>`` is there, clean, and its refs are today's."""
    transfer = _Transfer(state, host, work)
    try:
        transfer.run()
    except SourceError as error:
        return fail(host, str(error))
    except _TransferFailedError as error:
        return fail(host, f"{transfer.label}: {error}")
    return True


class _TransferFailedError(GofallbackError):
    """Why the tree is not there; one line."""


class _Transfer:
    """One checkout on its way to one builder."""

    def __init__(self, state: State, host: Host, work: Checkout) -> None:
        self.state, self.host, self.work = state, host, work
        self.lines, self.places = GitOnBuilder(work.git, work.root), places(work.source, work.root)
        self.shell = self.lines.shell
        self.label = f"{work.source.service} {work.source.commit[:12]}"
        self.repositories: list[Repository] = [work.source, *work.source.below()]

    def run(self) -> None:
        """Bring it.

        Raises:
            SourceError: git on the controller fails.
            _TransferFailedError: the builder fails.
        """
        began, work = time.monotonic(), self.work
        refs = self._refs()
        result = self._git(self.lines.state(self.places, work.tree))
        found = parse_source_state(result.out)
        if not found.complete:
            raise _TransferFailedError(f"the builder cannot be asked what it has ({result.last()}); run again")
        present = self._is_clean(found) and len(found.mirrors) == len(self.places)
        if present and refs and all(found.mirrors.get(n) == found.refs.get(n) == refs[n][1] for n in refs):
            self.host.log(f"{self.label}: the tree is there")
            return
        if found.heads and not self._is_clean(found):
            # At once, before another run that found the same can have put a good tree in its place.
            aside = self.shell.remove_aside(work.tree, work.beside("changed", ""))
            run_command(self.state, self.host, self.shell.script([aside]), timeout=600)
        if not found.configured:
            self._put(GIT_CONFIG, self.lines.configuration)
        sweep(self.state, self.host, work.root)
        forget(self.host)
        self._fill_mirrors(found, refs)
        if not (present and self._refresh()):
            try:
                self.make_tree()
            except _TransferFailedError:
                run_command(self.state, self.host, self.shell.remove(work.temporary))
                raise
        self.host.log(f"{self.label}: checked out in {time.monotonic() - began:.1f} s: {work.tree}")

    def _refs(self) -> dict[int, tuple[str, str]]:
        """Number of the place to the content its ``packed-refs`` must have, and the content's SHA-256."""
        texts = [refs_file(repository) for repository in self.repositories]
        if self.work.delivery == "clone":
            return {}  # the builder's own fetch decides
        return {number: (text, hashlib.sha256(text.encode()).hexdigest()) for number, text in enumerate(texts)}

    def _is_clean(self, found: SourceState) -> bool:
        commits = ((found.heads.get(number), place.commit) for number, place in enumerate(self.places))
        return not found.changes and all(head == commit for head, commit in commits)

    def _fill_mirrors(self, found: SourceState, refs: Mapping[int, tuple[str, str]]) -> None:
        for number, place in enumerate(self.places):
            if self.work.delivery == "clone":
                self._clone(place)
                continue
            text, digest = refs[number]
            if found.mirrors.get(number) == digest:
                continue
            have = self._have(place) if number in found.mirrors else ()
            result = self._receive(place, self.repositories[number], text, have)
            if _is_damaged(result):
                self.host.log(
                    f"{self.label}: the mirror {place.mirror} is damaged ({result.last()}); sending all of it again"
                )
                result = self._receive(place, self.repositories[number], text, (), anew=True)
            if not result.ok:
                raise _TransferFailedError(f"{place.mirror}: {self._git_problem(result)}")

    def _have(self, place: Place) -> tuple[str, ...]:
        try:
            return builder_state(self.host, self.work.root).mirrors.get(place.name, ())
        except PyinfraError:
            return ()  # a full bundle works as well

    def _receive(
        self, place: Place, repository: Repository, refs: str, have: tuple[str, ...], *, anew: bool = False
    ) -> CommandResult:
        """Upload what the mirror lacks, and let the builder's git take it in."""
        remote = self.work.beside(place.name, ".bundle")
        local = self.work.scratch / name(remote)
        try:
            made = bundle(repository, have, local)
            if made:
                send(self.state, self.host, made, remote)
                self.host.log(f"{self.label}: sent {size_text(made.stat().st_size)} of {place.url}")
        except TransferError as error:
            raise _TransferFailedError(f"{remote}: {error}") from None
        finally:
            local.unlink(missing_ok=True)
        try:
            self._put(refs, f"{remote}.refs")
        except _TransferFailedError:
            run_command(self.state, self.host, self.shell.delete(remote))
            raise
        beside = self.work.beside("mirror", ".git")
        line = self.lines.receive(place, remote if made else None, f"{remote}.refs", beside, recreate=anew)
        result = self._git(line, _TIMEOUT)
        if not result.ok:
            clean = self.shell.script([self.shell.delete(remote), self.shell.delete(f"{remote}.refs")])
            run_command(self.state, self.host, clean)
        return result

    def _clone(self, place: Place) -> None:
        environment = {**REMOTE_ENVIRONMENT, **git_programs(self.work.root, self.work.git)}
        line = self.lines.fetch(place, self.work.beside("mirror", ".git"))
        line, environment = self.shell.prepared(line, environment)
        result = run_command(self.state, self.host, line, timeout=_TIMEOUT, env=environment)
        if not result.ok:
            cause, remedy = explain("\n".join(result.err))
            raise _TransferFailedError(
                f"source.delivery: clone: the builder cannot fetch {place.url}: {cause}; "
                f"{remedy} on the builder, or set source.delivery: bundle, which needs neither"
            )

    def _refresh(self) -> bool:
        return parse_source_state(self._git(self.lines.refresh(self.places, self.work.tree)).out).done

    def make_tree(self) -> None:
        """Check the commit out beside, and rename it into place.

        Raises:
            _TransferFailedError: it is not there.
        """
        work = self.work
        result = self._git(self.lines.tree(self.places, work.tree, work.temporary), _TIMEOUT)
        found = parse_source_state(result.out)
        if found.failed or not found.complete:
            raise _TransferFailedError(f"{found.failed or 'checkout'}: {self._git_problem(result)}")
        if not self._is_clean(found):
            raise _TransferFailedError(f"the checkout differs from the commit: {self._difference(found)}")
        if found.done or self._other_run_has_made_it():
            return
        for pause in range(_MOVE_ATTEMPTS):
            gevent.sleep(float(pause))
            if parse_source_state(
                run_command(self.state, self.host, self.lines.put_in_place(work.tree, work.temporary)).out
            ).done:
                return
        raise _TransferFailedError(f"{work.temporary} cannot be renamed to {work.tree}: {not_renamed(work.root)}")

    def _other_run_has_made_it(self) -> bool:
        """Whether another run has put the same tree in place meanwhile; it may be building there, so it stays."""
        found = parse_source_state(self._git(self.lines.state(self.places, self.work.tree)).out)
        if not found.complete or not self._is_clean(found) or not self._refresh():
            return False
        run_command(self.state, self.host, self.shell.remove(self.work.temporary))
        self.host.log(f"{self.label}: another run has brought the tree meanwhile")
        return True

    def _difference(self, found: SourceState) -> str:
        for number, place in enumerate(self.places):
            if found.heads.get(number) != place.commit:
                return f"{place.tree or 'HEAD'} is {found.heads.get(number)}, should be {place.commit}"
        more = f" and {len(found.changes) - 1} more" if len(found.changes) > 1 else ""
        return f"{found.changes[0].strip()}{more}"

    def _put(self, text: str, remote: str) -> None:
        try:
            send_content(self.state, self.host, text.encode(), self.work.scratch / name(remote), remote)
        except TransferError as error:
            raise _TransferFailedError(f"{remote}: {error}") from None

    def _git(self, line: str, timeout: float = 120) -> CommandResult:
        """Run a line with git in it under our settings, whatever the login has."""
        line, environment = self.shell.prepared(line, git_environment(self.work.root, self.work.git))
        return run_command(self.state, self.host, line, timeout=timeout, env=environment)

    def _git_problem(self, result: CommandResult) -> str:
        text = "\n".join(result.err)
        if (
            os_of(self.work.root) == "windows"
            and "unable to create file" in text
            and ("Filename too long" in text or "Invalid argument" in text)
        ):
            return f"{result.last()}; Windows cannot hold that name: shorten builder.root or rename in the repository"
        if _disk_is_full(result):
            return "the disk of the builder is full; free space there and run again"
        lines = [line.strip() for line in result.err if line.startswith(("fatal:", "error:"))]
        return f"{lines[-1] if lines else result.last()}; run again, with -vvv for all of git's output"


def _is_damaged(result: CommandResult) -> bool:
    """Whether git itself refused a mirror; a broken connection or a full disk proves nothing about it."""
    refused = any(line.startswith("@failed mirror") for line in result.out)
    return not result.ok and refused and not _disk_is_full(result)


def _disk_is_full(result: CommandResult) -> bool:
    text = "\n".join(result.err)
    return "not enough space" in text.lower() or "No space left" in text
