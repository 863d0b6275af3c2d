"""Confirm: the verdict over the whole fleet. One failure, and every target goes back to the release it had."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import FactError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys._site import Site
from gofallback.deploys._stage import stage
from gofallback.deploys._waves import halt
from gofallback.deploys.activate import Switch, start
from gofallback.facts.target import target_state
from gofallback.model import Service


@stage("confirm", "targets")
def confirm(here: Site, host: Host) -> None:
    """Look once more at what was switched, or put it back."""
    for service in host.loop(here.services(host)):
        verdict(name=service.name, here=here, service=service)


@operation()
def verdict(here: Site, service: Service) -> Generator[FunctionCommand, None, None]:
    """Confirm one service on one target, or put it back because another target failed.

    + here: the run and its hosts
    + service: which one
    """
    host = here.host
    outcome = here.run.outcome(host.name, service.name)
    if outcome.state == "unchanged":
        host.noop(f"{service.name}: {outcome.live} is live and healthy")
    else:
        yield FunctionCommand(_verdict, (here, service), {})


def _verdict(state: State, host: Host, here: Site, service: Service) -> bool:
    outcome = here.run.outcome(host.name, service.name)
    if outcome.state != "activated":
        return True
    reason = halt(here)
    if reason is not None:
        return _put_back(state, host, here, service, reason)
    return _look_again(host, here, service)


def _look_again(host: Host, here: Site, service: Service) -> bool:
    """The release is judged by what the target says now, not by what this run remembers."""
    outcome = here.run.outcome(host.name, service.name)
    try:
        sudo = here.fleet(host).target.sudo
        found = target_state(host, here.services(host), sudo=sudo, refresh=True).services[service.name]
    except FactError as error:
        return here.fail(host, service.name, f"activated, but it cannot be confirmed: {error}")
    outcome.live = found.current
    outcome.healthy = found.health.healthy if found.health else None
    if found.current != outcome.release or not outcome.healthy:
        why = found.health.reason if found.health else "no answer to the health check"
        return here.fail(host, service.name, f"not confirmed: {found.current} is live, {why}")
    return True


def _put_back(state: State, host: Host, here: Site, service: Service, reason: str) -> bool:
    outcome = here.run.outcome(host.name, service.name)
    if here.fleet(host).rollout.revert != "all":
        host.log_styled(f"{service.name}: stays on {outcome.live} (rollout.revert: failed)", fg="yellow")
        return True
    if outcome.previous is None or outcome.previous == outcome.release:
        here.run.notes.append(f"{host.name}: {service.name} has no earlier release to go back to; {outcome.live} stays")
        return True
    host.log_styled(f"{service.name}: back to {outcome.previous}, because of {reason}", fg="yellow")
    wanted = outcome.release
    switch = Switch(service, outcome.previous, None, needed=True)
    if start(state, host, here, switch, run_id=f"{here.run.id}-back"):
        outcome.state, outcome.release = "reverted", wanted
        outcome.reason = f"went back with the fleet, because of {reason}"
    return False  # a run that put a host back did not do what it was asked
