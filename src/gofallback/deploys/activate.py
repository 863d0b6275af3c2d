"""Activate: the target switches, restarts, checks and, if it must, goes back, all by itself. Canaries first."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys import _release_plan as plan
from gofallback.deploys import _rollback_plan as back
from gofallback.deploys._site import Site
from gofallback.deploys._stage import stage
from gofallback.deploys._waves import canaries, halt
from gofallback.model import Service
from gofallback.operations import activate as target
from gofallback.release.activation import ActivationOutcome

SWITCHES = ("switch", "restart", "upload", "repair")


@dataclass(frozen=True)
class Switch:
    """One release to make live on one target."""

    service: Service
    release: str
    sha256: str | None
    needed: bool


@stage("activate", "targets")
def activate(here: Site, host: Host) -> None:
    """Switch the canaries, then the rest; stop at the first failure."""
    first = host in canaries(here)
    for switch in host.loop(_switches(here, host)):
        # Two call sites, so that pyinfra runs two operations, the canaries' before the others'.
        if first and len(here.targets) > 1:
            go_live(name=f"canary: {switch.service.name}", here=here, switch=switch)
        else:
            go_live(name=switch.service.name, here=here, switch=switch)


def _switches(here: Site, host: Host) -> list[Switch]:
    if here.run.command == "rollback":
        return [
            Switch(found.service, found.release, found.sha256, needed=found.needed)
            for found in back.candidates(here, host)
        ]
    switches = []
    for want in plan.wanted(here, host):
        needed = any(step.kind in SWITCHES for step in plan.changes(here, host, want))
        switches.append(Switch(want.service, want.files.id, None, needed=needed))
    return switches


@operation()
def go_live(here: Site, switch: Switch) -> Generator[FunctionCommand, None, None]:
    """Make one release live on one target, or have the target go back.

    + here: the run and its hosts
    + switch: what becomes live
    """
    if switch.needed:
        yield FunctionCommand(_go_live, (here, switch), {})
    else:
        here.host.noop(f"{switch.service.name}: {switch.release} is live and healthy")


def _go_live(state: State, host: Host, here: Site, switch: Switch) -> bool:
    reason = halt(here)
    if reason is not None:
        here.leave(host, switch.service.name, f"nothing was switched here, because of {reason}")
        return True  # this host did not fail; the one that did makes the exit status
    return start(state, host, here, switch, run_id=here.run.id)


def start(state: State, host: Host, here: Site, switch: Switch, *, run_id: str) -> bool:
    """Step: start an activation, follow it, and keep what became of it."""
    fleet = here.fleet(host)

    def begin() -> ActivationOutcome:
        return target.activate(
            state,
            host,
            switch.service.name,
            switch.service.home,
            switch.release,
            run_id=run_id,
            who=here.run.who,
            timeout=fleet.rollout.activate_timeout,
            sha256=switch.sha256,
            sudo=fleet.target.sudo,
        )

    return target.activate_step(state, host, begin, lambda outcome: _keep(here, host, switch, outcome))


def _keep(here: Site, host: Host, switch: Switch, found: ActivationOutcome) -> None:
    outcome = here.run.outcome(host.name, switch.service.name)
    outcome.release = switch.release
    outcome.live = found.live
    outcome.healthy = found.healthy
    outcome.seconds += found.seconds
    outcome.evidence = tuple(found.evidence)
    if found.ok:
        outcome.state, outcome.reason = "activated", None
    else:
        outcome.state = "reverted" if found.state == "reverted" else "failed"
        outcome.reason = target.describe(found)
