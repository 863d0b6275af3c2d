"""Takes, keeps and gives back the leases of a target's services; `lease.script` is the other end.

All leases of a run on one target hang on one channel: it renews with every heartbeat, and they are given back when it
ends. A number is known as long as the run lives, lease or no lease: it is what fences late writes.
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

from gofallback.journal.events import Event, LeaseTaken, LeaseTakenOver
from gofallback.lease import holder
from gofallback.lease.script import HEARTBEAT, LeaseRequest, hold
from gofallback.operations.target.channel import BrokenError, TargetCommand, alive, reconnect

#: Gets the name of an event of the journal, and its own keys.


@dataclass
class _Held:
    """The leases one run has on one target."""

    command: TargetCommand
    numbers: dict[str, int]
    terms: LeaseRequest
    sudo: bool
    renewed: float
    """When the word was sent that the target last answered; `time.monotonic`."""
    stop: threading.Event = field(default_factory=threading.Event)
    ended: str | None = None
    """Why there is nothing held any more."""
    fenced: str | None = None
    """Who took over, if that is known."""

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
    quiet: bool = False,
    tell: Callable[[str], None] | None = None,
    emit: Callable[[Event], None] | None = None,
) -> bool:
    """Step: take the leases of all these services on a target, or none of them.

    Args:
        state: pyinfra's.
        host: the target.
        services: names.
        run_id: of this run.
        who: user@host of the controller.
        ttl: seconds after which a lease that is not renewed is free (`rollout.lease_ttl`).
        takeover: id of the run whose leases may be taken from it.
        sudo: `target.sudo`.
        quiet: say nothing when it does not work.
        tell: gets the line that says why it failed, for the run's record.
        emit: gets `LeaseTaken` and `LeaseTakenOver`.

    Returns:
        False after one red line that names the run which has them. Those this run had before are kept as they are.
    """
    held = _HELD.get(host)
    wanted = set(services)
    if held is not None and held.lost() is None and wanted <= held.numbers.keys():
        return True
    since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    terms = LeaseRequest(run_id, who, since, ttl, takeover) if held is None else held.terms
    before = held.numbers if held is not None else {}
    if held is not None:
        _end(held)
    asked = {name: before.get(name, 0) for name in wanted | before.keys()}
    if before and not alive(host):
        reconnect(host)  # where it does not work, the next line says so
    problem = _take(state, host, asked, terms, sudo, emit)
    if problem and not quiet:
        host.log_styled(f"lease: {problem}", fg="red")
    if problem and tell:
        tell(problem)
    return not problem


def release(state: State, host: Host) -> bool:
    """Step: give back what `acquire` took on a target; True also when there is nothing."""
    held = _HELD.pop(host, None)
    if held is not None:
        _end(held)
    return True


def renew(state: State, host: Host) -> bool:
    """Take the leases again, with the same numbers, after the connection broke. False: fenced, or nobody answers."""
    held = _HELD.get(host)
    if held is None or held.lost() is None:
        return True
    return acquire(state, host, held.numbers, held.terms.run_id, held.terms.who, sudo=held.sudo, quiet=True)


def is_held(host: Host) -> bool:
    """Whether this process has leases on a target and has not lost them."""
    held = _HELD.get(host)
    return held is not None and held.lost() is None


def lost(host: Host) -> str | None:
    """Why the leases this process had on a target are gone; None: they are not, or there never were any."""
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
    state: State, host: Host, asked: dict[str, int], terms: LeaseRequest, sudo: bool, emit: Callable[[Event], None] | None
) -> str:
    """Why it did not work; empty: it did."""
    sent = time.monotonic()
    try:
        command = TargetCommand(state, host, hold(asked, terms), sudo=sudo)
        answer = _answer(command)
    except BrokenError as error:
        return f"the connection broke ({error}); nothing was changed, run again"
    if not answer.held:
        command.close()
        if answer.fenced:
            words = "; ".join(map(str, answer.fenced))
            if host in _HELD:
                _HELD[host].fenced = words
            return f"{words}; nothing more is changed here"
        if answer.busy:
            return "; ".join(holder.refusal(name, who, terms.takeover) for name, who in answer.busy)
        return f"{answer.error}; nothing was changed"
    again = host in _HELD
    held = _Held(command, dict(answer.numbers), terms, sudo, sent)
    _HELD[host] = held
    for taken in answer.takeovers:
        host.log_styled(f"{taken}; what that run still writes here is refused", fg="red")
        if emit:
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
        if emit:
            emit(LeaseTaken(host=host.name, service=service, number=got, ttl=terms.ttl, again=again))
    # a thread under plain Python, a greenlet under pyinfra, which patches threads
    threading.Thread(target=_keep, args=(held,), daemon=True, name=f"lease {host.name}").start()
    return ""


def _answer(command: TargetCommand) -> holder.LeaseResult:
    said = []
    for line in command.lines():
        if line is None:
            continue
        said.append(line)
        if line == "held":
            break
    return holder.parse_result(said)


def _end(held: _Held) -> None:
    """The target gives back when it sees the end of its input; a channel that is dead already is only closed."""
    held.stop.set()
    if held.lost() is None:
        held.command.end_input()
        try:
            for _ in held.command.lines():
                continue
        except BrokenError:
            pass  # the target lets go by itself
    held.ended = held.ended or "given back"
    held.command.close()


def _keep(held: _Held) -> None:
    """A word each heartbeat; the answer says that it was a renewal, and what it was an answer to."""
    pause = min(HEARTBEAT, held.terms.ttl / 3)
    sent: dict[str, float] = {}
    try:
        lines = held.command.lines(idle_timeout=pause)
        while not held.stop.wait(pause):
            word = str(len(sent))
            sent[word] = time.monotonic()
            if not held.command.send([f"{word}\n".encode()]):
                break
            line = next(lines, "")
            while line is not None:
                kind, _, rest = line.partition("\t")
                fence = holder.parse_fenced([line])
                if fence is not None or not line:
                    held.fenced = str(fence) if fence is not None else None
                    held.ended = held.fenced or "its connection ended"
                    return
                if kind == "renewed":
                    held.renewed = max(held.renewed, sent.get(rest, 0.0))
                if rest == word or held.stop.is_set():
                    break
                line = next(lines, "")
    except BrokenError as error:
        held.ended = held.ended or f"its connection broke ({error})"
