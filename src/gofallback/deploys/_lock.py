"""The run's lock on each target it is going to change: taken first, given back by the end of the connection."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys import _release_plan, _rollback_plan
from gofallback.deploys._site import Site
from gofallback.operations.lock import acquire


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


def _lock(state: State, host: Host, here: Site) -> bool:
    names = [service.name for service in here.services(host)]

    def tell(why: str) -> None:
        for name in names:
            here.note_failure(host, name, why)

    sudo = here.fleet(host).target.sudo
    return acquire(state, host, names, here.run.id, here.run.who, sudo=sudo, tell=tell)
