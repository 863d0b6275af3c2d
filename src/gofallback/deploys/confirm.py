"""Confirm: the verdict over the whole fleet, told over new connections. Past the budget every target goes back."""

from __future__ import annotations

import time
from collections.abc import Generator

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys.rollout import switch, waves
from gofallback.deploys.rollout.plan import anything
from gofallback.deploys.rollout.reconnect import PATIENCE, asked, told
from gofallback.deploys.run.context import Site
from gofallback.deploys.run.stage import stage
from gofallback.deploys.run.target_state import unwell
from gofallback.model import Service
from gofallback.operations.target import lease
from gofallback.operations.target.channel import BrokenError, Second
from gofallback.release.state import TargetState
from gofallback.release.state_parser import StateError
from gofallback.rollout import decide
from gofallback.rollout.decide import Decision

#: Seconds beyond its window that a lost target is given to go back and to be seen.
_GRACE = 15.0


@stage("confirm", "targets")
def confirm(here: Site, host: Host) -> None:
    """Look at every target once more over a new connection; then all are confirmed, or all go back."""
    look(name="look again", here=here)
    verdict(name="the whole fleet", here=here)
    lost(name="who was lost", here=here)


@operation()
def look(here: Site) -> Generator[FunctionCommand, None, None]:
    """Ask one target, over a new connection, whether the release is live and healthy; if not, it goes back.

    + here: the run and its hosts
    """
    if _concerned(here):
        yield FunctionCommand(_look, (here,), {})


@operation()
def verdict(here: Site) -> Generator[FunctionCommand, None, None]:
    """Confirm what this run switched on one target, or put it back when too much failed anywhere.

    + here: the run and its hosts
    """
    if _concerned(here):
        yield FunctionCommand(_verdict, (here,), {})


@operation()
def lost(here: Site) -> Generator[FunctionCommand, None, None]:
    """Wait for a target that was lost on the way: it goes back by itself when its window lapses.

    + here: the run and its hosts
    """
    if anything(here):
        yield FunctionCommand(_lost, (here,), {})


def _concerned(here: Site) -> bool:
    outcomes = [here.run.outcome(here.host.name, service.name) for service in here.services(here.host)]
    for outcome in outcomes:
        if outcome.state == "unchanged":
            here.host.noop(f"{outcome.service}: {outcome.live} is live and healthy")
    return any(outcome.state != "unchanged" for outcome in outcomes)


def _switched(here: Site, host: Host) -> list[Service]:
    """Services whose release is live here because of this run, and not lost."""
    mine = []
    for service in here.services(host):
        outcome = here.run.outcome(host.name, service.name)
        if outcome.state in ("provisional", "confirmed") and not outcome.lost:
            mine.append(service)
    return mine


def _look(state: State, host: Host, here: Site) -> bool:
    """The release is judged by what the target says now, not by what this run remembers."""
    mine = _switched(here, host)
    if not mine or waves.halt(here) is not None:
        return True
    try:
        found = _ask(state, host, here)
    except (BrokenError, StateError) as error:
        for service in mine:
            here.lose(host, service.name, f"cannot be reached for the confirmation: {error}")
        return here.run.outcome(host.name, mine[0].name).lost
    for service in mine:
        outcome, now = here.run.outcome(host.name, service.name), found.services[service.name]
        settled = outcome.state == "confirmed"  # a rollback: written down already, and not undone
        reason = now.unwell(outcome.release) if settled else unwell(found, service, outcome.release)
        outcome.live, outcome.healthy = now.current, reason is None
        if reason is None:
            continue
        if settled:
            return here.fail(host, service.name, f"not confirmed: {reason}")
        here.run.blame(host.name, service.name, reason)
        return switch.put_back(state, host, here, here.services(host), f"not confirmed: {reason}")
    return True


def _ask(state: State, host: Host, here: Site) -> TargetState:
    """What the target says now; over a connection of its own where something is to be confirmed."""
    if switch.window(here, host) == 0:
        return told(state, host, here)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return asked(_connection(state, host, here).run, host, here, here.services(host))
        except BrokenError:
            here.memo.pop(f"second:{host.name}", None)
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _connection(state: State, host: Host, here: Site) -> Second:
    key = f"second:{host.name}"
    if key not in here.memo:
        second = Second(state, host)
        second.__enter__()
        here.memo[key] = second
    kept: Second = here.memo[key]
    return kept


def decision(here: Site) -> Decision:
    """What becomes of the provisional targets; decided once, when every target was looked at."""
    with here.lock:
        if "decision" not in here.memo:
            for wave in waves.plan(here):
                waves.end(here, wave)
            made = decide.decide(waves.standing(here), waves.halt(here), waves.strategy(here).revert)
            if made.confirm or made.back:
                here.run.tell("decision", confirm=list(made.confirm), back=list(made.back), reason=made.reason)
            if made.reason:
                here.run.cause = made.reason  # what stopped it; a failure within the budget before that did not
            here.memo["decision"] = made
        kept: Decision = here.memo["decision"]
        return kept


def _verdict(state: State, host: Host, here: Site) -> bool:
    made = decision(here)
    if host.name in made.back:
        return switch.put_back(state, host, here, here.services(host), made.reason)
    if host.name not in made.confirm:
        return True
    mine = [one for one in _switched(here, host) if here.run.outcome(host.name, one.name).state == "provisional"]
    try:
        via = _connection(state, host, here)
    except BrokenError as error:
        for service in mine:
            here.lose(host, service.name, f"cannot be reached for the confirmation: {error}")
        return True
    results = [switch.confirm(state, host, here, service, via) for service in mine]
    return all(results) or any(here.run.outcome(host.name, service.name).lost for service in mine)


def _lost(state: State, host: Host, here: Site) -> bool:
    """Until the target is seen again, or its time is up. What it says then counts, whatever was thought before."""
    _close(here, host)
    missing = [one for one in here.services(host) if here.run.outcome(host.name, one.name).lost]
    if not missing:
        return True
    lease.release(state, host)  # where only the connection was bad, its renewals would put the way back off for ever
    patience = _patience(here, host, missing)
    host.log_styled(f"lost on the way; it ends that by itself, waiting {patience:.0f} s at most to see it", fg="yellow")
    end = time.monotonic() + patience
    while missing and time.monotonic() < end:
        try:
            with Second(state, host) as second:
                found = asked(second.run, host, here, missing)
        except (BrokenError, StateError):
            time.sleep(1.0)
            continue
        missing = [one for one in missing if not here.found_again(host, one.name, found.services[one.name])]
        if missing:
            time.sleep(1.0)
    # One that was confirmed, and whose answer alone was lost, has not failed.
    states = {here.run.outcome(host.name, service.name).state for service in here.services(host)}
    return not missing and states <= {"confirmed", "unchanged"}


def _patience(here: Site, host: Host, missing: list[Service]) -> float:
    """Seconds until a target that was lost must have gone back, since it was lost; and a little to see it."""
    alone = switch.window(here, host) + max(one.health.start_deadline for one in missing) + _GRACE
    since = min(here.run.outcome(host.name, one.name).lost_since for one in missing)
    return max(_GRACE, alone - (here.run.elapsed - since))


def _close(here: Site, host: Host) -> None:
    second = here.memo.pop(f"second:{host.name}", None)
    if second is not None:
        second.__exit__(None, None, None)
