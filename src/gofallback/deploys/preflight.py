"""Preflight: is every part there and well, and is nobody else at work? What refuses, refuses here, before a change."""

from __future__ import annotations

from typing import Literal

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError, PyinfraError
from pyinfra.api.host import Host

from gofallback.deploys.building.cleanup import after_run
from gofallback.deploys.checks import readiness
from gofallback.deploys.rollout.leases import lease
from gofallback.deploys.run.context import Site, cli_parameters, current_host, site
from gofallback.deploys.run.journal import identify, learn
from gofallback.errors import GofallbackError
from gofallback.pyinfra_patches.refusal import refusal
from gofallback.pyinfra_patches.screen import quiet

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
                readiness.whole_run(here)
                here.memo["checked"] = None
            except (GofallbackError, PyinfraError) as error:
                here.memo["checked"] = error
        if here.memo["checked"] is not None:
            raise here.memo["checked"]


def _host(here: Site, host: Host) -> None:
    if host in here.targets and here.run.command not in readiness.ONLY_BUILDERS:
        readiness.target(here, host)
        learn(here, host)
        if here.run.command in readiness.CHANGES_TARGETS:
            lease(name="lease", here=here)
    if here.builds(host):
        readiness.builder(here, host)
        after_run(here, host)
