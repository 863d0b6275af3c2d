"""What is done about a connection that broke between two waves: it is made anew, and its leases are taken again."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import gevent
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from gofallback.deploys.rollout.leases import acquire
from gofallback.deploys.run.context import RunContext
from gofallback.facts.target import forget
from gofallback.model import Service
from gofallback.operations.target import lease
from gofallback.operations.target.channel import BrokenError, reconnect, run
from gofallback.release import state_parser, state_script
from gofallback.release.state import TargetState
from gofallback.rollout.phases import TargetPhase

#: Seconds for which a target that does not answer is tried again.
RETRY_SECONDS = 10.0


def read_state(state: State, host: Host, ctx: RunContext) -> TargetState:
    """What a target says now. One that can be reached again is not lost because its connection broke.

    Not by a fact of pyinfra's: where that has no answer, the host is failed and left out of all that follows, also of
    being waited for (pyinfra 3.10, api/facts.py).

    Raises:
        BrokenError: no answer, and no other connection within `RETRY_SECONDS` seconds, or none over that either.
        StateError: an answer that makes no sense.
    """
    over = partial(run, state, host)
    try:
        return read_state_over(over, host, ctx, ctx.services(host))
    except BrokenError:
        if not _connected(host):
            raise
    _retake_lease(state, host, ctx)
    return read_state_over(over, host, ctx, ctx.services(host))


def read_state_over(
    over: Callable[..., tuple[int, list[str]]], host: Host, ctx: RunContext, services: list[Service]
) -> TargetState:
    """What a target says of services over one connection: `Second.run`, or `channel.run` for the host's own.

    Raises:
        BrokenError: the connection.
        StateError: an answer that makes no sense.
    """
    forget(host)
    _, lines = over(state_script.script(services), sudo=ctx.fleet(host).target.sudo, timeout=RETRY_SECONDS)
    return state_parser.parse(lines, services)


def _connected(host: Host) -> bool:
    end = time.monotonic() + RETRY_SECONDS
    while time.monotonic() < end:
        time.sleep(0.5)
        if reconnect(host):
            return True
    return False


def retake_lost_leases(state: State, ctx: RunContext) -> None:
    """Take leases again that were lost with their connections, where a release waits to be confirmed.

    Without news of the run such a target goes back by itself. One that cannot be reached is asked again next time.
    """
    provisional = TargetPhase.PROVISIONAL
    waiting = {name for (name, _), outcome in ctx.run.outcomes.items() if outcome.phase is provisional}
    lost = [host for host in ctx.targets if host.name in waiting and lease.lost(host) and not lease.fenced(host)]
    if lost:
        gevent.joinall([gevent.spawn(_retake_lease, state, host, ctx) for host in lost])


def _retake_lease(state: State, host: Host, ctx: RunContext) -> None:
    if lease.lost(host) is None or lease.fenced(host) is not None:
        return
    with ctx_host.use(host):
        acquire(state, host, ctx)
