"""Stage `verify` of deploys/faithful.py: is the standby builder a faithful replacement? It rebuilds the releases in
production, and the result is compared with the bytes on the targets. Nothing is changed there."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation

from gofallback.deploys.building.known_good import compare
from gofallback.deploys.building.production import comparison_requested
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage


@stage("verify", "builders")
def faithful(ctx: RunContext, host: Host) -> None:
    """Compare the builder's rebuilds of the releases in production with the bytes on the targets."""
    if host is ctx.builder and comparison_requested(ctx):
        comparison(name="known good", ctx=ctx)


@operation()
def comparison(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """The builder's rebuilds of the releases in production, compared with the targets' bytes.

    + ctx: the run and its hosts
    """
    yield FunctionCommand(compare, (ctx,), {})
