"""Build: every platform of every service, on the builder, with the pinned toolchain."""

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
    lacking = plan.to_build(ctx, host)
    if not lacking:
        host.log("every artifact is in the store; nothing to build")
    for spec in lacking:
        twin = ", to be compared with what another builder built" if plan.second_builder(ctx, spec) == host.name else ""
        host.log(f"{spec.what} {spec.version} {spec.platform}: to be built with go {spec.go_version}{twin}")
    for line in _without_effect(ctx, host, lacking):
        host.log_styled(line, fg="yellow", log_func=logger.warning)
    binaries(name="binaries", ctx=ctx)


def _without_effect(ctx: RunContext, host: Host, lacking: Sequence[BuildSpec]) -> list[str]:
    programs = {(spec.service, spec.commit, spec.binary): spec for spec in lacking}  # alike on every platform
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
    """All binaries that the store does not have, and those that a twin builds as well; on all builders at once.

    + ctx: the run and its hosts
    """
    if plan.to_build(ctx, ctx.host):
        yield FunctionCommand(_binaries, (ctx,), {})
    else:
        ctx.host.noop("every artifact is in the store")


def _binaries(state: State, host: Host, ctx: RunContext) -> bool:
    if skip_if_stopped(ctx, host):
        return False
    away = [name for name in ctx.run.twins if name not in {one.name for one in ctx.active(ctx.twins)}]
    if away and host is ctx.builder:
        host.log_styled(f"nothing is built: its twin {', '.join(away)} failed (see above)", fg="red")
        return False
    built = plan.built_by(ctx, host.name)
    try:
        return all(build_job(state, host, job, built.append) for job in plan.jobs(ctx, host))
    except (GofallbackError, PyinfraError) as error:  # it did not tell its state, or no command line can carry a path
        return fail(host, str(error))
