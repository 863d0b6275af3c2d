"""What is done about a connection that broke between two waves: it is made anew, and its leases are taken again."""

from __future__ import annotations

import time

import gevent
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from gofallback.deploys._lease import acquire
from gofallback.deploys._site import Site
from gofallback.deploys._wanted import state_of
from gofallback.operations import lease
from gofallback.operations.channel import reconnect
from gofallback.release.state import TargetState

#: Seconds for which a target that does not answer is tried again.
PATIENCE = 10.0


def told(state: State, host: Host, here: Site) -> TargetState:
    """What a target says now. One that can be reached again is not lost because its connection broke.

    Raises:
        PyinfraError: no answer, and no other connection within `PATIENCE` seconds, or none over that either.
    """
    try:
        return state_of(here, host, refresh=True)
    except PyinfraError:
        if not _connected(host):
            raise
    _take_again(state, host, here)
    return state_of(here, host, refresh=True)


def _connected(host: Host) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(0.5)
        if reconnect(host):
            return True
    return False


def keep_leases(state: State, here: Site) -> None:
    """Take leases again that were lost with their connections, where a release waits to be confirmed.

    Without news of the run such a target goes back by itself. One that cannot be reached is asked again next time.
    """
    waiting = {name for (name, _), one in here.run.outcomes.items() if one.state == "provisional" and not one.lost}
    lost = [host for host in here.targets if host.name in waiting and lease.lost(host) and not lease.fenced(host)]
    if lost:
        gevent.joinall([gevent.spawn(_take_again, state, host, here) for host in lost])


def _take_again(state: State, host: Host, here: Site) -> None:
    if lease.lost(host) is None or lease.fenced(host) is not None:
        return
    with ctx_host.use(host):
        acquire(state, host, here)
