"""The pause between two waves: so many seconds, or until a person says go on. Every lease is renewed meanwhile."""

from __future__ import annotations

from pathlib import Path

import gevent
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.controller import manual_gate
from gofallback.deploys.rollout import waves
from gofallback.deploys.rollout.reconnect import keep_leases
from gofallback.deploys.rollout.waves import Step
from gofallback.deploys.run.context import Site

#: Seconds between two looks whether the run still may go on.
_LOOK = 0.5


def pause(state: State, host: Host, here: Site, step: Step) -> bool:
    """Step: the first target to come here waits for the whole run; the others wait for it."""
    with here.lock:
        done = here.memo.setdefault("paused", set())
        if step.wave.number in done:
            return True
        done.add(step.wave.number)
        waves.end(here, step.wave)
        wanted = waves.strategy(here).pause
        if waves.halt(here) is not None or not _more(here):
            return True
        if wanted == "ask":
            _ask(state, host, here, step)
        else:
            here.run.tell("pause", wave=step.wave.name, seconds=wanted)
            host.log(f"{step.wave.name} passed; the next wave follows in {wanted:g} s")
            _wait(state, here, float(wanted))
            here.run.tell("continued", wave=step.wave.name)
    return True


def _more(here: Site) -> bool:
    return any(outcome.state == "planned" for outcome in here.run.outcomes.values())


def _wait(state: State, here: Site, seconds: float) -> None:
    end = here.run.elapsed + seconds
    while (left := end - here.run.elapsed) > 0 and waves.halt(here) is None:
        keep_leases(state, here)
        gevent.sleep(min(_LOOK, left))


def _heard(state: State, here: Site, folder: Path, seconds: float) -> manual_gate.Word | None:
    """A person's word; None when none came in time, or when the run may not go on whatever is said."""
    end, said = here.run.elapsed + seconds, None
    while said is None and (left := end - here.run.elapsed) > 0 and waves.halt(here) is None:
        keep_leases(state, here)
        said = manual_gate.wait_for_word(folder, min(_LOOK, left))
    return said


def _ask(state: State, host: Host, here: Site, step: Step) -> None:
    limit = waves.strategy(here).pause_timeout
    folder = here.run.home.run(here.run.id)
    here.run.tell("pause", wave=step.wave.name, ask=True, timeout=limit)
    try:
        manual_gate.ask(folder, f"{step.wave.name} passed; go on with the next wave?")
    except manual_gate.WordError as error:
        here.memo["stop"] = f"{error}, after {step.wave.name}"
        here.run.cause = here.run.cause or here.memo["stop"]
        return
    host.log_styled(
        f"{step.wave.name} passed; waiting for a word, {limit} s at most: "
        f"gofallback continue {here.run.id}  (or: gofallback stop {here.run.id})",
        fg="cyan",
    )
    try:
        said = _heard(state, here, folder, limit)
    finally:
        manual_gate.done(folder)
    if said is not None and said.word == "continue":
        here.run.tell("continued", wave=step.wave.name, by=said.who)
        host.log(f"{said.who} said go on")
        return
    if said is None and waves.halt(here) is not None:
        return
    reason = f"{said.who} said stop" if said else f"nobody said go on within {limit} s (rollout.pause_timeout)"
    here.memo["stop"] = f"{reason}, after {step.wave.name}"
    here.run.cause = here.run.cause or here.memo["stop"]
