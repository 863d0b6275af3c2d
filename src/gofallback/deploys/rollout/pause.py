"""The pause between two waves: so many seconds, or until a person says go on. Every lease is renewed meanwhile."""

from __future__ import annotations

from pathlib import Path

import gevent
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.controller import manual_gate
from gofallback.deploys.rollout import waves
from gofallback.deploys.rollout.reconnect import retake_lost_leases
from gofallback.deploys.rollout.waves import Step
from gofallback.deploys.run.context import RunContext

#: Seconds between two looks whether the run still may go on.
_LOOK = 0.5


def pause(state: State, host: Host, ctx: RunContext, step: Step) -> bool:
    """Step: the first target to come here waits for the whole run; the others wait for it."""
    with ctx.lock:
        done = ctx.memo.setdefault("paused", set())
        if step.wave.number in done:
            return True
        done.add(step.wave.number)
        waves.end_wave(ctx, step.wave)
        wanted = waves.strategy(ctx).pause
        if waves.stop_reason(ctx) is not None or not _more(ctx):
            return True
        if wanted == "ask":
            _ask(state, host, ctx, step)
        else:
            ctx.run.tell("pause", wave=step.wave.name, seconds=wanted)
            host.log(f"{step.wave.name} passed; the next wave follows in {wanted:g} s")
            _wait(state, ctx, float(wanted))
            ctx.run.tell("continued", wave=step.wave.name)
    return True


def _more(ctx: RunContext) -> bool:
    return any(outcome.state == "planned" for outcome in ctx.run.outcomes.values())


def _wait(state: State, ctx: RunContext, seconds: float) -> None:
    end = ctx.run.elapsed + seconds
    while (left := end - ctx.run.elapsed) > 0 and waves.stop_reason(ctx) is None:
        retake_lost_leases(state, ctx)
        gevent.sleep(min(_LOOK, left))


def _heard(state: State, ctx: RunContext, folder: Path, seconds: float) -> manual_gate.GateAnswer | None:
    """A person's word; None when none came in time, or when the run may not go on whatever is said."""
    end, said = ctx.run.elapsed + seconds, None
    while said is None and (left := end - ctx.run.elapsed) > 0 and waves.stop_reason(ctx) is None:
        retake_lost_leases(state, ctx)
        said = manual_gate.wait_for_answer(folder, min(_LOOK, left))
    return said


def _ask(state: State, host: Host, ctx: RunContext, step: Step) -> None:
    limit = waves.strategy(ctx).pause_timeout
    folder = ctx.run.home.run(ctx.run.id)
    ctx.run.tell("pause", wave=step.wave.name, ask=True, timeout=limit)
    try:
        manual_gate.open_gate(folder, f"{step.wave.name} passed; go on with the next wave?")
    except manual_gate.GateError as error:
        ctx.memo["stop"] = f"{error}, after {step.wave.name}"
        ctx.run.cause = ctx.run.cause or ctx.memo["stop"]
        return
    host.log_styled(
        f"{step.wave.name} passed; waiting for a word, {limit} s at most: "
        f"gofallback continue {ctx.run.id}  (or: gofallback stop {ctx.run.id})",
        fg="cyan",
    )
    try:
        said = _heard(state, ctx, folder, limit)
    finally:
        manual_gate.close_gate(folder)
    if said is not None and said.word == "continue":
        ctx.run.tell("continued", wave=step.wave.name, by=said.who)
        host.log(f"{said.who} said go on")
        return
    if said is None and waves.stop_reason(ctx) is not None:
        return
    reason = f"{said.who} said stop" if said else f"nobody said go on within {limit} s (rollout.pause_timeout)"
    ctx.memo["stop"] = f"{reason}, after {step.wave.name}"
    ctx.run.cause = ctx.run.cause or ctx.memo["stop"]
