"""Stage `release`: a new folder on each target, whole or not at all. Nothing that runs is touched."""

from __future__ import annotations

from collections.abc import Generator, Iterable

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
from gofallback.release.plan import Step

UPLOADS = ("user", "upload", "repair")


@stage("release", "targets")
def release(ctx: RunContext, host: Host) -> None:
    """Upload what is missing; prove on the first target that the binary runs there."""
    if ctx.run.needs_no_artifact:
        return  # the release is on the targets already
    releases = plan.desired_releases(ctx, host)
    if ctx.run.command.releases_from == "store":
        refuse_incompatible(ctx, [host])
    steps = {one.service.name: plan.changes(ctx, host, one) for one in releases}
    changed = [one for one in releases if steps[one.service.name]]
    refuse_unproven(ctx, host, changed)
    artifacts = [ctx.run.artifacts.get(spec.key) for one in changed for spec in one.programs]
    refuse_vulnerable(ctx, host, [one for one in artifacts if one is not None])
    for desired in host.loop(releases):
        plan.show_steps(ctx, host, desired, steps[desired.service.name])
        if sends(steps[desired.service.name]):
            pull.check_pull_store(ctx, host, desired)
        put(name=f"{desired.service.name} {desired.files.id}", ctx=ctx, desired=desired)
        if desired.service.smoke and first_to_get(ctx, host, desired):
            smoke(name=f"{desired.service.name} smoke test", ctx=ctx, desired=desired)


def first_to_get(ctx: RunContext, host: Host, desired: DesiredRelease) -> bool:
    """Whether a target is the first, of those with its platform, that gets a new release of a service."""
    platform = state_of(ctx, host).platform
    for other in in_order(ctx):
        if state_of(ctx, other).platform != platform:
            continue
        for one in plan.desired_releases(ctx, other):
            live = state_of(ctx, other).services[one.service.name].current
            if one.service.name == desired.service.name and live != one.files.id:
                return other is host
    return False


def sends(steps: Iterable[Step]) -> bool:
    """Whether one of the steps sends something to the target."""
    return any(step.kind in UPLOADS for step in steps)


@operation()
def put(ctx: RunContext, desired: DesiredRelease) -> Generator[FunctionCommand, None, None]:
    """Put one release on one target.

    + ctx: the run and its hosts
    + desired: the release
    """
    host = ctx.host
    # Worked out again, as this runs again when executed: the hash of what this run builds is known only then.
    if sends(plan.changes(ctx, host, desired)):
        yield FunctionCommand(_put, (ctx, desired), {})
    else:
        host.noop(f"{desired.service.name}: release {desired.files.id} is there")


def _put(state: State, host: Host, ctx: RunContext, desired: DesiredRelease) -> bool:
    run = ctx.run
    outcome = run.outcome(host.name, desired.service.name)
    reason = stop_reason(ctx)
    if reason is not None:
        return ctx.skip(host, desired.service.name, f"nothing was sent here, because of {reason}")
    programs = [run.artifacts[spec.key] for spec in desired.programs if spec.key in run.artifacts]
    if len(programs) < len(desired.programs):
        return ctx.skip(host, desired.service.name, "there is no artifact to release (see above)")
    outcome.sha256 = programs[0].manifest.sha256
    try:
        problem = reject_reason(ctx, host, programs) or vulnerable(ctx, host, programs)
    except (GofallbackError, OSError) as error:
        problem = str(error)
    if problem is not None:
        return ctx.fail(host, desired.service.name, problem)
    try:
        state_of(ctx, host, refresh=True)  # read again: the build may have taken long since the plan
    except PyinfraError as error:
        return ctx.fail(host, desired.service.name, str(error))
    upload = plan.upload(ctx, host, desired, programs)
    if upload is not None:
        try:
            upload = pull.with_pull_sources(ctx, host, desired, upload, programs[:-1])
        except PublishError as error:
            return ctx.fail(host, desired.service.name, str(error))
    sent = put_release(
        state,
        host,
        upload,
        sudo=ctx.fleet(host).target.sudo,
        report=lambda why: ctx.note_failure(host, desired.service.name, why),
        on_push=pull.push_fallback(ctx, host, desired),
    )
    if sent:
        ctx.run.emit(ReleaseUploaded(host=host.name, service=desired.service.name, release=desired.files.id))
    return sent


@operation()
def smoke(ctx: RunContext, desired: DesiredRelease) -> Generator[FunctionCommand, None, None]:
    """Run the service's smoke command on the target, in a locked-down transient unit, before anything is switched.

    + ctx: the run and its hosts
    + desired: the release
    """
    host = ctx.host
    if state_of(ctx, host).services[desired.service.name].current == desired.files.id:
        host.noop(f"{desired.service.name}: {desired.files.id} is live already")
    else:
        yield FunctionCommand(_smoke, (ctx, desired), {})


def _smoke(state: State, host: Host, ctx: RunContext, desired: DesiredRelease) -> bool:
    return smoke_test(
        state,
        host,
        desired.service,
        desired.files.id,
        desired.files.version,
        ctx.run.id,
        sudo=ctx.fleet(host).target.sudo,
        report=lambda why: ctx.note_failure(host, desired.service.name, why),
    )
