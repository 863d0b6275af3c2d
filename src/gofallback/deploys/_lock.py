"""The run's lock on each target it is going to change: taken first, given back by the end of the connection."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys import _release_plan, _rollback_plan
from gofallback.deploys._site import Site
from gofallback.deploys._wanted import state_of
from gofallback.operations.lock import acquire, is_held


def needed(here: Site, host: Host) -> bool:
    """Whether this run changes anything on a target."""
    if here.run.command == "rollback":
        return any(found.needed for found in _rollback_plan.candidates(here, host))
    return any(_release_plan.changes(here, host, want) for want in _release_plan.wanted(here, host))


@operation()
def lock(here: Site) -> Generator[FunctionCommand, None, None]:
    """Take the lock of every service this run handles on a target.

    + here: the run and its hosts
    """
    host = here.host
    if needed(here, host):
        yield FunctionCommand(_lock, (here,), {})
    else:
        host.noop("nothing changes here, so nothing is locked")


def hold(state: State, host: Host, here: Site) -> bool:
    """Step: the lock is still ours. One that was lost with its connection is taken again, if nobody was faster."""
    if is_held(host):
        return True
    host.log_styled("lock: lost with its connection, taken again", fg="yellow")
    return _lock(state, host, here)


def _lock(state: State, host: Host, here: Site) -> bool:
    def tell(why: str) -> None:
        for service in here.services(host):
            outcome = here.run.outcome(host.name, service.name)
            if outcome.state == "planned":
                outcome.state, outcome.reason = "untouched", why
            here.run.blame(host.name, service.name, why)
        here.run.refused = here.run.refused or f"{host.name}: {why}"

    sudo = here.fleet(host).target.sudo
    names = [service.name for service in here.services(host)]
    if not acquire(state, host, names, here.run.id, here.run.who, sudo=sudo, tell=tell):
        return False
    problem = _changed_since_planned(host, here)
    if problem:
        host.log_styled(f"lock: {problem}", fg="red")
        tell(problem)
    return problem is None


def _changed_since_planned(host: Host, here: Site) -> str | None:
    """The plan is as old as the question whether to go on: another run may have been here since."""
    try:
        found = state_of(here, host, refresh=True)
    except PyinfraError as error:
        return str(error)
    for service in here.services(host):
        now, then = found.services[service.name].current, here.run.outcome(host.name, service.name).live
        if now != then:
            return (
                f"{service.name}: {now or 'nothing'} is live, it was {then or 'nothing'} when this run was planned; "
                "nothing was changed, run again"
            )
    return None
