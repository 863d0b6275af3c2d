"""From group data to an exact commit: the controller's mirrors, refs, versions, submodules and bundles."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

from gofallback.git.fetch import (
    SourceError,
    SourceRequest,
    age,
    refuse_local_changes,
    refuse_shallow,
    unreachable_commit,
    update,
    why,
)
from gofallback.git.git_command import GitError
from gofallback.git.mirror import Mirror, MirrorBusyError
from gofallback.git.submodules import submodules
from gofallback.model import Service
from gofallback.model.source import Source
from gofallback.source import tree
from gofallback.source.model import Repository, ResolvedSource
from gofallback.source.refs import RefError, commit_named, packed_refs, short_names, similar_names, version_of
from gofallback.source.urls import mirror_name


def _utc() -> datetime:
    return datetime.now(UTC)


def resolve(
    service: Service,
    mirrors: Path,
    *,
    offline: bool = False,
    now: Callable[[], datetime] = _utc,
    report: Callable[[str], None] = lambda _: None,
) -> ResolvedSource:
    """The exact commit of ``service.source``.

    Args:
        service: its ``source`` names the repository and a branch, tag or SHA.
        mirrors: folder of the mirrors on this machine.
        offline: use the mirror, however old, and do not contact the remote.
        now: the clock, with a time zone.
        report: called with one line about each event.

    Raises:
        SourceError: no such ref, no reachable remote, no mirror, or local changes that no commit holds.
    """
    request = SourceRequest(service.name, mirrors, offline, now, report)
    source = service.source
    refuse_shallow(request, source.repository)
    refuse_local_changes(request, source.repository)
    mirror = Mirror(mirrors / mirror_name(source.repository), source.repository)
    try:
        return _resolve(request, source, mirror)
    except MirrorBusyError:
        raise request.error(f"another run has been using {mirror.path} for too long; end it and run again") from None
    except GitError as error:
        reason = f"git cannot read the mirror {mirror.path} ({why(error)})"
        raise request.error(f"{reason}; remove it and run again") from None
    except OSError as error:
        raise request.error(f"{error.filename or mirrors}: {error.strerror}") from None


def _resolve(request: SourceRequest, source: Source, mirror: Mirror) -> ResolvedSource:
    with mirror.locked(request.report):
        update(request, mirror, ref=source.ref, key="source.repository")
        commit = _commit(request, mirror, source.ref)
        entries = mirror.tree(commit)
        described, time = mirror.describe(commit), mirror.commit_time(commit)
        notes = tree.notes(entries, lfs=mirror.uses_lfs(commit), submodules=source.submodules)
    below = submodules(request, mirror, commit, entries, prefix="", depth=0) if source.submodules else ()
    fetched = mirror.fetched_at or request.now()
    return ResolvedSource(
        service=request.service,
        repository=source.repository,
        ref=source.ref,
        commit=commit,
        version=version_of(described),
        commit_time=time,
        mirror=mirror.path,
        fetched_at=fetched,
        age=max(0.0, (request.now() - fetched).total_seconds()),
        offline=request.offline,
        submodules=below,
        notes=tuple(notes),
    )


def at_commit(service: Service, commit: str, mirrors: Path) -> Repository:
    """The service's repository at a commit that was built earlier; fetched only where the mirror lacks the commit.

    Raises:
        SourceError: neither mirror nor remote has the commit.
    """
    request = SourceRequest(service.name, mirrors, False, _utc, lambda _: None)
    url = service.source.repository
    mirror = Mirror(mirrors / mirror_name(url), url)
    try:
        with mirror.locked(request.report):
            update(request, mirror, ref=commit, key="source.repository")
            if not mirror.commit(commit):
                raise request.error(f"commit {commit} is not in {url}; push it there, or build another version")
    except GitError as error:
        raise request.error(f"git cannot read the mirror {mirror.path} ({why(error)}); run again") from None
    return Repository(repository=url, commit=commit, mirror=mirror.path)


def bundle(source: Repository, have: Collection[str], target: Path) -> Path | None:
    """Write what a builder lacks of one repository. Submodules need a call each (``source.below()``).

    The first time (``have`` empty) the bundle is full: every branch and every tag with all history.

    Args:
        source: resolved source or submodule.
        have: commits (or tag objects) that the builder's mirror has.
        target: file to write.

    Returns:
        ``target``, or None when nothing is missing. A bundle has no refs: see `refs_file`.

    Raises:
        SourceError: the mirror cannot be read or the disk refuses.
    """
    mirror = Mirror(source.mirror, source.repository)
    try:
        with mirror.locked(lambda _: None):
            return mirror.bundle(source.commit, have, target)
    except GitError as error:
        raise SourceError(
            f"{source.repository}: no bundle from the mirror {source.mirror} ({why(error)}); run again"
        ) from None
    except OSError as error:
        raise SourceError(f"{error.filename or target}: {error.strerror}; free space and run again") from None


def refs_file(source: Repository) -> str:
    """Content of ``packed-refs`` for a builder's mirror: the same refs on builder and controller.

    Raises:
        SourceError: the mirror cannot be read.
    """
    try:
        return packed_refs(Mirror(source.mirror, source.repository).refs())
    except GitError as error:
        raise SourceError(f"{source.repository}: git cannot read the mirror {source.mirror} ({why(error)})") from None


def _commit(request: SourceRequest, mirror: Mirror, ref: str) -> str:
    refs = mirror.refs()
    try:
        commit = commit_named(ref, refs)
    except RefError as error:
        raise request.error(f"source.ref {ref!r} {error}") from None
    if commit is None and re.fullmatch(r"[0-9a-f]{7,40}", ref):
        commit = mirror.commit(ref)
        if commit is None and len(ref) == 40 and not request.offline:
            commit = unreachable_commit(mirror, ref)
    if commit:
        return commit
    similar = similar_names(ref, refs)
    hint = f"did you mean {' or '.join(similar)}?" if similar else _some(short_names(refs))
    stale = f" (mirror fetched {age(request, mirror.fetched_at)} ago)" if request.offline and mirror.fetched_at else ""
    raise request.error(f"source.ref {ref!r}: no such branch, tag or commit in {mirror.url}{stale}; {hint}")


def _some(names: list[str]) -> str:
    if not names:
        return "the repository has no branch and no tag"
    return "it has " + ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
