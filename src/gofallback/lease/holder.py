"""Leases on a target, read: what `release.lease_script` answered, and what the state of a target shows. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gofallback.lease.script import SILENT
from gofallback.release.state import Holder
from gofallback.release.untrusted_values import number, seconds
from gofallback.runid import same_run


@dataclass(frozen=True)
class Fenced:
    """A write, or a wish to go on, that came with a number which is not the current one any more."""

    service: str
    number: int
    ours: int
    run_id: str = ""
    who: str = ""

    def __str__(self) -> str:
        whose = f"run {self.run_id} of {self.who} took over" if self.run_id else "a later run took over and has ended"
        return f"fenced: {whose} (number {self.number}, ours {self.ours})"


@dataclass(frozen=True)
class Takeover:
    """A lease that was taken from a run that still had it."""

    service: str
    number: int
    run_id: str
    """Of the run it was taken from."""
    who: str
    since: str

    def __str__(self) -> str:
        return f"{self.service}: lease taken over from run {self.run_id} of {self.who} since {self.since}"


@dataclass(frozen=True)
class Answer:
    """What the target said when it was asked for leases."""

    held: bool
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Service to fencing number."""
    takeovers: tuple[Takeover, ...] = ()
    busy: tuple[tuple[str, Holder], ...] = ()
    """Services somebody else has, and who."""
    fenced: tuple[Fenced, ...] = ()
    error: str = ""


def read(lines: Iterable[str]) -> Answer:
    """Read what `lease_script.hold` said until it ended or said ``held``."""
    numbers: dict[str, int] = {}
    takeovers: list[Takeover] = []
    busy: list[tuple[str, Holder]] = []
    fences: list[Fenced] = []
    error = other = ""
    for line in lines:
        word, *parts = line.split("\t")
        if word == "held" and not error:
            return Answer(held=True, numbers=numbers, takeovers=tuple(takeovers))
        if word == "taken" and len(parts) == 2:
            numbers[parts[0]] = number(parts[1])
            error = error if numbers[parts[0]] else f"{parts[0]}: the target gave the lease without a number; run again"
        elif word == "takeover" and len(parts) == 5:
            takeovers.append(Takeover(parts[0], number(parts[1]), *parts[2:]))
        elif word == "busy" and len(parts) == 8:
            busy.append((parts[0], _busy(parts)))
        elif word == "fenced":
            fences += [found for found in [fenced([line])] if found]
        elif word == "damaged" and len(parts) == 2:
            error = damaged(parts[1])
        elif word == "error":
            error = parts[0] if parts else ""
        elif line.strip():
            other = line
    if not (busy or fences or error):
        error = other or "the target's answer is cut short; run again"
    return Answer(held=False, busy=tuple(busy), fenced=tuple(fences), error=error)


def fenced(lines: Iterable[str]) -> Fenced | None:
    """The line of a write that was refused; None without one."""
    for line in lines:
        word, *parts = line.split("\t")
        if word == "fenced" and len(parts) == 5 and number(parts[1]):
            return Fenced(parts[0], number(parts[1]), number(parts[2]), parts[3], parts[4])
    return None


def damaged(path: str) -> str:
    """What a person does with a lease file that holds no number."""
    return (
        f"{path} holds no lease; see that nobody rolls out, write a number there that is greater than any before, "
        "and run again"
    )


def seen(lease: Sequence[str], renewed: Sequence[str], uptime: float) -> Holder | None:
    """Who has a lease, as its two files say; None when nobody has it. A lapsed one is shown as such.

    Args:
        lease: number, run id, who, since, ttl.
        renewed: number and uptime, in seconds, of the last renewal; empty: not there.
        uptime: of the target now, seconds.
    """
    ours, run_id, who, since, ttl, *_ = [*lease, *[""] * 5]
    if not run_id:
        return None
    allowed = number(ttl)
    silent: float | None = None
    if len(renewed) >= 2 and renewed[0] == ours:
        silent = uptime - seconds(renewed[1])
        if silent < 0:  # written before a reboot
            silent = None
    left = allowed - (uptime if silent is None else silent)
    return Holder(
        run_id,
        who,
        since,
        number=number(ours),
        silent=silent,
        expires_in=max(0.0, left),
        lapsed=left <= 0,
    )


def in_the_way(holder: Holder, run_id: str, takeover: str | None = None) -> bool:
    """Whether a lease keeps a run from beginning. Not its own, a lapsed one, one it may take, a dead predecessor's."""
    if holder.lapsed or holder.run_id in (run_id, takeover):
        return False
    dead = holder.silent is None or holder.silent >= SILENT
    return not (same_run(holder.run_id, run_id) and dead)


def refusal(service: str, holder: Holder, takeover: str | None = None) -> str:
    """The line for a person: who has the lease, until when, and what to do."""
    until = "" if holder.expires_in is None else f", expires in {math.ceil(holder.expires_in)} s unless renewed"
    other = f"; it is not held by run {takeover}" if takeover and takeover != holder.run_id else ""
    return (
        f"{service} is leased to {holder}{until}{other}; "
        f"wait for it to end, or take over: --data takeover={holder.run_id}"
    )


def _busy(parts: Sequence[str]) -> Holder:
    _, ours, run_id, who, since, _, age, left = parts
    silent = number(age) / 100 if age.isdigit() else None
    return Holder(run_id, who, since, number=number(ours), silent=silent, expires_in=seconds(left))
