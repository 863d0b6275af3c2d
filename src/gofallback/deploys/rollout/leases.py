"""The run's leases: taken first, on each of its targets; given back by the end of the connection.

With an etcd URL in `rollout.lease` the run takes one lease there before any on a target (docs/leases.md).
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
    """Whether this run takes the lease of a target. A run that changes one target takes the leases of all.

    Otherwise two runs that change different targets, such as a rollout and the abort of another, would each report the
    other's targets as unchanged.
    """
    return changes_anything(ctx) and bool(ctx.services(host))


@operation()
def lease(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """Take the lease of every service this run handles on a target.

    + ctx: the run and its hosts
    """
    host = ctx.host
    if lease_needed(ctx, host):
        yield FunctionCommand(_take_first, (ctx,), {})
    else:
        host.noop("nothing changes, so no lease is taken")


def ensure_held(ctx: RunContext, host: Host) -> bool:
    """Whether this run holds a target's lease. A lease that was lost with its connection is taken again, if free."""
    if target.is_held(host):
        return True
    lost = target.lost(host)
    if lost is not None:
        host.log_styled(f"lease: lost with its connection ({lost}), taken again", fg="yellow")
    problem = _take(ctx, host)
    if problem is not None:
        _report_no_lease(ctx, host, problem)
    return problem is None


def _take_first(state: State, host: Host, ctx: RunContext) -> bool:
    _watch(ctx)
    problem = etcd_lease.take(ctx) or _take(ctx, host)
    if problem is not None:
        ctx.run.refused = ctx.run.refused or f"{host.name}: {problem}"
        _report_no_lease(ctx, host, problem)
    return problem is None


def _watch(ctx: RunContext) -> None:
    """Stop this run everywhere once another run has taken over any of its targets."""

    def overtaken() -> str | None:
        fences = ((host.name, target.fenced(host)) for host in ctx.targets)
        return next((f"{name}: {reason}" for name, reason in fences if reason), None)

    ctx.once(_WATCHED, lambda: ctx.watchers.append(overtaken))


def _take(ctx: RunContext, host: Host) -> str | None:
    """Take the leases of a target, and check the plan; the problem, or None."""
    return acquire(ctx, host) or _changed_since_planned(ctx, host)


def acquire(ctx: RunContext, host: Host) -> str | None:
    """Take the leases of a target, or take them again; the problem, or None."""
    fleet = ctx.fleet(host)
    try:
        target.acquire(
            ctx.state,
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


def _report_no_lease(ctx: RunContext, host: Host, problem: str) -> None:
    host.log_styled(f"lease: {problem}", fg="red")
    for service in ctx.services(host):
        outcome = ctx.run.outcome(host.name, service.name)
        if outcome.phase is TargetPhase.PLANNED:
            ctx.run.set_phase(outcome, TargetPhase.UNTOUCHED, problem)
        ctx.run.set_first_cause(problem, host=host.name, service=service.name)


def _changed_since_planned(ctx: RunContext, host: Host) -> str | None:
    """What another run changed on a target after this run was planned, or None."""
    try:
        found = _settled_state(ctx, host)
    except PyinfraError as error:
        return str(error)
    for service in ctx.services(host):
        now, planned = found.services[service.name].current, ctx.run.outcome(host.name, service.name).live
        if now != planned:
            return (
                f"{service.name}: {now or 'nothing'} is live, it was {planned or 'nothing'} when this run was planned; "
                "nothing was changed, run again"
            )
    return None


def _settled_state(ctx: RunContext, host: Host) -> TargetState:
    """The state of a target after the end of the activation that a run which was taken over had started there.

    That run is fenced and starts nothing more. Its activation ends by itself.
    """
    deadline = time.monotonic() + ctx.fleet(host).rollout.activate_timeout
    logged = False
    while True:
        found = state_of(ctx, host, refresh=True)
        busy = [(name, one.activating) for name, one in found.services.items() if one.activating is not None]
        if not busy or not ctx.run.options.takeover or time.monotonic() > deadline:
            return found
        if not logged:
            name, release = busy[0]
            host.log(f"{name}: {release} is being activated here; waiting until that ends")
            logged = True
        gevent.sleep(0.5)
