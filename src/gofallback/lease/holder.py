"""Who holds a lease: the output of `lease.script`, and the lease files in the state of a target. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gofallback.lease.script import CONTINUATION_DELAY
from gofallback.runid import same_run
from gofallback.untrusted_values import number, seconds


@dataclass(frozen=True)
class Holder:
    """The run that holds a service's lease."""

    run_id: str = "unknown"
    who: str = "unknown"
    since: str = "unknown"
    number: int = 0
    """The fencing number."""
    age: float | None = None
    """Seconds since the last renewal; None: none since the target booted."""
    expires_in: float | None = None
    """Seconds until the lease is free unless it is renewed; None: not known."""
    expired: bool = False
    """It was not renewed in time: the next run that requests it gets it."""

    def __str__(self) -> str:
        return f"run {self.run_id} of {self.who} since {self.since}"


@dataclass(frozen=True)
class Fenced:
    """A refused write or renewal: its number is not the current one any more."""

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
    """A lease that was taken from a run that still held it."""

    service: str
    number: int
    run_id: str
    """The run from which it was taken."""
    who: str
    since: str

    def __str__(self) -> str:
        return f"{self.service}: lease taken over from run {self.run_id} of {self.who} since {self.since}"


@dataclass(frozen=True)
class LeaseResult:
    """The result of a request for leases on one target: all of them or none."""

    held: bool
    numbers: Mapping[str, int] = field(default_factory=dict)
    """Service to fencing number."""
    takeovers: tuple[Takeover, ...] = ()
    busy: tuple[tuple[str, Holder], ...] = ()
    """Services whose lease another run holds, with the holder."""
    fenced: tuple[Fenced, ...] = ()
    error: str = ""


def parse_result(lines: Iterable[str]) -> LeaseResult:
    """Parse the output of `lease.script.hold` up to ``held``, or to its end."""
    numbers: dict[str, int] = {}
    takeovers: list[Takeover] = []
    busy: list[tuple[str, Holder]] = []
    fences: list[Fenced] = []
    error = other = ""
    for line in lines:
        word, *parts = line.split("\t")
        if word == "held" and not error:
            return LeaseResult(held=True, numbers=numbers, takeovers=tuple(takeovers))
        if word == "taken" and len(parts) == 2:
            numbers[parts[0]] = number(parts[1])
            error = error if numbers[parts[0]] else f"{parts[0]}: the target gave the lease without a number; run again"
        elif word == "takeover" and len(parts) == 5:
            takeovers.append(Takeover(parts[0], number(parts[1]), *parts[2:]))
        elif word == "busy" and len(parts) == 8:
            busy.append((parts[0], _busy(parts)))
        elif word == "fenced":
            fences += [fence for fence in [parse_fenced([line])] if fence]
        elif word == "damaged" and len(parts) == 2:
            error = _damaged(parts[1])
        elif word == "error":
            error = parts[0] if parts else ""
        elif line.strip():
            other = line
    if not (busy or fences or error):
        error = other or "the target's answer is cut short; run again"
    return LeaseResult(held=False, busy=tuple(busy), fenced=tuple(fences), error=error)


def parse_fenced(lines: Iterable[str]) -> Fenced | None:
    """The refusal among the lines of a guarded script; None without one."""
    for line in lines:
        word, *parts = line.split("\t")
        if word == "fenced" and len(parts) == 5 and number(parts[1]):
            return Fenced(parts[0], number(parts[1]), number(parts[2]), parts[3], parts[4])
    return None


def _damaged(path: str) -> str:
    """The problem and the remedy for a lease file without a number; agent/lease.go has the same message."""
    return (
        f"{path} holds no lease; make sure that no rollout runs, write a number there that is greater than any before, "
        "and run again"
    )


def parse_holder(lease: Sequence[str], renewed: Sequence[str], uptime: float) -> Holder | None:
    """The holder of a lease, expired or not, from the fields of its two files; None if it is free.

    Args:
        lease: number, run id, who, since, ttl.
        renewed: number and uptime, in seconds, of the last renewal; empty: no such file.
        uptime: of the target now, in seconds.
    """
    ours, run_id, who, since, ttl, *_ = [*lease, *[""] * 5]
    if not run_id:
        return None
    age: float | None = None
    if len(renewed) >= 2 and renewed[0] == ours:
        age = uptime - seconds(renewed[1])
        if age < 0:  # written before a reboot
            age = None
    left = number(ttl) - (uptime if age is None else age)
    return Holder(run_id, who, since, number=number(ours), age=age, expires_in=max(0.0, left), expired=left <= 0)


def blocks(holder: Holder, run_id: str, takeover: str | None = None) -> bool:
    """Whether a lease blocks a run. The run's own lease does not, nor an expired one, nor the one named in `takeover`,
    nor that of the run it continues, once that run has stopped renewing."""
    if holder.expired or holder.run_id in (run_id, takeover):
        return False
    stopped = holder.age is None or holder.age >= CONTINUATION_DELAY
    return not (same_run(holder.run_id, run_id) and stopped)


def refusal(service: str, holder: Holder, takeover: str | None = None) -> str:
    """The message for a blocked run: who holds the lease, until when, and the remedy."""
    until = "" if holder.expires_in is None else f", expires in {math.ceil(holder.expires_in)} s unless renewed"
    other = f"; it is not held by run {takeover}" if takeover and takeover != holder.run_id else ""
    return (
        f"{service} is leased to {holder}{until}{other}; "
        f"wait for it to end, or take over: --data takeover={holder.run_id}"
    )


def _busy(parts: Sequence[str]) -> Holder:
    _, ours, run_id, who, since, _, age, left = parts
    renewed = number(age) / 100 if age.isdigit() else None
    return Holder(run_id, who, since, number=number(ours), age=renewed, expires_in=seconds(left))
