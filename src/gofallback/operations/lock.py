"""Takes, keeps and gives back the locks of a target's services (`release.lock` says how they work)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.operations.channel import BrokenError, Channel
from gofallback.release import lock


@dataclass
class _Held:
    """The locks one run has on one target."""

    channel: Channel
    services: tuple[str, ...]
    run_id: str
    who: str
    sudo: bool
    stop: threading.Event = field(default_factory=threading.Event)
    lost: bool = False


_HELD: WeakKeyDictionary[Host, _Held] = WeakKeyDictionary()


def acquire(
    state: State,
    host: Host,
    services: Iterable[str],
    run_id: str,
    who: str,
    *,
    sudo: bool = True,
    quiet: bool = False,
    tell: Callable[[str], None] | None = None,
) -> bool:
    """Step: take the locks of all these services on a target, or none of them.

    Args:
        state: pyinfra's.
        host: the target.
        services: names.
        run_id: of this run.
        who: user@host of the controller.
        sudo: `target.sudo`.
        quiet: say nothing when it does not work.
        tell: gets the line that says why it failed, for the run's record.

    Returns:
        False after one red line that names the run which has them.
    """
    wanted = tuple(sorted(set(services)))
    held = _HELD.get(host)
    if held is not None and is_held(host) and set(wanted) <= set(held.services):
        return True
    if held is not None:
        wanted = tuple(sorted({*wanted, *held.services}))
        release(state, host)
    try:
        channel = Channel(state, host, lock.hold(wanted, run_id=run_id, who=who), sudo=sudo)
        answer = _answer(channel)
    except BrokenError as error:
        problem = f"the connection broke ({error}); nothing was changed, run again"
    else:
        if answer.held:
            taken = _Held(channel, wanted, run_id, who, sudo)
            _HELD[host] = taken
            # a thread under plain Python, a greenlet under pyinfra, which patches threads
            threading.Thread(target=_keep, args=(taken,), daemon=True, name=f"lock {host.name}").start()
            return True
        channel.close()
        problem = "; ".join(f"{service} is locked by {holder}" for service, holder in answer.busy)
        problem = f"{problem}; wait for it to end, nothing was changed" if problem else answer.error
    if not quiet:
        host.log_styled(f"lock: {problem}", fg="red")
    if tell:
        tell(problem)
    return False


def release(state: State, host: Host) -> bool:
    """Step: give back what `acquire` took on a target; True also when there is nothing."""
    held = _HELD.pop(host, None)
    if held is not None:
        held.stop.set()
        held.channel.end_input()
        try:
            for _ in held.channel.lines():
                continue
        except BrokenError:
            pass  # the target lets go by itself
        held.channel.close()
    return True


def renew(state: State, host: Host) -> bool:
    """Take the locks again after the connection broke. False: another run was faster, or the target is not there."""
    held = _HELD.pop(host, None)
    if held is None:
        return True
    held.stop.set()
    held.channel.close()
    return acquire(state, host, held.services, held.run_id, held.who, sudo=held.sudo, quiet=True)


def is_held(host: Host) -> bool:
    """Whether this process has locks on a target and has not lost them."""
    held = _HELD.get(host)
    # The target lets go when it hears nothing for `lock.PATIENCE` seconds, which shows only in its answer.
    return held is not None and not held.lost and not held.channel.over()


def _answer(channel: Channel) -> lock.Answer:
    said = []
    for line in channel.lines():
        if line is None:
            continue
        said.append(line)
        if line == "held":
            break
    return lock.read(said)


def _keep(held: _Held) -> None:
    while not held.stop.wait(lock.HEARTBEAT):
        try:
            if not held.channel.send([b"\n"]):
                held.lost = True
        except BrokenError:
            held.lost = True
        if held.lost:
            return
