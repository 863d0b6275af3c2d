"""Preflight: is every part there and well, and is nobody else at work? What refuses, refuses here, before a change."""

from __future__ import annotations

from typing import Literal

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError, FactError
from pyinfra.api.host import Host

from gofallback.deploys import _checks
from gofallback.deploys._lock import lock
from gofallback.deploys._site import Site, current_host, site
from gofallback.errors import GofallbackError

Command = Literal["fallback", "standby", "rollout", "rollback", "status", "drill"]


@deploy("preflight")
def preflight(command: Command) -> None:
    """Parse the data, check every part, and say what the run will do.

    Args:
        command: name of the deploy file; decides which hosts the run needs.
    """
    host = current_host()
    try:
        here = site(command)
        with here.lock:
            if "checked" not in here.memo:
                _checks.whole_run(here)
                here.memo["checked"] = True
        _host(here, host)
    except (GofallbackError, FactError) as error:
        # pyinfra prints a DeployError as one line and exits 1; anything else as a traceback.
        raise DeployError(str(error)) from None


def _host(here: Site, host: Host) -> None:
    if host in here.targets and here.run.command != "standby":
        _checks.target(here, host)
        if here.run.command in _checks.CHANGES_TARGETS:
            lock(name="lock", here=here)
    if host is here.builder:
        _checks.builder(here, host)
