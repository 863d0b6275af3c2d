"""What this run switches on each target, whatever the command: to a release from an artifact, back to an earlier one,
or the rest of a run that was cut off."""

from __future__ import annotations

from pyinfra.api.host import Host

from gofallback.deploys.building.specs import services_in_use
from gofallback.deploys.releasing import plan
from gofallback.deploys.releasing.desired import DesiredRelease
from gofallback.deploys.rollout.switch import Switch
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import RefusedError
from gofallback.journal import read
from gofallback.model import Service
from gofallback.release.state import ServiceState
from gofallback.rollout import resume, rollback
from gofallback.rollout.phases import TargetPhase
from gofallback.rollout.resume import Continue, ResumeError, UnknownRunError
from gofallback.rollout.rollback import CandidateError, NeverReleasedError
from gofallback.runid import base_of

_SWITCH_STEPS = ("switch", "restart", "upload", "repair")


_CHANGES: Key[bool] = Key("the run changes something")
_SWITCHES: Key[dict[str, list[Switch]]] = Key("switches from what is on the targets")


def changes_anything(ctx: RunContext) -> bool:
    """Whether this run changes anything on any target, as planned: during the run a target may be gone."""
    return ctx.once(_CHANGES, lambda: any(changes(ctx, host) for host in ctx.targets))


def changes(ctx: RunContext, host: Host) -> bool:
    """Whether this run changes anything on a target."""
    if ctx.run.needs_no_artifact:
        return any(switch.needed for switch in switches(ctx, host))
    return any(plan.changes(ctx, host, one) for one in plan.desired_releases(ctx, host))


def switches(ctx: RunContext, host: Host) -> list[Switch]:
    """The switch of each service of a target; planned once.

    Raises:
        RefusedError: a target cannot get the release.
    """
    if not ctx.run.needs_no_artifact:
        return [_from_artifact(ctx, host, one) for one in plan.desired_releases(ctx, host)]
    return ctx.once(_SWITCHES, lambda: _from_targets(ctx)).get(host.name, [])


def _from_targets(ctx: RunContext) -> dict[str, list[Switch]]:
    """Target to its switches. Services in which the run has no part are left out, unless it has a part in none."""
    found: dict[str, list[Switch]] = {}
    unknown: dict[str, str] = {}
    services = services_in_use(ctx)
    for service in services:
        try:
            for switch, name in _of_service(ctx, service):
                found.setdefault(name, []).append(switch)
        except (NeverReleasedError, UnknownRunError) as error:
            unknown[service.name] = str(error)
        except (CandidateError, ResumeError) as error:
            others = ",".join(one.name for one in services if one.name != service.name)
            without = f"; without {service.name}: --data service={others}" if others else ""
            raise RefusedError(f"{error}{without}") from None
    if len(unknown) == len(services):
        raise RefusedError("; ".join(unknown.values()))
    for name, problem in unknown.items():
        ctx.run.note(f"{problem}; {name} is left as it is")
        _skip_service(ctx, name)
    return found


def _skip_service(ctx: RunContext, service: str) -> None:
    """Leave out a service in which the run has no part.

    A resumed run counts its targets as untouched; a rollback or an abort has nothing to do there, and skips them.
    """
    resumed = ctx.run.options.resume
    if not resumed:
        ctx.excluded_services.add(service)
        return
    for host in ctx.targets_of(service):
        ctx.skip(host, service, f"the release of run {resumed} is not known; roll it out anew")


def _from_artifact(ctx: RunContext, host: Host, desired: DesiredRelease) -> Switch:
    needed = any(step.kind in _SWITCH_STEPS for step in plan.changes(ctx, host, desired))
    return Switch(desired.service, desired.files.id, None, "activate" if needed else "nothing")


def _of_service(ctx: RunContext, service: Service) -> list[tuple[Switch, str]]:
    """The switch of one service on each target, with the target's name."""
    hosts = ctx.targets_of(service.name)
    states = {host.name: state_of(ctx, host).services[service.name] for host in hosts}
    planned = _continued(ctx, service, states)
    made = []
    for host in hosts:
        state, found = states[host.name], planned.get(host.name)
        if found is None:
            continued = ctx.run.options.resume or ctx.run.options.abort
            ctx.skip(
                host,
                service.name,
                f"no target of run {continued}" if continued else f"{service.name} was never released here",
            )
            continue
        switch = Switch(service, found.release or "", found.sha256, found.how, found.run_id, found.of or "")
        _record_switch(ctx, host, switch, found, state)
        made.append((switch, host.name))
    return made


def _continued(ctx: RunContext, service: Service, states: dict[str, ServiceState]) -> dict[str, Continue]:
    options = ctx.run.options
    if options.resume or options.abort:
        run_id = str(options.resume or options.abort)
        plan = resume.resume if options.resume else resume.abort
        found = plan(run_id, service.name, states, _journalled(ctx, run_id, service.name))
        for note in found.notes:
            ctx.run.note(note)
        return found.hosts
    goal = rollback.rollback_goals(states, options.release)
    return {
        host: Continue(one.release, one.sha256, one.commit, "activate" if one.needed else "nothing", "")
        for host, one in goal.items()
    }


def _journalled(ctx: RunContext, run_id: str, service: str) -> dict[str, str] | None:
    """Target to the release that a run planned for it, from its journal; None: this controller has no such journal."""
    path = ctx.run.home.journal(base_of(run_id))  # a continuation may be an abort, with another plan
    if not path.is_file():
        return None
    for entry in read.entries(path.read_bytes()):
        if entry.event == "started":
            rows = [row for row in entry.data.get("plan", []) if row.get("service") == service and row.get("release")]
            return {str(row["host"]): str(row["release"]) for row in rows} or None
    return None


def _record_switch(ctx: RunContext, host: Host, switch: Switch, found: Continue, state: ServiceState) -> None:
    outcome = ctx.run.outcome(host.name, switch.service.name)
    outcome.release, outcome.previous, outcome.live = found.release, state.current, state.current
    outcome.sha256, outcome.commit = found.sha256, found.commit
    if switch.how == "nothing":
        outcome.phase, outcome.healthy = TargetPhase.UNCHANGED, state.health is None or state.health.healthy
        host.log(f"{switch.service.name}: {found.release or 'nothing'} is live")
    elif switch.how == "confirm":
        outcome.phase, outcome.run_id, outcome.previous = (
            TargetPhase.PROVISIONAL,
            switch.run_id,
            _previous_release(state),
        )
        host.log(f"{switch.service.name}: {found.release} is live and waits to be confirmed")
    else:
        outcome.run_id = switch.run_id if switch.how == "revert" else None
        host.log(f"{switch.service.name}: {state.current or 'nothing'} -> {found.release or 'nothing'}")


def _previous_release(state: ServiceState) -> str | None:
    previous = (state.outcome or {}).get("previous")
    return str(previous) if previous else None
