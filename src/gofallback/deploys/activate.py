"""Stage `activate`, wave after wave: each target switches, restarts, checks and, if it must, goes back by itself."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys.building.specs import services_in_use
from gofallback.deploys.rollout import waves
from gofallback.deploys.rollout.leases import ensure_held
from gofallback.deploys.rollout.pause import pause
from gofallback.deploys.rollout.plan import changes_anything, switches
from gofallback.deploys.rollout.reconnect import read_state
from gofallback.deploys.rollout.switch import Switch, roll_back, start
from gofallback.deploys.rollout.waves import Step
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage
from gofallback.deploys.run.target_state import health_problem
from gofallback.operations.target import lease
from gofallback.operations.target.channel import BrokenError
from gofallback.release.state_parser import StateError
from gofallback.rollout.phases import TargetPhase


@stage("activate", "targets")
def activate(ctx: RunContext, host: Host) -> None:
    """Switch wave after wave; between two waves, every target that was switched is checked again."""
    planned = {switch.service.name: switch for switch in switches(ctx, host)}
    names = tuple(service.name for service in services_in_use(ctx))
    reached: set[str] = set()
    # One call site: pyinfra orders operations by their line first, then by the place in the loop.
    for step in host.loop(waves.schedule(ctx, names)):
        reached |= set(step.wave.hosts)
        if host.name not in (step.wave.hosts if step.kind == "switch" else reached):
            continue
        if step.kind == "switch" and step.service not in planned:
            continue
        # pyinfra wants one figure for an operation on all hosts (add_op: "Cannot have different values").
        parallel = waves.strategy(ctx).parallel
        advance(name=_name(ctx, step), ctx=ctx, step=step, switch=planned.get(step.service), _parallel=parallel)


def _name(ctx: RunContext, step: Step) -> str:
    several = len(waves.planned_waves(ctx)) > 1
    what = {"switch": step.service, "gate": "gate", "pause": "pause", "recheck": "check again"}[step.kind]
    return f"{step.wave.name}: {what}" if several else what


@operation()
def advance(ctx: RunContext, step: Step, switch: Switch | None) -> Generator[FunctionCommand, None, None]:
    """Take one step of the schedule on one target.

    + ctx: the run and its hosts
    + step: a switch, a gate, a pause or a recheck
    + switch: what becomes live
    """
    if step.kind == "switch" and switch is not None:
        if switch.needed:
            yield FunctionCommand(_go_live, (ctx, step, switch), {})
        else:
            ctx.host.noop(f"{switch.service.name}: {switch.release} is live and healthy")
    elif changes_anything(ctx):
        yield FunctionCommand(pause if step.kind == "pause" else _gate, (ctx, step), {})


def _go_live(state: State, host: Host, ctx: RunContext, step: Step, switch: Switch) -> bool:
    name = switch.service.name
    reason = waves.stop_reason(ctx)
    if switch.how == "confirm":  # it is live already; where the run is stopped it goes back with the others
        if reason is None:
            waves.begin_wave(ctx, step.wave)
        return True
    if reason is not None:
        ctx.skip(host, name, f"nothing was switched here, because of {reason}")
        return True  # this host did not fail; the failed one decides the exit status
    failed = waves.failed_outcome(ctx, host)
    if failed is not None:
        ctx.skip(host, name, f"{failed.service} {failed.phase} here before its turn")
        return True
    waves.begin_wave(ctx, step.wave)
    if not ensure_held(ctx, host):
        return _without_lease(ctx, host)
    # The artifact's hash, known by now: the target compares the bytes with it, not with the release's own manifest.
    sha256 = switch.sha256 or ctx.run.outcome(host.name, name).sha256
    return start(ctx, host, replace(switch, sha256=sha256))


def _without_lease(ctx: RunContext, host: Host) -> bool:
    """A provisional release here cannot be confirmed without the lease. It is lost, unless another run took over.

    Returns:
        Whether anything here is lost. A failed target is left out of what follows, and would not be waited for.
    """
    if lease.fenced(host) is None:
        for service in ctx.services_in(host, TargetPhase.PROVISIONAL):
            ctx.mark_lost(host, service.name, "its lease was lost, and could not be taken again")
    return bool(ctx.services_in(host, TargetPhase.LOST))


def _gate(state: State, host: Host, ctx: RunContext, step: Step) -> bool:
    """Check that the release is still healthy on a target that has it: later waves may have changed that."""
    if waves.stop_reason(ctx) is not None or waves.failed_outcome(ctx, host) is not None:
        return True
    provisional = ctx.services_in(host, TargetPhase.PROVISIONAL)
    if not provisional:
        return True
    try:
        found = read_state(ctx, host)
    except (BrokenError, StateError) as error:
        for service in provisional:
            ctx.mark_lost(host, service.name, str(error))
        return True
    for service in provisional:
        reason = health_problem(found, service, ctx.run.outcome(host.name, service.name).release)
        if reason is not None:
            ctx.run.set_first_cause(reason, host=host.name, service=service.name)
            host.log_styled(f"{service.name}: gate of {step.wave.name}: {reason}", fg="red")
            return roll_back(ctx, host, reason)
    return True
