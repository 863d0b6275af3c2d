"""Preflight: is every part there and well, and is nobody else at work? What refuses, refuses here, before a change."""

from __future__ import annotations

from typing import Literal

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError, PyinfraError
from pyinfra.api.host import Host

from gofallback.deploys.building.cleanup import wipe_after_run
from gofallback.deploys.checks import readiness
from gofallback.deploys.rollout.leases import lease
from gofallback.deploys.run.context import RunContext, current_host
from gofallback.deploys.run.journal import identify, record_late_outcomes
from gofallback.deploys.run.setup import run_context
from gofallback.errors import GofallbackError
from gofallback.pyinfra_patches.flags import cli_parameters
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
    ctx: RunContext | None = None
    try:
        ctx = run_context(command)
        quiet(ctx.state, cli_parameters())
        ctx.run.options.check(command)
        _whole_run(ctx)
        _host(ctx, host)
    except (GofallbackError, PyinfraError) as error:
        if ctx is not None:
            ctx.run.refused = ctx.run.refused or str(error)
        raise refusal(DeployError, str(error)) from None


def _whole_run(ctx: RunContext) -> None:
    """The first host's plan checks the whole run; the others wait for what comes out, good or bad."""
    with ctx.lock:
        if "checked" not in ctx.memo:
            try:
                if ctx.run.command not in ("status", "builds"):
                    identify(ctx)
                readiness.check_run(ctx)
                ctx.memo["checked"] = None
            except (GofallbackError, PyinfraError) as error:
                ctx.memo["checked"] = error
        if ctx.memo["checked"] is not None:
            raise ctx.memo["checked"]


def _host(ctx: RunContext, host: Host) -> None:
    if host in ctx.targets and ctx.run.command not in readiness.ONLY_BUILDERS:
        readiness.check_target(ctx, host)
        record_late_outcomes(ctx, host)
        if ctx.run.command in readiness.CHANGES_TARGETS:
            lease(name="lease", ctx=ctx)
    if ctx.builds(host):
        readiness.check_builder(ctx, host)
        wipe_after_run(ctx, host)
