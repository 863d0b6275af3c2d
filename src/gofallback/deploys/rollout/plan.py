"""What this run does on each target, whatever the command: a release from an artifact, the way back, or the rest of a
run that was cut off."""

from __future__ import annotations

from pyinfra.api.host import Host

from gofallback.deploys.building.specs import services_in_use
from gofallback.deploys.releasing import plan
from gofallback.deploys.releasing.desired import Wanted
from gofallback.deploys.rollout.switch import Switch
from gofallback.deploys.run.context import RefusedError, Site
from gofallback.deploys.run.target_state import state_of
from gofallback.journal import read
from gofallback.model import Service
from gofallback.release.state import ServiceState
from gofallback.rollout import resume, rollback
from gofallback.rollout.resume import Continue, ResumeError, UnknownRunError
from gofallback.rollout.rollback import CandidateError, NeverReleasedError
from gofallback.runid import base_of

_SWITCHES = ("switch", "restart", "upload", "repair")


def from_targets(here: Site) -> bool:
    """Whether the run needs nothing but what is on the targets."""
    options = here.run.options
    return here.run.command == "rollback" or bool(options.resume or options.abort)


def anything(here: Site) -> bool:
    """Whether this run changes anything on any target, as planned: when it is executed, a target may be gone."""
    with here.lock:
        if "anything" not in here.memo:
            here.memo["anything"] = any(changes(here, host) for host in here.targets)
        found: bool = here.memo["anything"]
        return found


def changes(here: Site, host: Host) -> bool:
    """Whether this run changes anything on a target."""
    if from_targets(here):
        return any(switch.needed for switch in switches(here, host))
    return any(plan.changes(here, host, want) for want in plan.wanted(here, host))


def switches(here: Site, host: Host) -> list[Switch]:
    """What becomes of each service of a target; worked out once.

    Raises:
        RefusedError: the fleet cannot get there.
    """
    if not from_targets(here):
        return [_from_artifact(here, host, want) for want in plan.wanted(here, host)]
    with here.lock:
        if "switches" not in here.memo:
            here.memo["switches"] = _all(here)
        mine: list[Switch] = here.memo["switches"].get(host.name, [])
        return mine


def _all(here: Site) -> dict[str, list[Switch]]:
    """By target, over all services. Those this is not about are left out, unless it is about none at all."""
    found: dict[str, list[Switch]] = {}
    strange: dict[str, str] = {}
    services = services_in_use(here)
    for service in services:
        try:
            for switch, name in _of_service(here, service):
                found.setdefault(name, []).append(switch)
        except (NeverReleasedError, UnknownRunError) as error:
            strange[service.name] = str(error)
        except (CandidateError, ResumeError) as error:
            others = ",".join(one.name for one in services if one.name != service.name)
            alone = f"; without {service.name}: --data service={others}" if others else ""
            raise RefusedError(f"{error}{alone}") from None
    if len(strange) == len(services):
        raise RefusedError("; ".join(strange.values()))
    for name, why in strange.items():
        here.run.note(f"{why}; {name} is left as it is")
        _leave(here, name)
    return found


def _leave(here: Site, service: str) -> None:
    """A service that this is not about: what is not brought to its end counts, what needs no way back does not."""
    resumed = here.run.options.resume
    if not resumed:
        here.aside.add(service)
        return
    for host in here.targets:
        if any(one.name == service for one in here.services(host)):
            here.leave(host, service, f"nobody knows what run {resumed} was to bring; roll it out anew")


def _from_artifact(here: Site, host: Host, want: Wanted) -> Switch:
    needed = any(step.kind in _SWITCHES for step in plan.changes(here, host, want))
    return Switch(want.service, want.files.id, None, "activate" if needed else "nothing")


def _of_service(here: Site, service: Service) -> list[tuple[Switch, str]]:
    """One service over all targets, each with its name."""
    hosts = [host for host in here.targets if any(one.name == service.name for one in here.services(host))]
    states = {host.name: state_of(here, host).services[service.name] for host in hosts}
    planned = _continued(here, service, states)
    made = []
    for host in hosts:
        state, found = states[host.name], planned.get(host.name)
        if found is None:
            continued = here.run.options.resume or here.run.options.abort
            here.leave(
                host,
                service.name,
                f"no target of run {continued}" if continued else f"no release of {service.name} was ever brought here",
            )
            continue
        switch = Switch(service, found.release or "", found.sha256, found.how, found.run_id, found.of or "")
        _note(here, host, switch, found, state)
        made.append((switch, host.name))
    return made


def _continued(here: Site, service: Service, states: dict[str, ServiceState]) -> dict[str, Continue]:
    options = here.run.options
    if options.resume or options.abort:
        run_id = str(options.resume or options.abort)
        plan = resume.resume if options.resume else resume.abort
        found = plan(run_id, service.name, states, _journalled(here, run_id, service.name))
        for note in found.notes:
            here.run.note(note)
        return found.hosts
    goal = rollback.fleet_back(states, options.release)
    return {
        host: Continue(one.release, one.sha256, one.commit, "activate" if one.needed else "nothing", "")
        for host, one in goal.items()
    }


def _journalled(here: Site, run_id: str, service: str) -> dict[str, str] | None:
    """The release each target was to get, as the run's own journal says, if this controller has it."""
    path = here.run.home.journal(base_of(run_id))  # a continuation's own plan may be that of an abort
    if not path.is_file():
        return None
    for entry in read.entries(path.read_bytes()):
        if entry.event == "started":
            rows = [row for row in entry.data.get("plan", []) if row.get("service") == service and row.get("release")]
            return {str(row["host"]): str(row["release"]) for row in rows} or None
    return None


def _note(here: Site, host: Host, switch: Switch, found: Continue, state: ServiceState) -> None:
    outcome = here.run.outcome(host.name, switch.service.name)
    outcome.release, outcome.previous, outcome.live = found.release, state.current, state.current
    outcome.sha256, outcome.commit = found.sha256, found.commit
    if switch.how == "nothing":
        outcome.state, outcome.healthy = "unchanged", state.health is None or state.health.healthy
        host.log(f"{switch.service.name}: {found.release or 'nothing'} is live")
    elif switch.how == "confirm":
        outcome.state, outcome.run_id, outcome.previous = "provisional", switch.run_id, _before(state)
        host.log(f"{switch.service.name}: {found.release} is live and waits to be confirmed")
    else:
        outcome.run_id = switch.run_id if switch.how == "revert" else None
        host.log(f"{switch.service.name}: {state.current or 'nothing'} -> {found.release or 'nothing'}")


def _before(state: ServiceState) -> str | None:
    previous = (state.outcome or {}).get("previous")
    return str(previous) if previous else None
