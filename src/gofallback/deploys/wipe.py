"""Stage `wipe`: removes everything of ours from a builder, except what group data keeps. With `builder.wipe.after:
run` every run does it at its end."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.builder.wipe import needs_wipe
from gofallback.deploys.building.cleanup import wipe_builder
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage
from gofallback.facts.builder import builder_state


@stage("wipe", "builders")
def wipe(ctx: RunContext, host: Host) -> None:
    """Remove everything that gofallback has made below `builder.root`."""
    settings = ctx.fleet(host).builder
    stays = ", ".join(settings.wipe.keep) or "nothing"
    host.log(f"{settings.root}: to be wiped; stays: {stays}")
    builder(name=settings.root, ctx=ctx)


@operation()
def builder(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """Everything of ours below the root of one builder.

    + ctx: the run and its hosts
    """
    host = ctx.host
    settings = ctx.fleet(host).builder
    if not needs_wipe(builder_state(host, settings.root).folders, settings.wipe.keep):
        host.noop(f"nothing to do: {settings.root} has nothing that should go")
        return
    yield FunctionCommand(_wipe, (ctx,), {})


def _wipe(state: State, host: Host, ctx: RunContext) -> bool:
    return wipe_builder(ctx, host)
