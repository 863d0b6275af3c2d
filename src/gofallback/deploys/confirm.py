"""Confirm: the verdict over the whole fleet. One failure, and every target goes back to the release it had."""

from __future__ import annotations

import time
from collections.abc import Generator

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys._site import Site
from gofallback.deploys._stage import stage
from gofallback.deploys._switch import put_back
from gofallback.deploys._wanted import state_of
from gofallback.deploys._waves import failure
from gofallback.model import Service
from gofallback.operations.channel import reconnect
from gofallback.release.state import ServiceState

#: Seconds for which a target that does not answer is asked again.
_PATIENCE = 10.0


@stage("confirm", "targets")
def confirm(here: Site, host: Host) -> None:
    """Look once more at what was switched; where one is not well, put all back."""
    for service in host.loop(here.services(host)):
        look(name=service.name, here=here, service=service)
    verdict(name="the whole fleet", here=here)


@operation()
def look(here: Site, service: Service) -> Generator[FunctionCommand, None, None]:
    """Ask one target once more whether the release is live and healthy; if not, it goes back.

    + here: the run and its hosts
    + service: which one
    """
    if not _unchanged(here, service):
        yield FunctionCommand(_look, (here, service), {})


@operation()
def verdict(here: Site) -> Generator[FunctionCommand, None, None]:
    """Put everything this run switched on one target back when something failed anywhere.

    + here: the run and its hosts
    """
    if not all(_unchanged(here, service) for service in here.services(here.host)):
        yield FunctionCommand(_verdict, (here,), {})


def _unchanged(here: Site, service: Service) -> bool:
    outcome = here.run.outcome(here.host.name, service.name)
    if outcome.state == "unchanged":
        here.host.noop(f"{service.name}: {outcome.live} is live and healthy")
    return outcome.state == "unchanged"


def _look(state: State, host: Host, here: Site, service: Service) -> bool:
    """The release is judged by what the target says now, not by what this run remembers."""
    outcome = here.run.outcome(host.name, service.name)
    if outcome.state != "confirmed" or failure(here):
        return True
    try:
        found = _ask(here, host, service)
    except PyinfraError as error:
        # It was healthy when it was last heard of: no reason to put the others back.
        outcome.healthy, outcome.reason = None, f"switched and healthy, but it cannot be confirmed: {error}"
        host.log_styled(f"{service.name}: {outcome.reason}", fg="red")
        return False
    outcome.live = found.current
    outcome.healthy = found.health.healthy if found.health else None
    if found.current == outcome.release and outcome.healthy:
        return True
    why = found.health.reason if found.health else "no answer to the health check"
    reason = f"not confirmed: {found.current or 'nothing'} is live, {why}"
    here.fail(host, service.name, reason)
    for other in here.services(host):
        known = here.run.outcome(host.name, other.name)
        if other.name == service.name or known.state == "confirmed":
            put_back(
                state, host, here, other, f"{service.name} on {host.name}: {reason}", own=other.name == service.name
            )
    return False


def _ask(here: Site, host: Host, service: Service) -> ServiceState:
    """Its state now; a connection that broke meanwhile is made again."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return state_of(here, host, refresh=True).services[service.name]
        except PyinfraError:
            if time.monotonic() > deadline:
                raise
        while not reconnect(host) and time.monotonic() < deadline:
            time.sleep(0.5)


def _verdict(state: State, host: Host, here: Site) -> bool:
    reason, good = failure(here), True
    for service in here.services(host) if reason else ():
        if here.run.outcome(host.name, service.name).state == "confirmed":
            # all of them in one step: pyinfra leaves a host that failed out of every later one
            good = put_back(state, host, here, service, str(reason)) and good
    return good
