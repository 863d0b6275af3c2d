"""Release: a new folder on each target, whole or not at all. Nothing that runs is touched."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.deploys.releasing import plan, pull
from gofallback.deploys.releasing.compatibility import refuse_incompatible
from gofallback.deploys.releasing.desired import DesiredRelease
from gofallback.deploys.releasing.provenance_gate import refuse_unproven, reject_reason
from gofallback.deploys.releasing.vulnerability_gate import refuse_vulnerable
from gofallback.deploys.releasing.vulnerability_gate import reject_reason as vulnerable
from gofallback.deploys.rollout.waves import in_order, stop_reason
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import GofallbackError
from gofallback.journal.events import ReleaseUploaded
from gofallback.operations.target.release import put_release
from gofallback.operations.target.smoke import smoke_test
from gofallback.publish.errors import PublishError

UPLOADS = ("user", "upload", "repair")


@stage("release", "targets")
def release(ctx: RunContext, host: Host) -> None:
    """Upload what is missing; prove on the first target that the binary runs there."""
    if ctx.run.needs_no_artifact:
        return  # everything is there already
    wanted = plan.desired_releases(ctx, host)
    if ctx.run.command.releases_from == "store":
        refuse_incompatible(ctx, [host])
    changed = [want for want in wanted if plan.changes(ctx, host, want)]
    refuse_unproven(ctx, host, changed)
    there = [ctx.run.artifacts.get(spec.key) for want in changed for spec in want.programs]
    refuse_vulnerable(ctx, host, [one for one in there if one is not None])
    for want in host.loop(wanted):
        plan.show_changes(ctx, host, want)
        if sends(ctx, host, want):
            pull.check_pull_store(ctx, host, want)
        put(name=f"{want.service.name} {want.files.id}", ctx=ctx, want=want)
        if want.service.smoke and first_to_get(ctx, host, want):
            smoke(name=f"{want.service.name} smoke test", ctx=ctx, want=want)


def sends(ctx: RunContext, host: Host, want: DesiredRelease) -> bool:
    """Whether anything of a release has to come to a target."""
    return any(step.kind in UPLOADS for step in plan.changes(ctx, host, want))


def first_to_get(ctx: RunContext, host: Host, want: DesiredRelease) -> bool:
    """Whether a target is the first, of those with its platform, that gets a new release of a service."""
    platform = state_of(ctx, host).platform
    for other in in_order(ctx):
        if state_of(ctx, other).platform != platform:
            continue
        for theirs in plan.desired_releases(ctx, other):
            live = state_of(ctx, other).services[theirs.service.name].current
            if theirs.service.name == want.service.name and live != theirs.files.id:
                return other is host
    return False


@operation()
def put(ctx: RunContext, want: DesiredRelease) -> Generator[FunctionCommand, None, None]:
    """Bring one release to one target.

    + ctx: the run and its hosts
    + want: the release
    """
    host = ctx.host
    if sends(ctx, host, want):
        yield FunctionCommand(_put, (ctx, want), {})
    else:
        host.noop(f"{want.service.name}: release {want.files.id} is there")


def _put(state: State, host: Host, ctx: RunContext, want: DesiredRelease) -> bool:
    run = ctx.run
    outcome = run.outcome(host.name, want.service.name)
    reason = stop_reason(ctx)
    if reason is not None:
        return ctx.skip(host, want.service.name, f"nothing was sent here, because of {reason}")
    programs = [run.artifacts[spec.key] for spec in want.programs if spec.key in run.artifacts]
    if len(programs) < len(want.programs):
        return ctx.skip(host, want.service.name, "there is no artifact to release (see above)")
    outcome.sha256 = programs[0].manifest.sha256
    try:
        against = reject_reason(ctx, host, programs) or vulnerable(ctx, host, programs)
    except (GofallbackError, OSError) as error:
        against = str(error)
    if against is not None:
        return ctx.fail(host, want.service.name, against)
    try:
        state_of(ctx, host, refresh=True)  # the plan is as old as the build was long
    except PyinfraError as error:
        return ctx.fail(host, want.service.name, str(error))
    upload = plan.upload(ctx, host, want, programs)
    if upload is not None:
        try:
            upload = pull.with_pull_sources(ctx, host, want, upload, programs[:-1])
        except PublishError as error:
            return ctx.fail(host, want.service.name, str(error))
    sent = put_release(
        state,
        host,
        lambda: upload,
        sudo=ctx.fleet(host).target.sudo,
        report=lambda why: ctx.note_failure(host, want.service.name, why),
        on_push=pull.push_fallback(ctx, host, want),
    )
    if sent:
        ctx.run.emit(ReleaseUploaded(host=host.name, service=want.service.name, release=want.files.id))
    return sent


@operation()
def smoke(ctx: RunContext, want: DesiredRelease) -> Generator[FunctionCommand, None, None]:
    """Run the service's smoke command on the target, in a locked-down transient unit, before anything is switched.

    + ctx: the run and its hosts
    + want: the release
    """
    host = ctx.host
    if state_of(ctx, host).services[want.service.name].current == want.files.id:
        host.noop(f"{want.service.name}: {want.files.id} is live already")
    else:
        yield FunctionCommand(_smoke, (ctx, want), {})


def _smoke(state: State, host: Host, ctx: RunContext, want: DesiredRelease) -> bool:
    return smoke_test(
        state,
        host,
        want.service,
        want.files.id,
        want.files.version,
        ctx.run.id,
        sudo=ctx.fleet(host).target.sudo,
        report=lambda why: ctx.note_failure(host, want.service.name, why),
    )
