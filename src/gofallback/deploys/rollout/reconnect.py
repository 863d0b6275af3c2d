"""A connection that broke between two waves is made anew, and its leases are taken again."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import gevent
from pyinfra.api.host import Host
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

#: Seconds for which a target that does not answer is retried.
RETRY_SECONDS = 10.0


def read_state(ctx: RunContext, host: Host) -> TargetState:
    """The state of a target now. A broken connection is made anew first, so that it alone makes no target lost.

    No fact of pyinfra's is used: a host that does not answer a fact is failed, and left out of all that follows, also
    of being waited for (pyinfra 3.10, api/facts.py).

    Raises:
        BrokenError: no answer, and no new connection within `RETRY_SECONDS` seconds, or no answer over that either.
        StateError: the answer cannot be parsed.
    """
    over = partial(run, ctx.state, host)
    services = ctx.services(host)
    try:
        return read_state_over(over, ctx, host, services)
    except BrokenError:
        if not _connected(host):
            raise
    _retake_lease(ctx, host)
    return read_state_over(over, ctx, host, services)


def read_state_over(
    over: Callable[..., tuple[int, list[str]]], ctx: RunContext, host: Host, services: list[Service]
) -> TargetState:
    """The state of services on a target, read over one connection.

    Args:
        over: `SecondConnection.run`, or `channel.run` for the host's own connection.
        ctx: the run.
        host: the target.
        services: the services to read.

    Raises:
        BrokenError: the connection.
        StateError: the answer cannot be parsed.
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


def retake_lost_leases(ctx: RunContext) -> None:
    """Take leases again that were lost with their connections, on targets whose release is provisional.

    Without a renewal such a target goes back by itself. A target that cannot be reached is tried again next time.
    """
    provisional = {name for (name, _), outcome in ctx.run.outcomes.items() if outcome.phase is TargetPhase.PROVISIONAL}
    lost = [host for host in ctx.targets if host.name in provisional and lease.lost(host) and not lease.fenced(host)]
    if lost:
        gevent.joinall([gevent.spawn(_retake_lease, ctx, host) for host in lost])


def _retake_lease(ctx: RunContext, host: Host) -> None:
    if lease.lost(host) is None or lease.fenced(host) is not None:
        return
    with ctx_host.use(host):
        acquire(ctx, host)
