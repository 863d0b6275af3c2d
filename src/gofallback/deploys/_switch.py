"""Makes one release live on one target and keeps what became of it; and the way back for a target that was well."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.controller.run import Outcome
from gofallback.deploys._site import Site
from gofallback.model import Service
from gofallback.operations import activate as target
from gofallback.release.activation import ActivationOutcome

#: Stands in the report when the run ends while a target is at work.
BEGUN = "its activation was begun and not followed to the end; the target ends it alone"


@dataclass(frozen=True)
class Switch:
    """One release to make live on one target."""

    service: Service
    release: str
    sha256: str | None
    needed: bool


def start(state: State, host: Host, here: Site, switch: Switch, *, run_id: str) -> bool:
    """Step: start an activation, follow it, and keep what became of it."""
    fleet = here.fleet(host)
    here.run.outcome(host.name, switch.service.name).reason = BEGUN

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

    outcome = here.run.outcome(host.name, switch.service.name)
    live = target.activate_step(state, host, begin, lambda found: keep(outcome, switch.release, found))
    if not live:
        here.run.blame(host.name, switch.service.name, outcome.reason or outcome.state)
    return live


def keep(outcome: Outcome, release: str, found: ActivationOutcome) -> None:
    """What the target said becomes the outcome. Where it refused, what ran before runs on."""
    outcome.release = release
    if found.state != "refused":
        outcome.live, outcome.healthy = found.live, found.healthy
    outcome.seconds += found.seconds
    outcome.evidence = tuple(found.evidence)
    if found.ok:
        outcome.state, outcome.reason = "confirmed", None
    else:
        outcome.state = "reverted" if found.state == "reverted" else "failed"
        outcome.reason = found.reason if found.state in ("reverted", "failed") else f"{found.state}: {found.reason}"


def put_back(state: State, host: Host, here: Site, service: Service, reason: str, *, own: bool = False) -> bool:
    """Back to the release that was live before this run, if there is one and group data wants it.

    Args:
        state: pyinfra's.
        host: the target; the release this run brought is live there.
        here: the run and its hosts.
        service: which one.
        reason: what failed, and where.
        own: it failed on this target itself, which goes back whatever `rollout.revert` says.

    Returns:
        True when the release this run brought stays.
    """
    outcome = here.run.outcome(host.name, service.name)
    stays = why_it_stays(outcome, here.run.command, here.fleet(host).rollout.revert, own=own)
    if stays:
        here.run.note(f"{host.name}: {service.name} {outcome.live} stays: {stays}")
        host.log_styled(f"{service.name}: {outcome.live} stays: {stays}", fg="yellow")
        return True
    wanted, previous = outcome.release, str(outcome.previous)
    host.log_styled(f"{service.name}: back to {previous}, because of {reason}", fg="yellow")
    if start(state, host, here, Switch(service, previous, None, needed=True), run_id=f"{here.run.id}-back"):
        outcome.state, outcome.reason = "reverted", f"went back, because of {reason}"
    else:
        outcome.state, outcome.reason = "failed", f"could not go back to {previous}: {outcome.reason}"
    outcome.release = wanted
    return False


def put_back_rest(state: State, host: Host, here: Site, failed: Service) -> None:
    """One service failed on a target: the others that this run switched there go back, as later stages leave it out."""
    for service in here.services(host):
        outcome = here.run.outcome(host.name, service.name)
        if service.name != failed.name and outcome.state == "confirmed":
            put_back(state, host, here, service, f"{failed.name} on {host.name}")


def why_it_stays(outcome: Outcome, command: str, revert: str, *, own: bool) -> str | None:
    """Why a target does not go back to the release before; None: it goes back."""
    if command == "rollback":
        return "a rollback is not undone"  # what was live before is what somebody wanted to get away from
    if revert != "all" and not own:
        return "rollout.revert is `failed`"
    if outcome.previous is None:
        return "there is no earlier release to go back to"
    if outcome.previous == outcome.release:
        return "it was live before this run as well"
    return None
