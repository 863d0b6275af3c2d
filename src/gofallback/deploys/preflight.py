"""Stage `preflight`: checks every part, and that no other run is at work. A refusal comes here, before any change."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError, PyinfraError
from pyinfra.api.host import Host

from gofallback.deploys.building.cleanup import wipe_after_run
from gofallback.deploys.checks import readiness
from gofallback.deploys.rollout.leases import lease
from gofallback.deploys.run.commands import CommandName
from gofallback.deploys.run.context import Key, RunContext, current_host
from gofallback.deploys.run.journal import identify, record_late_outcomes
from gofallback.deploys.run.setup import run_context
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import GofallbackError
from gofallback.pyinfra_patches.flags import cli_parameters
from gofallback.pyinfra_patches.refusal import refusal
from gofallback.pyinfra_patches.screen import quiet

_CHECKED: Key[Exception | None] = Key("the whole run is checked")


@deploy("preflight")
def preflight(command: CommandName) -> None:
    """Parse group data and options, check every part, and take the leases.

    Args:
        command: name of the deploy file, a row of `commands.COMMANDS`.
    """
    host = current_host()
    ctx: RunContext | None = None
    try:
        ctx = run_context(command)
        quiet(ctx.state, cli_parameters())
        ctx.run.options.check(ctx.run.command)
        _check_run(ctx)
        _check_host(ctx, host)
    except (GofallbackError, PyinfraError) as error:
        if ctx is not None:
            ctx.run.refused = ctx.run.refused or str(error)
        raise refusal(DeployError, str(error)) from None


def _check_run(ctx: RunContext) -> None:
    """Check the whole run once, in the first host's plan; the other hosts wait for the result."""

    def check() -> Exception | None:
        try:
            if not ctx.run.command.read_only:
                identify(ctx)
            readiness.check_run(ctx)
        except (GofallbackError, PyinfraError) as error:
            return error
        return None

    problem = ctx.once(_CHECKED, check)
    if problem is not None:
        raise problem


def _check_host(ctx: RunContext, host: Host) -> None:
    command = ctx.run.command
    if host in ctx.targets and not command.only_builders:
        readiness.check_target(ctx, host)
        record_late_outcomes(ctx.run, host, state_of(ctx, host))
        if command.changes_targets:
            lease(name="lease", ctx=ctx)
    if ctx.builds(host):
        readiness.check_builder(ctx, host)
        wipe_after_run(ctx, host)
