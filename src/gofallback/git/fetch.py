"""One repository that is asked for: its mirror brought up to date, and what is refused of it."""

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
    """What stays the same while one service is resolved."""

    service: str
    mirrors: Path
    offline: bool
    now: Callable[[], datetime]
    say: Callable[[str], None]

    def error(self, text: str) -> SourceError:
        """What is raised, with the service's name."""
        return SourceError(f"{self.service}: {text}")


def update(asked: SourceRequest, mirror: Mirror, *, wanted: str, key: str) -> None:
    """Fetch, unless a full SHA is asked for and is there, or the run is offline."""
    fetched = mirror.fetched_at
    where = f"{key} {mirror.url}"
    if asked.offline:
        if fetched is None:
            raise asked.error(
                f"{where}: source_offline=true, but no mirror of it is cached here; "
                "run once without it while the remote answers"
            )
        asked.say(f"{asked.service}: offline, from the mirror of {mirror.url} fetched {age(asked, fetched)} ago")
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
            f"{age(asked, fetched)} ago: --data source_offline=true"
        ) from None


def unreachable_commit(mirror: Mirror, sha: str) -> str | None:
    """A commit that no ref of the remote leads to, where that gives it out."""
    try:
        mirror.fetch_commit(sha)
    except GitError:
        return None
    return mirror.commit(sha)


def refuse_shallow(asked: SourceRequest, repository: str) -> None:
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


def refuse_local_changes(asked: SourceRequest, repository: str) -> None:
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


def age(asked: SourceRequest, fetched: datetime) -> str:
    """How long ago, in words."""
    return ago((asked.now() - fetched).total_seconds())


def why(error: GitError) -> str:
    """Why git ended badly, in a few words."""
    return f"no answer within {error.timeout:g} s" if error.timeout else last_line(error.output) or "no reason given"
