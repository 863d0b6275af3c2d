"""Stage `confirm`: the verdict over the whole fleet, over new connections. Past the budget every target goes back."""

from __future__ import annotations

import time
from collections.abc import Generator

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys.rollout import switch, waves
from gofallback.deploys.rollout.plan import changes_anything
from gofallback.deploys.rollout.reconnect import RETRY_SECONDS, read_state, read_state_over
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.stage import stage
from gofallback.deploys.run.target_state import health_problem
from gofallback.journal.events import VerdictReached
from gofallback.model import Service
from gofallback.operations.target import lease
from gofallback.operations.target.channel import BrokenError, SecondConnection
from gofallback.release.state import TargetState
from gofallback.release.state_parser import StateError
from gofallback.rollout import decide
from gofallback.rollout.decide import Decision
from gofallback.rollout.phases import GOOD, TargetPhase

#: Seconds on top of its window for which a lost target is waited for: to go back, and to be read.
_GRACE = 15.0


@stage("confirm", "targets")
def confirm(ctx: RunContext, host: Host) -> None:
    """Check every target once more over a new connection; then all are confirmed, or all go back."""
    recheck(name="check again", ctx=ctx)
    verdict(name="verdict", ctx=ctx)
    lost(name="lost targets", ctx=ctx)


