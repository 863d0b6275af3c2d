"""Activate: the target switches, restarts, checks and, if it must, goes back, all by itself. Canaries first."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys import _release_plan as plan
from gofallback.deploys import _rollback_plan as back
from gofallback.deploys._lock import hold
from gofallback.deploys._site import Site
from gofallback.deploys._stage import stage
from gofallback.deploys._switch import Switch, put_back_rest, start
from gofallback.deploys._waves import canaries, halt

SWITCHES = ("switch", "restart", "upload", "repair")


@stage("activate", "targets")
def activate(here: Site, host: Host) -> None:
    """Switch the canaries, then the rest; stop at the first failure."""
    first = host in canaries(here)
    # pyinfra wants one figure for an operation on all hosts (add_op: "Cannot have different values").
    parallel = here.fleet(here.targets[0]).rollout.parallel
    for switch in host.loop(_switches(here, host)):
        # Two call sites, so that pyinfra runs two operations, the canaries' before the others'.
        if first and len(here.targets) > 1:
            go_live(name=f"canary: {switch.service.name}", here=here, switch=switch)
        else:
            go_live(name=switch.service.name, here=here, switch=switch, _parallel=parallel)


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
    if not hold(state, host, here):
        return False
    # The artifact's hash, known by now: the target compares the bytes with it, not with the release's own manifest.
    sha256 = switch.sha256 or here.run.outcome(host.name, switch.service.name).sha256
    if start(state, host, here, replace(switch, sha256=sha256), run_id=here.run.id):
        return True
    put_back_rest(state, host, here, switch.service)
    return False
