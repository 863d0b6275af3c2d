"""Stage `source`: the exact commit on the builder, as a clean tree with every tag."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys.building import plan
from gofallback.deploys.building.modules import delivery, way_of
from gofallback.deploys.rollout.waves import skip_if_stopped
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage
from gofallback.errors import GofallbackError
from gofallback.gobuild import agent_source
from gofallback.gobuild.modules import MODULE_SOURCES
from gofallback.model import Service
from gofallback.operations.agent import deliver_agent
from gofallback.operations.modules import deliver as deliver_modules
from gofallback.operations.remote import fail
from gofallback.operations.source import Checkout, deliver
from gofallback.source.model import ResolvedSource


@stage("source", "builders")
def source(ctx: RunContext, host: Host) -> None:
    """Send the sources of what has to be built; nothing when every artifact is in the store."""
    if not ctx.builds(host):
        return
    for service, found in host.loop(plan.checkouts(ctx, host)):
        host.log(f"{service.name}: {found.version} ({found.commit[:12]}) to be built")
        checkout(name=f"{service.name} {found.version}", ctx=ctx, service=service, found=found)
        module_files(name=f"{service.name} {found.version} modules", ctx=ctx, service=service, found=found)
    agent_sources(name="gofallback-agent", ctx=ctx)


@operation()
def checkout(ctx: RunContext, service: Service, found: ResolvedSource) -> Generator[FunctionCommand, None, None]:
    """The commit of one service on the builder.

    + ctx: the run and its hosts
    + service: its group data
    + found: its commit
    """
    yield FunctionCommand(_checkout, (ctx, service, found), {})


def _checkout(state: State, host: Host, ctx: RunContext, service: Service, found: ResolvedSource) -> bool:
    if skip_if_stopped(ctx, host):
        return False
    try:
        # Read now, not while planning: provisioning has just installed git.
        git = plan.git_program(ctx, host)
    except PyinfraError as error:
        return fail(host, str(error))
    work = Checkout(
        source=found,
        root=ctx.fleet(host).builder.root,
        git=git,
        scratch=ctx.run.home.run(ctx.run.id) / f"bundles-{host.name}",
        delivery=service.source.delivery,
    )
    return deliver(state, host, work)


@operation()
def module_files(ctx: RunContext, service: Service, found: ResolvedSource) -> Generator[FunctionCommand, None, None]:
    """The modules of one service on the builder, where the controller sends them.

    + ctx: the run and its hosts
    + service: its group data
    + found: its commit
    """
    way = way_of(ctx, ctx.host, service, found)
    if way == "controller":
        yield FunctionCommand(_module_files, (ctx, service, found), {})
    else:
        ctx.host.noop(f"{service.name}: {MODULE_SOURCES[way]}")


def _module_files(state: State, host: Host, ctx: RunContext, service: Service, source: ResolvedSource) -> bool:
    if skip_if_stopped(ctx, host):
        return False
    try:
        work = delivery(ctx, host, service, source)
    except GofallbackError as error:
        return fail(host, str(error))
    return deliver_modules(state, host, work)


@operation()
def agent_sources(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """The sources of gofallback's own agent on the builder.

    + ctx: the run and its hosts
    """
    if plan.builds_agent(ctx, ctx.host):
        yield FunctionCommand(_agent_sources, (ctx,), {})
    else:
        ctx.host.noop("every artifact of the agent is in the store")


def _agent_sources(state: State, host: Host, ctx: RunContext) -> bool:
    files = agent_source.agent_files()
    scratch = ctx.run.home.run(ctx.run.id) / f"bundles-{host.name}"
    root = ctx.fleet(host).builder.root
    return deliver_agent(state, host, files, agent_source.agent_digest(files), root, scratch)
