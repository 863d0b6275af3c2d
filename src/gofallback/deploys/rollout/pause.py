"""The pause between two waves: for some seconds, or until a person answers. Every lease is renewed meanwhile."""

from __future__ import annotations

from pathlib import Path

import gevent
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.controller import manual_gate
from gofallback.deploys.rollout.reconnect import retake_lost_leases
from gofallback.deploys.rollout.waves import Step, end_wave, stop_reason, strategy
from gofallback.deploys.run.context import Key, RunContext
from gofallback.journal.events import PauseBegan, PauseEnded
from gofallback.rollout.phases import TargetPhase

#: Seconds between two checks whether the run may still go on.
_POLL = 0.5
_PAUSED: Key[None] = Key("pause after a wave")


def pause(state: State, host: Host, ctx: RunContext, step: Step) -> bool:
    """Step: pause once for the whole run. The first target that gets here waits; the others wait for it."""
    ctx.once(_PAUSED(step.wave.number), lambda: _pause(ctx, host, step))
    return True


def _pause(ctx: RunContext, host: Host, step: Step) -> None:
    end_wave(ctx, step.wave)
    seconds = strategy(ctx).pause
    if stop_reason(ctx) is not None or not _more_to_switch(ctx):
        return
    if seconds == "ask":
        _wait_for_person(ctx, host, step)
        return
    ctx.run.emit(PauseBegan(wave=step.wave.name, seconds=seconds))
    host.log(f"{step.wave.name} passed; the next wave follows in {seconds:g} s")
    _wait(ctx, float(seconds))
    ctx.run.emit(PauseEnded(wave=step.wave.name))


def _more_to_switch(ctx: RunContext) -> bool:
    return any(outcome.phase is TargetPhase.PLANNED for outcome in ctx.run.outcomes.values())


def _wait(ctx: RunContext, seconds: float) -> None:
    end = ctx.run.elapsed + seconds
    while (left := end - ctx.run.elapsed) > 0 and stop_reason(ctx) is None:
        retake_lost_leases(ctx)
        gevent.sleep(min(_POLL, left))


def _wait_for_answer(ctx: RunContext, folder: Path, seconds: float) -> manual_gate.GateAnswer | None:
    """A person's answer; None when none came in time, or when the run has to stop whatever the answer is."""
    end, answer = ctx.run.elapsed + seconds, None
    while answer is None and (left := end - ctx.run.elapsed) > 0 and stop_reason(ctx) is None:
        retake_lost_leases(ctx)
        answer = manual_gate.wait_for_answer(folder, min(_POLL, left))
    return answer


def _wait_for_person(ctx: RunContext, host: Host, step: Step) -> None:
    limit = strategy(ctx).pause_timeout
    folder = ctx.run.home.run(ctx.run.id)
    ctx.run.emit(PauseBegan(wave=step.wave.name, ask=True, timeout=limit))
    try:
        manual_gate.open_gate(folder, f"{step.wave.name} passed; go on with the next wave?")
    except manual_gate.GateError as error:
        ctx.run.veto(f"{error}, after {step.wave.name}")
        return
    host.log_styled(
        f"{step.wave.name} passed; waiting for an answer, {limit} s at most: "
        f"gofallback continue {ctx.run.id}  (or: gofallback stop {ctx.run.id})",
        fg="cyan",
    )
    try:
        answer = _wait_for_answer(ctx, folder, limit)
    finally:
        manual_gate.close_gate(folder)
    if answer is not None and answer.answer == "continue":
        ctx.run.emit(PauseEnded(wave=step.wave.name, by=answer.who))
        host.log(f"{answer.who} answered: continue")
        return
    if answer is None and stop_reason(ctx) is not None:
        return
    reason = f"{answer.who} answered: stop" if answer else f"no answer within {limit} s (rollout.pause_timeout)"
    ctx.run.veto(f"{reason}, after {step.wave.name}")
