"""Taking everything of ours off a builder, with a listing before and after: three round trips, one for nothing."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

import gevent
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.wipe import Contents, doomed, left, look, read, removal
from gofallback.operations.detached_helper import list_jobs
from gofallback.operations.remote import heartbeat, run_command

_LOOK, _REMOVE = 300.0, 1800.0
"""Seconds: some 100,000 files are listed in half a minute, and removed in some minutes of a busy disk."""
_ENDING = (1.0, 2.0, 4.0)
"""Seconds before each further look at a builder that is busy: a run's own build may just be ending."""
_NAMED = 3


@dataclass(frozen=True)
class Wiped:
    """What a wipe found and what it left."""

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
        """What became of the builder, in one line."""
        if self.problem:
            return f"not wiped: {self.problem}"
        assert self.before is not None and self.after is not None
        stays = ", ".join([*self.kept, *([f"{_some(self.foreign)} (not ours)"] if self.foreign else [])]) or "nothing"
        if self.idle:
            return f"nothing to wipe; left: {stays}"
        (was, bytes_was), (now, bytes_now) = self.before.count(), self.after.count()
        return f"wiped, {(bytes_was - bytes_now) / 1e6:,.0f} MB in {was - now:,} files removed; left: {stays}"


def wipe(state: State, host: Host, root: str, keep: Collection[str]) -> Wiped:
    """Remove what is ours below the root, but for what is kept; look what is left. Tells nothing on the screen.

    Args:
        state: pyinfra's.
        host: the builder.
        root: its `builder.root`.
        keep: `builder.wipe.keep`.
    """
    before, trouble = _look(state, host, root)
    for pause in _ENDING:
        if before is None or not before.busy:
            break
        gevent.sleep(pause)
        before, trouble = _look(state, host, root)
    if before is None:
        return Wiped(problem=trouble)
    if before.home:
        return Wiped(
            before,
            problem=f"builder.root {root} is the home folder of the login, whose work, tmp and tools may be somebody's "
            "own; give a folder of its own below it, and remove by hand what gofallback has made",
        )
    at_work = [*before.busy, *_jobs(state, host, root)]
    if at_work:
        return Wiped(before, problem=_busy(at_work), busy=True)
    names = doomed(before, keep)
    if not names:
        return _judged(before, before, keep, idle=True)
    with heartbeat(state, host, f"wipe of {root}"):
        answer = run_command(state, host, removal(root, names, secrets.token_hex(4)), timeout=_REMOVE)
    after, trouble = _look(state, host, root)
    if after is None:
        return Wiped(before, problem=trouble)
    done = _judged(before, after, keep)
    if done.problem and not answer.ok:
        return Wiped(before, after, stuck=done.stuck, problem=f"{done.problem} ({answer.first()})")
    return done


def _look(state: State, host: Host, root: str) -> tuple[Contents | None, str]:
    answer = run_command(state, host, look(root), timeout=_LOOK)
    found = read(root, answer.out) if answer.ok else None
    return found, f"what lies below {root} cannot be listed: {answer.last()}; run deploys/wipe.py again"


def _jobs(state: State, host: Host, root: str) -> list[str]:
    """Detached builds that run there; who cannot be asked has none that its processes would not show."""
    found = list_jobs(state, host, root)
    return [] if isinstance(found, str) else [one.label or one.id for one in found if one.state == "running"]


def _busy(at_work: Collection[str]) -> str:
    names = ", ".join(at_work)
    return f"{names} is at work there: another run may be building; wait for its end, then run deploys/wipe.py"


def _judged(before: Contents, after: Contents, keep: Collection[str], *, idle: bool = False) -> Wiped:
    kept, stuck, foreign = left(after, keep)
    problem = ""
    if stuck:
        problem = (
            f"{_some(stuck)} below {after.root} cannot be removed; a program on the host has it open: end it, then run "
            "deploys/wipe.py again"
        )
    return Wiped(before, after, tuple(kept), tuple(foreign), tuple(stuck), problem, idle=idle)


def _some(paths: Collection[str]) -> str:
    shown = list(paths)[:_NAMED]
    more = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
