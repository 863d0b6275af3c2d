"""Bring the mirror of one repository up to date, and refuse repositories that cannot be built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gofallback.errors import GofallbackError
from gofallback.git.git_command import GitError, git
from gofallback.git.mirror import Mirror
from gofallback.source.git_errors import ago, explain, last_line
from gofallback.source.refs import FULL_SHA
from gofallback.source.urls import local_path


class SourceError(GofallbackError):
    """The commit cannot be had; one line."""


@dataclass(frozen=True)
class SourceRequest:
    """The service that is resolved, and how."""

    service: str
    mirrors: Path
    offline: bool
    now: Callable[[], datetime]
    report: Callable[[str], None]

    def error(self, text: str) -> SourceError:
        """The error to raise, with the service's name."""
        return SourceError(f"{self.service}: {text}")


def update(request: SourceRequest, mirror: Mirror, *, ref: str, key: str) -> None:
    """Fetch, unless the run is offline, or ``ref`` is a full SHA that the mirror has."""
    fetched = mirror.fetched_at
    where = f"{key} {mirror.url}"
    if request.offline:
        if fetched is None:
            raise request.error(
                f"{where}: source_offline=true, but no mirror of it is cached here; "
                "run once without it while the remote answers"
            )
        request.report(
            f"{request.service}: offline, from the mirror of {mirror.url} fetched {age(request, fetched)} ago"
        )
        return
    if fetched is not None and FULL_SHA.fullmatch(ref) and mirror.commit(ref):
        return
    try:
        mirror.fetch(request.now)
    except GitError as error:
        cause, remedy = explain(error.output, timeout=error.timeout)
        if fetched is None:
            raise request.error(
                f"{where} cannot be fetched: {cause}; no mirror of it is cached, so {remedy} and run again"
            ) from None
        raise request.error(
            f"{where} cannot be fetched: {cause}; {remedy}, or go on with the mirror fetched "
            f"{age(request, fetched)} ago: --data source_offline=true"
        ) from None


def unreachable_commit(mirror: Mirror, sha: str) -> str | None:
    """Fetch a commit that no ref of the remote reaches; None where the remote refuses."""
    try:
        mirror.fetch_commit(sha)
    except GitError:
        return None
    return mirror.commit(sha)


def refuse_shallow(request: SourceRequest, repository: str) -> None:
    """Refuse a shallow clone: git fetches nothing from it, silently, and the mirror would stay as it was."""
    path = local_path(repository)
    if path is None or request.offline:
        return
    try:
        shallow = git(["-C", path, "rev-parse", "--is-shallow-repository"]).strip() == "true"
    except GitError:
        return  # the fetch reports what is wrong
    if shallow:
        raise request.error(
            f"source.repository {path} is a shallow clone, without the history that versions and builders need; run "
            "`git fetch --unshallow --tags` in it, or name the repository it was cloned from"
        )


def refuse_local_changes(request: SourceRequest, repository: str) -> None:
    """Refuse a working tree with changes: a build of its commit must not look like a build of its files."""
    path = local_path(repository)
    if path is None or not (Path(path) / ".git").exists():
        return
    try:
        changed = git(["-C", path, "status", "--porcelain", "-z", "--untracked-files=normal"])
    except GitError as error:
        cause, remedy = explain(error.output, timeout=error.timeout)
        raise request.error(f"source.repository {path}: {cause}; {remedy}") from None
    files = [record[3:] for record in changed.split("\0") if len(record) > 3 and record[2] == " "]
    if files:
        shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        raise request.error(
            f"source.repository {path} has changes that no commit holds: {shown}; commit, stash or remove them"
        )


def age(request: SourceRequest, fetched: datetime) -> str:
    """How long ago, in words."""
    return ago((request.now() - fetched).total_seconds())


def why(error: GitError) -> str:
    """Why git failed, in a few words."""
    return f"no answer within {error.timeout:g} s" if error.timeout else last_line(error.output) or "no reason given"
