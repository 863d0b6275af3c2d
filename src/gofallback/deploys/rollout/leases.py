"""The run's leases: taken first, on each of its targets; given back by the end of the connection.

With an etcd URL in `rollout.lease` the run has one lease there before it asks a target (docs/leases.md).
"""

from __future__ import annotations

import time
from collections.abc import Generator

import gevent
from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys.rollout import etcd_lease
from gofallback.deploys.rollout.plan import changes_anything
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.operations.target import lease as target
from gofallback.release.state import TargetState
from gofallback.rollout.phases import TargetPhase

_WATCHED: Key[None] = Key("leases are watched")


def lease_needed(ctx: RunContext, host: Host) -> bool:
    """Whether this run takes the lease of a target: of each one, if it changes any.

    Two runs that change different targets, such as a rollout and the abort of another one, would else both call the
    other's targets unchanged.
    """
    return changes_anything(ctx) and bool(ctx.services(host))


@operation()
def lease(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """Take the lease of every service this run handles on a target.

    + ctx: the run and its hosts
    """
    host = ctx.host
    if lease_needed(ctx, host):
        yield FunctionCommand(_first, (ctx,), {})
    else:
        host.noop("nothing changes, so no lease is taken")


def ensure_held(state: State, host: Host, ctx: RunContext) -> bool:
    """Step: the lease is still ours. One that was lost with its connection is taken again, if nobody was faster."""
    if target.is_held(host):
        return True
    lost = target.lost(host)
    if lost is not None:
        host.log_styled(f"lease: lost with its connection ({lost}), taken again", fg="yellow")
    problem = _take(state, host, ctx)
    if problem is not None:
        _report_no_lease(ctx, host, problem)
    return problem is None


def _first(state: State, host: Host, ctx: RunContext) -> bool:
    _watch(ctx)
    problem = etcd_lease.take(ctx) or _take(state, host, ctx)
    if problem is not None:
        ctx.run.refused = ctx.run.refused or f"{host.name}: {problem}"
        _report_no_lease(ctx, host, problem)
    return problem is None


def _watch(ctx: RunContext) -> None:
    """A run that another one took over from on any target switches nothing more on any."""

    def overtaken() -> str | None:
        found = ((host.name, target.fenced(host)) for host in ctx.targets)
        return next((f"{name}: {reason}" for name, reason in found if reason), None)

    ctx.once(_WATCHED, lambda: ctx.watchers.append(overtaken))


def _take(state: State, host: Host, ctx: RunContext) -> str | None:
    """Why there is no lease; None: there is."""
    return acquire(state, host, ctx) or _changed_since_planned(host, ctx)


def acquire(state: State, host: Host, ctx: RunContext) -> str | None:
    """Take, or take again, the leases of a target; why they could not be had, or None."""
    fleet = ctx.fleet(host)
    try:
        target.acquire(
            state,
            host,
            [service.name for service in ctx.services(host)],
            ctx.run.id,
            ctx.run.who,
            ttl=fleet.rollout.lease_ttl,
            takeover=ctx.run.options.takeover,
            sudo=fleet.target.sudo,
            emit=ctx.run.emit,
        )
    except target.LeaseError as error:
        return str(error)
    return None


def _report_no_lease(ctx: RunContext, host: Host, why: str) -> None:
    host.log_styled(f"lease: {why}", fg="red")
    for service in ctx.services(host):
        outcome = ctx.run.outcome(host.name, service.name)
        if outcome.phase is TargetPhase.PLANNED:
            ctx.run.set_phase(outcome, TargetPhase.UNTOUCHED, why)
        ctx.run.blame(host.name, service.name, why)


def _changed_since_planned(host: Host, ctx: RunContext) -> str | None:
    """The plan is as old as the question whether to go on: another run may have been here since."""
    try:
        found = _settled_state(host, ctx)
    except PyinfraError as error:
        return str(error)
    for service in ctx.services(host):
        now, then = found.services[service.name].current, ctx.run.outcome(host.name, service.name).live
        if now != then:
            return (
                f"{service.name}: {now or 'nothing'} is live, it was {then or 'nothing'} when this run was planned; "
                "nothing was changed, run again"
            )
    return None


def _settled_state(host: Host, ctx: RunContext) -> TargetState:
    """What a target tells, once it has ended what a run that was taken over had begun there.

    That run is fenced and begins nothing more; what it began ends by itself, one way or the other.
    """
    deadline = time.monotonic() + ctx.fleet(host).rollout.activate_timeout
    told = False
    while True:
        found = state_of(ctx, host, refresh=True)
        busy = [(name, one.activating) for name, one in found.services.items() if one.activating is not None]
        if not busy or not ctx.run.options.takeover or time.monotonic() > deadline:
            return found
        if not told:
            name, release = busy[0]
            host.log(f"{name}: {release} is just being activated here; waiting for the end of that")
            told = True
        gevent.sleep(0.5)
