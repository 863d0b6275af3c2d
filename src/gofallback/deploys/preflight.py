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
    ctx: Site | None = None
    try:
        ctx = site(command)
        quiet(ctx.state, cli_parameters())
        ctx.run.options.check(command)
        _whole_run(ctx)
        _host(ctx, host)
    except (GofallbackError, PyinfraError) as error:
        if ctx is not None:
            ctx.run.refused = ctx.run.refused or str(error)
        raise refusal(DeployError, str(error)) from None


def _whole_run(ctx: Site) -> None:
    """The first host's plan checks the whole run; the others wait for what comes out, good or bad."""
    with ctx.lock:
        if "checked" not in ctx.memo:
            try:
                if ctx.run.command not in ("status", "builds"):
                    identify(ctx)
                readiness.whole_run(ctx)
                ctx.memo["checked"] = None
            except (GofallbackError, PyinfraError) as error:
                ctx.memo["checked"] = error
        if ctx.memo["checked"] is not None:
            raise ctx.memo["checked"]


def _host(ctx: Site, host: Host) -> None:
    if host in ctx.targets and ctx.run.command not in readiness.ONLY_BUILDERS:
        readiness.target(ctx, host)
        learn(ctx, host)
        if ctx.run.command in readiness.CHANGES_TARGETS:
            lease(name="lease", ctx=ctx)
    if ctx.builds(host):
        readiness.builder(ctx, host)
        after_run(ctx, host)