@operation()
def recheck(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """Check over a new connection whether the release is live and healthy on one target; if not, it goes back.

    + ctx: the run and its hosts
    """
    if _concerned(ctx):
        yield FunctionCommand(_recheck, (ctx,), {})


@operation()
def verdict(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """Confirm what this run switched on one target, or put it back when too much failed anywhere.

    + ctx: the run and its hosts
    """
    if _concerned(ctx):
        yield FunctionCommand(_verdict, (ctx,), {})


@operation()
def lost(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """Wait for a target that was lost on the way: it goes back by itself when its window lapses.

    + ctx: the run and its hosts
    """
    if changes_anything(ctx):
        yield FunctionCommand(_wait_for_lost, (ctx,), {})


def _concerned(ctx: RunContext) -> bool:
    """Whether this run changes anything on the target that is planned; logs what stays as it is."""
    outcomes = [ctx.run.outcome(ctx.host.name, service.name) for service in ctx.services(ctx.host)]
    for outcome in outcomes:
        if outcome.phase is TargetPhase.UNCHANGED:
            ctx.host.noop(f"{outcome.service}: {outcome.live} is live and healthy")
    return any(outcome.phase is not TargetPhase.UNCHANGED for outcome in outcomes)


def _recheck(state: State, host: Host, ctx: RunContext) -> bool:
    """The target's own report decides, not what this run remembers."""
    switched = ctx.services_in(host, TargetPhase.PROVISIONAL, TargetPhase.CONFIRMED, TargetPhase.TAKEN_BACK)
    if not switched or waves.stop_reason(ctx) is not None:
        return True
    try:
        found = _read_state(ctx, host)
    except (BrokenError, StateError) as error:
        for service in switched:
            ctx.mark_lost(host, service.name, f"cannot be reached for the confirmation: {error}")
        return ctx.run.outcome(host.name, switched[0].name).lost
    for service in switched:
        outcome, now = ctx.run.outcome(host.name, service.name), found.services[service.name]
        settled = outcome.phase in GOOD  # a rollback: the target has recorded its end, which is not undone
        reason = now.health_problem(outcome.release) if settled else health_problem(found, service, outcome.release)
        outcome.live, outcome.healthy = now.current, reason is None
        if reason is None:
            continue
        if settled:
            return ctx.fail(host, service.name, f"not confirmed: {reason}")
        ctx.run.set_first_cause(reason, host=host.name, service=service.name)
        return switch.roll_back(ctx, host, f"not confirmed: {reason}")
    return True


def _read_state(ctx: RunContext, host: Host) -> TargetState:
    """The state of a target now, read over a second connection where a release is to be confirmed."""
    if switch.confirm_window(ctx, host) == 0:
        return read_state(ctx, host)
    end = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            return read_state_over(_connection(ctx, host).run, ctx, host, ctx.services(host))
        except BrokenError:
            ctx.second_connections.pop(host.name, None)
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _connection(ctx: RunContext, host: Host) -> SecondConnection:
    if host.name not in ctx.second_connections:
        second = SecondConnection(ctx.state, host)
        second.__enter__()
        ctx.second_connections[host.name] = second
    return ctx.second_connections[host.name]


_DECISION: Key[Decision] = Key("decision")


def decision(ctx: RunContext) -> Decision:
    """What becomes of the provisional targets. Decided once, after every target was read again."""
    return ctx.once(_DECISION, lambda: _decide(ctx))


def _decide(ctx: RunContext) -> Decision:
    for wave in waves.planned_waves(ctx):
        waves.end_wave(ctx, wave)
    made = decide.decide(waves.target_phases(ctx), waves.stop_reason(ctx), waves.strategy(ctx).revert)
    ctx.decision = made
    if made.confirm or made.back:
        ctx.run.emit(VerdictReached(confirm=made.confirm, back=made.back, reason=made.reason))
    if made.reason:
        ctx.run.cause = made.reason  # not an earlier failure within the budget, which stopped nothing
    return made


def _verdict(state: State, host: Host, ctx: RunContext) -> bool:
    made = decision(ctx)
    if host.name in made.back:
        return switch.roll_back(ctx, host, made.reason)
    if host.name not in made.confirm:
        return True
    provisional = ctx.services_in(host, TargetPhase.PROVISIONAL)
    try:
        via = _connection(ctx, host)
    except BrokenError as error:
        for service in provisional:
            ctx.mark_lost(host, service.name, f"cannot be reached for the confirmation: {error}")
        return True
    results = [switch.confirm(ctx, host, service, via) for service in provisional]
    return all(results) or any(ctx.run.outcome(host.name, service.name).lost for service in provisional)


def _wait_for_lost(state: State, host: Host, ctx: RunContext) -> bool:
    """Wait until the target answers or its time is up. Its answer counts, whatever this run assumed before."""
    _close(ctx, host)
    missing = ctx.services_in(host, TargetPhase.LOST)
    if not missing:
        return True
    # Stop renewing the lease: each renewal extends the window, and the target would never go back.
    lease.release(ctx.state, host)
    limit = _time_left(ctx, host, missing)
    host.log_styled(
        f"lost on the way; the target ends the switch by itself, waiting {limit:.0f} s at most to see it", fg="yellow"
    )
    end = time.monotonic() + limit
    while missing and time.monotonic() < end:
        try:
            with SecondConnection(ctx.state, host) as second:
                found = read_state_over(second.run, ctx, host, missing)
        except (BrokenError, StateError):
            time.sleep(1.0)
            continue
        missing = [one for one in missing if not ctx.resolve_lost(host, one.name, found.services[one.name])]
        if missing:
            time.sleep(1.0)
    # A target whose confirmation arrived, and whose answer alone was lost, has not failed.
    return not missing and all(ctx.run.outcome(host.name, service.name).phase in GOOD for service in ctx.services(host))


def _time_left(ctx: RunContext, host: Host, missing: list[Service]) -> float:
    """Seconds until a lost target must have gone back, counted from its loss, and a little more to read it."""
    alone = switch.confirm_window(ctx, host) + max(one.health.start_deadline for one in missing) + _GRACE
    since = min(ctx.run.outcome(host.name, one.name).lost_since for one in missing)
    return max(_GRACE, alone - (ctx.run.elapsed - since))


def _close(ctx: RunContext, host: Host) -> None:
    second = ctx.second_connections.pop(host.name, None)
    if second is not None:
        second.__exit__(None, None, None)
