"""Takes, keeps and gives back the leases of a target's services; `gofallback.lease.script` is the target's side.

One command on the target holds all leases of a run there: each heartbeat renews them, its end gives them back. A
fencing number is known as long as the run lives, with or without its lease: it fences late writes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.errors import GofallbackError
from gofallback.journal.events import Event, LeaseTaken, LeaseTakenOver
from gofallback.lease import holder
from gofallback.lease.script import HEARTBEAT, LeaseRequest, hold
from gofallback.operations.target.channel import BrokenError, TargetCommand, alive, reconnect


class LeaseError(GofallbackError):
    """The leases were not taken; one line that says which run has them, or what broke."""


@dataclass
class _Held:
    """The leases that one run has on one target."""

    command: TargetCommand
    numbers: dict[str, int]
    terms: LeaseRequest
    sudo: bool
    renewed: float
    """When the last heartbeat was sent that the target answered; `time.monotonic`."""
    stop: threading.Event = field(default_factory=threading.Event)
    ended: str | None = None
    """Why the leases are gone."""
    fenced: str | None = None
    """Who took them over, if that is known."""

    def lost(self) -> str | None:
        if self.ended is None and time.monotonic() - self.renewed >= self.terms.ttl:
            return f"not renewed for {self.terms.ttl} s"
        return self.ended or ("its connection ended" if self.command.has_ended() else None)


_HELD: WeakKeyDictionary[Host, _Held] = WeakKeyDictionary()


def acquire(
    state: State,
    host: Host,
    services: Iterable[str],
    run_id: str,
    who: str,
    *,
    ttl: int = 30,
    takeover: str | None = None,
    sudo: bool = True,
    emit: Callable[[Event], None] | None = None,
) -> None:
    """Take the leases of all these services on a target, or none of them.

    Args:
        state: pyinfra's.
        host: the target.
        services: names.
        run_id: of this run.
        who: user@host of the controller.
        ttl: seconds after which a lease that is not renewed is free (`rollout.lease_ttl`).
        takeover: id of the run whose leases may be taken from it.
        sudo: `target.sudo`.
        emit: gets `LeaseTaken` and `LeaseTakenOver`.

    Raises:
        LeaseError: they cannot be had. Those that this run had before stay as they are.
    """
    held = _HELD.get(host)
    names = set(services)
    if held is not None and held.lost() is None and names <= held.numbers.keys():
        return
    since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    terms = LeaseRequest(run_id, who, since, ttl, takeover) if held is None else held.terms
    numbers = held.numbers if held is not None else {}
    if held is not None:
        _give_back(held)
    if numbers and not alive(host):
        reconnect(host)  # if it fails, `_take` says so
    _take(state, host, {name: numbers.get(name, 0) for name in names | numbers.keys()}, terms, sudo, emit)


def release(state: State, host: Host) -> bool:
    """Step: give back what `acquire` took on a target; True also when there is nothing."""
    held = _HELD.pop(host, None)
    if held is not None:
        _give_back(held)
    return True


def renew(state: State, host: Host) -> bool:
    """Take lost leases again, with the same numbers. False: fenced, or the target does not answer."""
    held = _HELD.get(host)
    if held is None or held.lost() is None:
        return True
    try:
        acquire(state, host, held.numbers, held.terms.run_id, held.terms.who, sudo=held.sudo)
    except LeaseError:
        return False
    return True


def is_held(host: Host) -> bool:
    """Whether this process has leases on a target and has not lost them."""
    held = _HELD.get(host)
    return held is not None and held.lost() is None


def lost(host: Host) -> str | None:
    """Why the leases that this process had on a target are gone; None: they are not, or there never were any."""
    held = _HELD.get(host)
    return held.lost() if held is not None else None


def fenced(host: Host) -> str | None:
    """Who took a lease of this process over on a target; None: nobody that is known of."""
    held = _HELD.get(host)
    return held.fenced if held is not None else None


def number(host: Host, service: str) -> int:
    """The fencing number of this run for a service, held or lost; 0: it never had one."""
    held = _HELD.get(host)
    return held.numbers.get(service, 0) if held is not None else 0


def _take(
    state: State,
    host: Host,
    numbers: dict[str, int],
    terms: LeaseRequest,
    sudo: bool,
    emit: Callable[[Event], None] | None,
) -> None:
    sent = time.monotonic()
    try:
        command = TargetCommand(state, host, hold(numbers, terms), sudo=sudo)
        answer = _answer(command)
    except BrokenError as error:
        raise LeaseError(f"the connection broke ({error}); nothing was changed, run again") from None
    if not answer.held:
        command.close()
        raise LeaseError(_refusal(host, answer, terms))
    again = host in _HELD
    held = _Held(command, dict(answer.numbers), terms, sudo, sent)
    _HELD[host] = held
    for taken in answer.takeovers:
        host.log_styled(f"{taken}; what that run still writes here is refused", fg="red")
    if emit:
        _emit_events(host, answer, terms, again, emit)
    # a thread under plain Python, a greenlet under pyinfra, which patches threads
    threading.Thread(target=_send_heartbeats, args=(held,), daemon=True, name=f"lease {host.name}").start()


def _answer(command: TargetCommand) -> holder.LeaseResult:
    lines = []
    for line in command.lines():
        if line is None:
            continue
        lines.append(line)
        if line == "held":
            break
    return holder.parse_result(lines)


def _refusal(host: Host, answer: holder.LeaseResult, terms: LeaseRequest) -> str:
    if answer.fenced:
        fences = "; ".join(map(str, answer.fenced))
        if host in _HELD:
            _HELD[host].fenced = fences
        return f"{fences}; nothing more is changed here"
    if answer.busy:
        return "; ".join(holder.refusal(name, who, terms.takeover) for name, who in answer.busy)
    return f"{answer.error}; nothing was changed"


def _emit_events(
    host: Host, answer: holder.LeaseResult, terms: LeaseRequest, again: bool, emit: Callable[[Event], None]
) -> None:
    for taken in answer.takeovers:
        emit(
            LeaseTakenOver(
                host=host.name,
                service=taken.service,
                number=taken.number,
                from_run=taken.run_id,
                from_who=taken.who,
                since=taken.since,
            )
        )
    for service, got in sorted(answer.numbers.items()):
        emit(LeaseTaken(host=host.name, service=service, number=got, ttl=terms.ttl, again=again))


def _give_back(held: _Held) -> None:
    """End the input of the command: the target then gives the leases back. A broken command is only closed."""
    held.stop.set()
    if held.lost() is None:
        held.command.end_input()
        try:
            for _ in held.command.lines():
                continue
        except BrokenError:
            pass  # the leases lapse by themselves
    held.ended = held.ended or "given back"
    held.command.close()


def _send_heartbeats(held: _Held) -> None:
    """Send a numbered line at each heartbeat; the target's answer repeats the number of a renewal."""
    pause = min(HEARTBEAT, held.terms.ttl / 3)
    sent: dict[str, float] = {}
    try:
        lines = held.command.lines(idle_timeout=pause)
        while not held.stop.wait(pause):
            beat = str(len(sent))
            sent[beat] = time.monotonic()
            if not held.command.send([f"{beat}\n".encode()]):
                break
            for line in lines:
                if line is None:
                    break
                fence = holder.parse_fenced([line])
                if fence is not None:
                    held.fenced = held.ended = str(fence)
                    return
                kind, _, answered = line.partition("\t")
                if kind == "renewed":
                    held.renewed = max(held.renewed, sent.get(answered, 0.0))
                if answered == beat or held.stop.is_set():
                    break
            else:
                held.ended = "its connection ended"
                return
    except BrokenError as error:
        held.ended = held.ended or f"its connection broke ({error})"
