"""Removes everything of gofallback from a builder, and lists its files before and after: three round trips at most."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

import gevent
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.wipe import Contents, contents_line, names_to_remove, parse_contents, remains, removal_line
from gofallback.errors import GofallbackError
from gofallback.operations.detached_helper import KeeperError, list_jobs
from gofallback.operations.remote import heartbeat, run_command

_LIST_TIMEOUT, _REMOVE_TIMEOUT = 300.0, 1800.0
"""Seconds: some 100,000 files are listed in half a minute, and removed in some minutes of a busy disk."""
_BUSY_PAUSES = (1.0, 2.0, 4.0)
"""Seconds before each further look at a busy builder: a run's own build may just be ending."""
_NAMED = 3


class _ListError(GofallbackError):
    """The builder's files cannot be listed; one line."""


@dataclass(frozen=True)
class WipeResult:
    """What a wipe found, and what it left."""

    before: Contents | None = None
    after: Contents | None = None
    kept: tuple[str, ...] = ()
    """What was to stay, with sizes."""
    foreign: tuple[str, ...] = ()
    """Files below the root that are not gofallback's."""
    stuck: tuple[str, ...] = ()
    """Paths that should be gone."""
    problem: str = ""
    """Why it is not wiped; one line."""
    busy: bool = False
    """It is in use, and nothing was touched."""
    idle: bool = False
    """There was nothing to remove."""

    def line(self) -> str:
        """The result, for a person."""
        if self.problem:
            return f"not wiped: {self.problem}"
        assert self.before is not None and self.after is not None
        foreign = [f"{_some(self.foreign)} (not ours)"] if self.foreign else []
        stays = ", ".join([*self.kept, *foreign]) or "nothing"
        if self.idle:
            return f"nothing to wipe; left: {stays}"
        (was, bytes_was), (now, bytes_now) = self.before.count(), self.after.count()
        return f"wiped, {(bytes_was - bytes_now) / 1e6:,.0f} MB in {was - now:,} files removed; left: {stays}"


def wipe(state: State, host: Host, root: str, keep: Collection[str]) -> WipeResult:
    """Remove what is gofallback's below the root, but for what is kept; list what is left. Logs nothing.

    Args:
        state: pyinfra's.
        host: the builder.
        root: its `builder.root`.
        keep: `builder.wipe.keep`.
    """
    before: Contents | None = None
    try:
        before = _list_when_idle(state, host, root)
        if before.home:
            return WipeResult(
                before,
                problem=f"builder.root {root} is the home folder of the login, whose work, tmp and tools may be "
                "somebody's own; give a folder of its own below it, and remove by hand what gofallback has made",
            )
        at_work = [*before.busy, *_running_jobs(state, host, root)]
        if at_work:
            return WipeResult(before, problem=_busy(at_work), busy=True)
        names = names_to_remove(before, keep)
        if not names:
            return _judge(before, before, keep, idle=True)
        with heartbeat(state, host, f"wipe of {root}"):
            line = removal_line(root, names, secrets.token_hex(4))
            removed = run_command(state, host, line, timeout=_REMOVE_TIMEOUT)
        after = _list(state, host, root)
    except _ListError as error:
        return WipeResult(before, problem=str(error))
    result = _judge(before, after, keep)
    if result.problem and not removed.ok:
        return WipeResult(before, after, stuck=result.stuck, problem=f"{result.problem} ({removed.first()})")
    return result


def _list(state: State, host: Host, root: str) -> Contents:
    result = run_command(state, host, contents_line(root), timeout=_LIST_TIMEOUT)
    found = parse_contents(root, result.out) if result.ok else None
    if found is None:
        raise _ListError(f"what lies below {root} cannot be listed: {result.last()}; run deploys/wipe.py again")
    return found


def _list_when_idle(state: State, host: Host, root: str) -> Contents:
    found = _list(state, host, root)
    for pause in _BUSY_PAUSES:
        if not found.busy:
            break
        gevent.sleep(pause)
        found = _list(state, host, root)
    return found


def _running_jobs(state: State, host: Host, root: str) -> list[str]:
    """Detached builds that run there; without an answer none: the processes of a build would show."""
    try:
        return [job.label or job.id for job in list_jobs(state, host, root) if job.state == "running"]
    except KeeperError:
        return []


def _busy(at_work: Collection[str]) -> str:
    names = ", ".join(at_work)
    return f"{names} is at work there: another run may be building; wait for its end, then run deploys/wipe.py"


def _judge(before: Contents, after: Contents, keep: Collection[str], *, idle: bool = False) -> WipeResult:
    left = remains(after, keep)
    problem = ""
    if left.stuck:
        problem = (
            f"{_some(left.stuck)} below {after.root} cannot be removed; a program on the host has it open: end it, "
            "then run deploys/wipe.py again"
        )
    return WipeResult(before, after, tuple(left.kept), tuple(left.foreign), tuple(left.stuck), problem, idle=idle)


def _some(paths: Collection[str]) -> str:
    shown = list(paths)[:_NAMED]
    more = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
