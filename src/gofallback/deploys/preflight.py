"""Preflight: is every part there and well, and is nobody else at work? What refuses, refuses here, before a change."""

from __future__ import annotations

from typing import Literal

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError, PyinfraError
from pyinfra.api.host import Host

from gofallback.deploys import _checks
from gofallback.deploys._lease import lease
from gofallback.deploys._quiet import quiet
from gofallback.deploys._record import identify, learn
from gofallback.deploys._site import Site, cli_parameters, current_host, site
from gofallback.deploys._wiping import after_run
from gofallback.errors import GofallbackError
from gofallback.refusal import refusal

Command = Literal["fallback", "standby", "rollout", "rollback", "status", "drill", "faithful", "builds", "wipe"]


@deploy("preflight")
def preflight(command: Command) -> None:
    """Parse the data, check every part, and say what the run will do.

    Args:
        command: name of the deploy file; decides which hosts the run needs.
    """
    host = current_host()
    here: Site | None = None
    try:
        here = site(command)
        quiet(here.state, cli_parameters())
        here.run.options.check(command)
        _whole_run(here)
        _host(here, host)
    except (GofallbackError, PyinfraError) as error:
        if here is not None:
            here.run.refused = here.run.refused or str(error)
        raise refusal(DeployError, str(error)) from None


def _whole_run(here: Site) -> None:
    """The first host's plan checks the whole run; the others wait for what comes out, good or bad."""
    with here.lock:
        if "checked" not in here.memo:
            try:
                if here.run.command not in ("status", "builds"):
                    identify(here)
                _checks.whole_run(here)
                here.memo["checked"] = None
            except (GofallbackError, PyinfraError) as error:
                here.memo["checked"] = error
        if here.memo["checked"] is not None:
            raise here.memo["checked"]


def _host(here: Site, host: Host) -> None:
    if host in here.targets and here.run.command not in _checks.ONLY_BUILDERS:
        _checks.target(here, host)
        learn(here, host)
        if here.run.command in _checks.CHANGES_TARGETS:
            lease(name="lease", here=here)
    if here.builds(host):
        _checks.builder(here, host)
        after_run(here, host)
