"""Stage `build`: every platform of every service, on the builder, with the pinned toolchain."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra import logger
from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.artifact.spec import BuildSpec
from gofallback.deploys.building import plan
from gofallback.deploys.rollout.waves import skip_if_stopped
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage
from gofallback.errors import GofallbackError
from gofallback.gomod.stamps import unused_stamps
from gofallback.operations.build import build as build_job
from gofallback.operations.remote import fail


@stage("build", "builders")
def build(ctx: RunContext, host: Host) -> None:
    """Build what the store does not have."""
    if not ctx.builds(host):
        return
    specs = plan.to_build(ctx, host)
    if not specs:
        host.log("every artifact is in the store; nothing to build")
    second = plan.second_builders(ctx)
    for spec in specs:
        twin = ", to be compared with what another builder built" if second.get(spec.key) == host.name else ""
        host.log(f"{spec.what} {spec.version} {spec.platform}: to be built with go {spec.go_version}{twin}")
    for line in _ineffective_stamps(ctx, host, specs):
        host.log_styled(line, fg="yellow", log_func=logger.warning)
    binaries(name="binaries", ctx=ctx)


def _ineffective_stamps(ctx: RunContext, host: Host, specs: Sequence[BuildSpec]) -> list[str]:
    """A line for each stamped variable that no Go file declares."""
    programs = {(spec.service, spec.commit, spec.binary): spec for spec in specs}  # alike on every platform
    return [
        f"{spec.what}: no Go file of {spec.package} names {variable.removeprefix('main.')}, so {variable} is stamped "
        "with nothing; check build.version_variable and build.stamp"
        for service, found in (plan.checkouts(ctx, host) if programs else [])
        for (name, commit, _), spec in programs.items()
        if (name, commit) == (service.name, found.commit)
        for variable in unused_stamps(found.mirror, spec)
    ]


@operation()
def binaries(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """All binaries that the store does not have, and those that a twin builds too; on all builders at once.

    + ctx: the run and its hosts
    """
    if plan.to_build(ctx, ctx.host):
        yield FunctionCommand(_binaries, (ctx,), {})
    else:
        ctx.host.noop("every artifact is in the store")


def _binaries(state: State, host: Host, ctx: RunContext) -> bool:
    if skip_if_stopped(ctx, host):
        return False
    failed = [name for name in ctx.run.twins if name not in {one.name for one in ctx.active(ctx.twins)}]
    if failed and host is ctx.builder:
        host.log_styled(f"nothing is built: its twin {', '.join(failed)} failed (see above)", fg="red")
        return False
    built = ctx.run.built_by(host.name)
    try:
        return all(build_job(state, host, job, built.append) for job in plan.jobs(ctx, host))
    except (GofallbackError, PyinfraError) as error:  # its state cannot be read, or a path fits no command line
        return fail(host, str(error))
