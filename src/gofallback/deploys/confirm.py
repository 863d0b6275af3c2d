"""Confirm: the verdict over the whole fleet, told over new connections. Past the budget every target goes back."""

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

#: Seconds beyond its window that a lost target is given to go back and to be seen.
_GRACE = 15.0


@stage("confirm", "targets")
def confirm(ctx: RunContext, host: Host) -> None:
    """Look at every target once more over a new connection; then all are confirmed, or all go back."""
    look(name="look again", ctx=ctx)
    verdict(name="the whole fleet", ctx=ctx)
    lost(name="who was lost", ctx=ctx)


@operation()
def look(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """Ask one target, over a new connection, whether the release is live and healthy; if not, it goes back.

    + ctx: the run and its hosts
    """
    if _concerned(ctx):
        yield FunctionCommand(_look, (ctx,), {})


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
        yield FunctionCommand(_lost, (ctx,), {})


def _concerned(ctx: RunContext) -> bool:
    outcomes = [ctx.run.outcome(ctx.host.name, service.name) for service in ctx.services(ctx.host)]
    for outcome in outcomes:
        if outcome.phase is TargetPhase.UNCHANGED:
            ctx.host.noop(f"{outcome.service}: {outcome.live} is live and healthy")
    return any(outcome.phase is not TargetPhase.UNCHANGED for outcome in outcomes)


def _switched(ctx: RunContext, host: Host) -> list[Service]:
    """Services whose release is live here because of this run, and not lost."""
    live = (TargetPhase.PROVISIONAL, TargetPhase.CONFIRMED, TargetPhase.TAKEN_BACK)
    return [service for service in ctx.services(host) if ctx.run.outcome(host.name, service.name).phase in live]


def _look(state: State, host: Host, ctx: RunContext) -> bool:
    """The release is judged by what the target says now, not by what this run remembers."""
    mine = _switched(ctx, host)
    if not mine or waves.stop_reason(ctx) is not None:
        return True
    try:
        found = _ask(state, host, ctx)
    except (BrokenError, StateError) as error:
        for service in mine:
            ctx.mark_lost(host, service.name, f"cannot be reached for the confirmation: {error}")
        return ctx.run.outcome(host.name, mine[0].name).lost
    for service in mine:
        outcome, now = ctx.run.outcome(host.name, service.name), found.services[service.name]
        settled = outcome.phase in GOOD  # a rollback: written down already, and not undone
        reason = now.health_problem(outcome.release) if settled else health_problem(found, service, outcome.release)
        outcome.live, outcome.healthy = now.current, reason is None
        if reason is None:
            continue
        if settled:
            return ctx.fail(host, service.name, f"not confirmed: {reason}")
        ctx.run.blame(host.name, service.name, reason)
        return switch.roll_back(state, host, ctx, ctx.services(host), f"not confirmed: {reason}")
    return True


def _ask(state: State, host: Host, ctx: RunContext) -> TargetState:
    """What the target says now; over a connection of its own where something is to be confirmed."""
    if switch.confirm_window(ctx, host) == 0:
        return read_state(state, host, ctx)
    end = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            return read_state_over(_connection(state, host, ctx).run, host, ctx, ctx.services(host))
        except BrokenError:
            ctx.second_connections.pop(host.name, None)
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _connection(state: State, host: Host, ctx: RunContext) -> SecondConnection:
    if host.name not in ctx.second_connections:
        second = SecondConnection(state, host)
        second.__enter__()
        ctx.second_connections[host.name] = second
    return ctx.second_connections[host.name]


_DECISION: Key[Decision] = Key("decision")


def decision(ctx: RunContext) -> Decision:
    """What becomes of the provisional targets; decided once, when every target was read again."""
    return ctx.once(_DECISION, lambda: _decide(ctx))


def _decide(ctx: RunContext) -> Decision:
    for wave in waves.planned_waves(ctx):
        waves.end_wave(ctx, wave)
    made = decide.decide(waves.target_phases(ctx), waves.stop_reason(ctx), waves.strategy(ctx).revert)
    ctx.decision = made
    if made.confirm or made.back:
        ctx.run.emit(VerdictReached(confirm=made.confirm, back=made.back, reason=made.reason))
    if made.reason:
        ctx.run.cause = made.reason  # what stopped it; a failure within the budget before that did not
    return made


def _verdict(state: State, host: Host, ctx: RunContext) -> bool:
    made = decision(ctx)
    if host.name in made.back:
        return switch.roll_back(state, host, ctx, ctx.services(host), made.reason)
    if host.name not in made.confirm:
        return True
    provisional = TargetPhase.PROVISIONAL
    mine = [one for one in ctx.services(host) if ctx.run.outcome(host.name, one.name).phase is provisional]
    try:
        via = _connection(state, host, ctx)
    except BrokenError as error:
        for service in mine:
            ctx.mark_lost(host, service.name, f"cannot be reached for the confirmation: {error}")
        return True
    results = [switch.confirm(state, host, ctx, service, via) for service in mine]
    return all(results) or any(ctx.run.outcome(host.name, service.name).lost for service in mine)


def _lost(state: State, host: Host, ctx: RunContext) -> bool:
    """Until the target is seen again, or its time is up. What it says then counts, whatever was thought before."""
    _close(ctx, host)
    missing = [one for one in ctx.services(host) if ctx.run.outcome(host.name, one.name).lost]
    if not missing:
        return True
    # Where only the connection was bad, renewals of the lease would put the way back off for ever.
    lease.release(state, host)
    limit = _time_left(ctx, host, missing)
    host.log_styled(f"lost on the way; it ends that by itself, waiting {limit:.0f} s at most to see it", fg="yellow")
    end = time.monotonic() + limit
    while missing and time.monotonic() < end:
        try:
            with SecondConnection(state, host) as second:
                found = read_state_over(second.run, host, ctx, missing)
        except (BrokenError, StateError):
            time.sleep(1.0)
            continue
        missing = [one for one in missing if not ctx.found_again(host, one.name, found.services[one.name])]
        if missing:
            time.sleep(1.0)
    # A target that was confirmed, and whose answer alone was lost, has not failed.
    return not missing and all(ctx.run.outcome(host.name, service.name).phase in GOOD for service in ctx.services(host))


def _time_left(ctx: RunContext, host: Host, missing: list[Service]) -> float:
    """Seconds until a target that was lost must have gone back, since it was lost; and a little to see it."""
    alone = switch.confirm_window(ctx, host) + max(one.health.start_deadline for one in missing) + _GRACE
    since = min(ctx.run.outcome(host.name, one.name).lost_since for one in missing)
    return max(_GRACE, alone - (ctx.run.elapsed - since))


def _close(ctx: RunContext, host: Host) -> None:
    second = ctx.second_connections.pop(host.name, None)
    if second is not None:
        second.__exit__(None, None, None)
