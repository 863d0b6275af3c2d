"""From group data to an exact commit: the controller's mirrors, refs, versions, submodules and bundles."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gofallback.controller.gitcli import GitError, git
from gofallback.controller.mirror import Mirror, MirrorBusyError
from gofallback.errors import GofallbackError
from gofallback.model import Service
from gofallback.source import tree
from gofallback.source.model import Repository, ResolvedSource, Submodule
from gofallback.source.refs import FULL_SHA, RefError, choose, near, packed_refs, version_of
from gofallback.source.trouble import ago, explain, last_line
from gofallback.source.urls import local_path, mirror_name, resolve_relative

_DEPTH = 8
"""Submodules within submodules; deeper is taken for a loop."""


class SourceError(GofallbackError):
    """The commit cannot be had; one line."""


@dataclass(frozen=True)
class _Asked:
    """What stays the same while one service is resolved."""

    service: str
    mirrors: Path
    offline: bool
    now: Callable[[], datetime]
    say: Callable[[str], None]

    def error(self, text: str) -> SourceError:
        return SourceError(f"{self.service}: {text}")


def _utc() -> datetime:
    return datetime.now(UTC)


def resolve(
    service: Service,
    mirrors: Path,
    *,
    offline: bool = False,
    now: Callable[[], datetime] = _utc,
    say: Callable[[str], None] = lambda _: None,
) -> ResolvedSource:
    """Find the exact commit that ``service.source`` means.

    Args:
        service: its ``source`` says which repository and which branch, tag or SHA.
        mirrors: folder of the mirrors on this machine.
        offline: do not ask the remote; use the mirror however old it is.
        now: the clock, with a time zone.
        say: hears one line about everything worth knowing on the way.

    Raises:
        SourceError: no such ref, no reachable remote, no mirror, or local changes that no commit holds.
    """
    asked = _Asked(service.name, mirrors, offline, now, say)
    source = service.source
    _refuse_shallow(asked, source.repository)
    _refuse_local_changes(asked, source.repository)
    mirror = Mirror(mirrors / mirror_name(source.repository), source.repository)
    try:
        with mirror.locked(say):
            _update(asked, mirror, wanted=source.ref, key="source.repository")
            commit = _commit(asked, mirror, source.ref)
            entries = mirror.tree(commit)
            described, time = mirror.describe(commit), mirror.commit_time(commit)
            notes = tree.notes(entries, lfs=mirror.uses_lfs(commit), submodules=source.submodules)
        below = _submodules(asked, mirror, commit, entries, prefix="", depth=0) if source.submodules else ()
    except GitError as error:
        raise asked.error(
            f"git cannot read the mirror {mirror.path} ({_reason(error)}); remove it and run again"
        ) from None
    except MirrorBusyError:
        raise asked.error(f"another run has been using {mirror.path} for too long; end it and run again") from None
    except OSError as error:
        raise asked.error(f"{error.filename or mirrors}: {error.strerror}") from None
    fetched = mirror.fetched_at or now()
    return ResolvedSource(
        service=service.name,
        repository=source.repository,
        ref=source.ref,
        commit=commit,
        version=version_of(described),
        commit_time=time,
        mirror=mirror.path,
        fetched_at=fetched,
        age=max(0.0, (now() - fetched).total_seconds()),
        offline=offline,
        submodules=below,
        notes=tuple(notes),
    )


def at_commit(service: Service, commit: str, mirrors: Path) -> Repository:
    """The service's repository at a commit that was built earlier; the remote is asked only where the mirror lacks it.

    Raises:
        SourceError: nobody has the commit.
    """
    asked = _Asked(service.name, mirrors, False, _utc, lambda _: None)
    url = service.source.repository
    mirror = Mirror(mirrors / mirror_name(url), url)
    try:
        with mirror.locked(asked.say):
            _update(asked, mirror, wanted=commit, key="source.repository")
            if not mirror.commit(commit):
                raise asked.error(f"commit {commit} is not in {url}; push it there, or build another version")
    except (GitError, MirrorBusyError) as error:
        reason = _reason(error) if isinstance(error, GitError) else "another run holds it"
        raise asked.error(f"git cannot read the mirror {mirror.path} ({reason}); run again") from None
    return Repository(repository=url, commit=commit, mirror=mirror.path)


def bundle(source: Repository, have: Collection[str], target: Path) -> Path | None:
    """Write what a builder lacks of one repository; for submodules call it for each of ``source.below()``.

    The first time (``have`` empty) the bundle is full: every branch and every tag with all history.

    Args:
        source: resolved source or submodule.
        have: commits (or tag objects) that the builder's mirror has.
        target: file to write.

    Returns:
        ``target``, or None when nothing is missing. Refs are not part of the deal: see `refs_file`.

    Raises:
        SourceError: the mirror cannot be read or the disk refuses.
    """
    mirror = Mirror(source.mirror, source.repository)
    try:
        with mirror.locked(lambda _: None):
            return mirror.bundle(source.commit, have, target)
    except (GitError, MirrorBusyError) as error:
        reason = _reason(error) if isinstance(error, GitError) else "another run holds it"
        raise SourceError(
            f"{source.repository}: no bundle from the mirror {source.mirror} ({reason}); run again"
        ) from None
    except OSError as error:
        raise SourceError(f"{error.filename or target}: {error.strerror}; free space and run again") from None


def refs_file(source: Repository) -> str:
    """Content of ``packed-refs`` for a builder's mirror: equal names and tags there and here.

    Raises:
        SourceError: the mirror cannot be read.
    """
    try:
        return packed_refs(Mirror(source.mirror, source.repository).refs())
    except GitError as error:
        raise SourceError(
            f"{source.repository}: git cannot read the mirror {source.mirror} ({_reason(error)})"
        ) from None


def _update(asked: _Asked, mirror: Mirror, *, wanted: str, key: str) -> None:
    """Fetch, unless a full SHA is asked for and is there, or the run is offline."""
    fetched = mirror.fetched_at
    where = f"{key} {mirror.url}"
    if asked.offline:
        if fetched is None:
            raise asked.error(
                f"{where}: source_offline=true, but no mirror of it is cached here; "
                "run once without it while the remote answers"
            )
        asked.say(f"{asked.service}: offline, from the mirror of {mirror.url} fetched {_age(asked, fetched)} ago")
        return
    if fetched is not None and FULL_SHA.fullmatch(wanted) and mirror.commit(wanted):
        return
    try:
        mirror.fetch(asked.now)
    except GitError as error:
        cause, remedy = explain(error.output, timeout=error.timeout)
        if fetched is None:
            raise asked.error(
                f"{where} cannot be fetched: {cause}; no mirror of it is cached, so {remedy} and run again"
            ) from None
        raise asked.error(
            f"{where} cannot be fetched: {cause}; {remedy}, or go on with the mirror fetched "
            f"{_age(asked, fetched)} ago: --data source_offline=true"
        ) from None


def _commit(asked: _Asked, mirror: Mirror, ref: str) -> str:
    refs = mirror.refs()
    try:
        commit = choose(ref, refs)
    except RefError as error:
        raise asked.error(f"source.ref {ref!r} {error}") from None
    if commit is None and re.fullmatch(r"[0-9a-f]{7,40}", ref):
        commit = mirror.commit(ref)
        if commit is None and len(ref) == 40 and not asked.offline:
            commit = _unreachable_commit(mirror, ref)
    if commit:
        return commit
    close = near(ref, refs)
    hint = f"did you mean {' or '.join(close)}?" if close else _some(list(refs))
    stale = f" (mirror fetched {_age(asked, mirror.fetched_at)} ago)" if asked.offline and mirror.fetched_at else ""
    raise asked.error(f"source.ref {ref!r}: no such branch, tag or commit in {mirror.url}{stale}; {hint}")


def _unreachable_commit(mirror: Mirror, sha: str) -> str | None:
    try:
        mirror.fetch_commit(sha)
    except GitError:
        return None
    return mirror.commit(sha)


def _submodules(
    asked: _Asked, above: Mirror, commit: str, entries: list[tree.Entry], *, prefix: str, depth: int
) -> tuple[Submodule, ...]:
    links = [entry for entry in entries if entry.is_submodule]
    if not links:
        return ()
    if depth >= _DEPTH:
        raise asked.error(f"source.submodules: {prefix} is nested more than {_DEPTH} deep; is it a loop?")
    try:
        urls = above.submodule_urls(commit)
    except GitError:
        urls = {}
    return tuple(_submodule(asked, above, entry, urls, prefix, depth) for entry in links)


def _submodule(
    asked: _Asked, above: Mirror, entry: tree.Entry, urls: dict[str, str], prefix: str, depth: int
) -> Submodule:
    path = f"{prefix}{entry.path}"
    key = f"submodule {path}:"
    url = _submodule_url(asked, above.url, urls.get(entry.path), key)
    mirror = Mirror(asked.mirrors / mirror_name(url), url)
    with mirror.locked(asked.say):
        _update(asked, mirror, wanted=entry.sha, key=key)
        if not mirror.commit(entry.sha) and not asked.offline:
            _unreachable_commit(mirror, entry.sha)
        if not mirror.commit(entry.sha):
            raise asked.error(f"{key} commit {entry.sha} is not in {url}; push it there, or correct .gitmodules")
        entries = mirror.tree(entry.sha)
    below = _submodules(asked, mirror, entry.sha, entries, prefix=f"{path}/", depth=depth + 1)
    return Submodule(repository=url, commit=entry.sha, mirror=mirror.path, path=path, submodules=below)


def _submodule_url(asked: _Asked, base: str, url: str | None, key: str) -> str:
    """Only addresses that the superproject's own kind allows: a remote must not point git at this machine's files."""
    if url is None:
        raise asked.error(f"{key} .gitmodules does not say where it comes from; add its url there")
    try:
        full = resolve_relative(base, url)
    except ValueError as error:
        raise asked.error(f"{key} {error}") from None
    remote = re.match(r"(https?|ssh|git)://[^-]|[\w.-]+@[\w.-]+:[^-:]", full)
    if not remote and not (local_path(full) and local_path(base)):
        raise asked.error(f"{key} address {url!r} is refused; should be https://, ssh://, user@host:path or relative")
    return full


def _refuse_shallow(asked: _Asked, repository: str) -> None:
    """git fetches nothing from a shallow clone and says so to nobody: the mirror would keep what it had."""
    path = local_path(repository)
    if path is None or asked.offline:
        return
    try:
        shallow = git(["-C", path, "rev-parse", "--is-shallow-repository"]).strip() == "true"
    except GitError:
        return  # what is wrong with it, the fetch tells
    if shallow:
        raise asked.error(
            f"source.repository {path} is a shallow clone, without the history that versions and builders need; run "
            "`git fetch --unshallow --tags` in it, or name the repository it was cloned from"
        )


def _refuse_local_changes(asked: _Asked, repository: str) -> None:
    """A build of a commit must not look like a build of what lies in somebody's working tree."""
    path = local_path(repository)
    if path is None or not (Path(path) / ".git").exists():
        return
    try:
        changed = git(["-C", path, "status", "--porcelain", "-z", "--untracked-files=normal"])
    except GitError as error:
        cause, remedy = explain(error.output, timeout=error.timeout)
        raise asked.error(f"source.repository {path}: {cause}; {remedy}") from None
    files = [record[3:] for record in changed.split("\0") if len(record) > 3 and record[2] == " "]
    if files:
        shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        raise asked.error(
            f"source.repository {path} has changes that no commit holds: {shown}; commit, stash or remove them"
        )


def _some(names: list[str]) -> str:
    shown = sorted(
        re.sub(r"^refs/(heads|tags)/", "", name) for name in names if name.startswith(("refs/heads/", "refs/tags/"))
    )
    if not shown:
        return "the repository has no branch and no tag"
    return "it has " + ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _age(asked: _Asked, fetched: datetime) -> str:
    return ago((asked.now() - fetched).total_seconds())


def _reason(error: GitError) -> str:
    return f"no answer within {error.timeout:g} s" if error.timeout else last_line(error.output) or "no reason given"
