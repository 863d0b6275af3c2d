"""The checks of preflight. Each raises RefusedError with one line; none changes anything."""

from __future__ import annotations

import time

import gevent
from pyinfra.api.host import Host

from gofallback.builder.messages import MAKE_ROOM
from gofallback.connectors.winssh import WinSSHConnector
from gofallback.deploys.building import plan, production, twin
from gofallback.deploys.building.specs import all_specs, services_in_use
from gofallback.deploys.checks.approvals import require_permission
from gofallback.deploys.checks.prefetch import prefetch
from gofallback.deploys.releasing.desired import check_files
from gofallback.deploys.rollout import etcd_lease, waves
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.journal import journal_problem
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import RefusedError
from gofallback.facts.builder import builder_state
from gofallback.lease.holder import Holder, blocks
from gofallback.lease.script import HEARTBEAT
from gofallback.model import Service
from gofallback.model.platform import GO_PLATFORMS
from gofallback.pyinfra_patches.empty_run import GIVEN, misspelt_limit
from gofallback.pyinfra_patches.failures import forgive
from gofallback.pyinfra_patches.flags import cli_parameters
from gofallback.release.prerequisites import requirement_problems, upload_problems


def check_run(ctx: RunContext) -> None:
    """Once per run: check pyinfra's options, reachable hosts and the builder; then read every host in parallel.

    Raises:
        RefusedError: the run must not begin.
    """
    command = ctx.run.command
    _pyinfra_options(ctx)
    _reachable(ctx)
    _connectors(ctx)
    if command.needs_builder and ctx.builders:
        _choose_builder(ctx)
    if command.twin:
        twin.select_twin(ctx)
    if command.needs_targets and not services_in_use(ctx):
        raise RefusedError(f"nothing to do: no target here runs {', '.join(ctx.run.options.service) or 'any service'}")
    _platforms(ctx)
    if command.changes_targets:
        waves.check_strategy(ctx)
        etcd_lease.check(ctx)
    problem = None if command.read_only or cli_parameters().get("dry") else journal_problem(ctx.run)
    if problem:
        raise RefusedError(problem)
    prefetch(ctx, sources=command.needs_builder and not command.production_only)
    production.require_comparable(ctx)
    if command.needs_builder and not ctx.builders:
        _require_stored_artifacts(ctx)
    if command.twin and command.needs_builder:
        plan.require_second_builder(ctx)
    if command.drill:
        check_files(ctx)
    require_permission(ctx)


def _pyinfra_options(ctx: RunContext) -> None:
    given = cli_parameters()
    for name, flag in (("no_wait", "--no-wait"), ("serial", "--serial"), ("fail_percent", "--fail-percent")):
        if given.get(name) is not None and given[name] is not False:
            raise RefusedError(
                f"{flag}: refused; with it pyinfra goes on after a failed host, or ends in the middle; order and "
                "budget are group data: `rollout: {canary, waves, budget}`"
            )
    if problem := misspelt_limit(GIVEN, ctx.state.inventory):
        raise RefusedError(problem)


def _reachable(ctx: RunContext) -> None:
    command, run = ctx.run.command, ctx.run
    if not command.only_builders:
        forgive(ctx.state, ctx.unreachable_builders)  # another builder serves the run, or none is needed
    if command.only_builders and not ctx.builders:
        raise RefusedError(_no_hosts_reason("builders", ctx.unreachable_builders))
    if not command.needs_targets:
        return
    if ctx.unreachable_targets and not run.options.skip_unreachable and not command.read_only:
        raise RefusedError(
            f"{', '.join(ctx.unreachable_targets)}: cannot be reached (see above); nothing was changed on any host: "
            "mend it, or go on without by --data skip_unreachable=true"
        )
    if ctx.unreachable_targets:
        run.note(f"left out, cannot be reached: {', '.join(ctx.unreachable_targets)}")
    if not ctx.targets and (not command.drill or ctx.unreachable_targets):
        raise RefusedError(_no_hosts_reason("targets", ctx.unreachable_targets))


def _connectors(ctx: RunContext) -> None:
    """A Linux host behind @winssh would get commands for cmd.exe, and answer with errors of its shell."""
    linux = [*ctx.targets, *(host for host in ctx.builders if ctx.fleet(host).builder.os == "linux")]
    for host in linux:
        if isinstance(host.connector, WinSSHConnector):
            raise RefusedError(
                f"{host.name}: @winssh is for Windows hosts, and this is a Linux one (a target, or builder.os is "
                f"linux): write @linssh/{host.name} in the inventory"
            )


def _platforms(ctx: RunContext) -> None:
    """A drill without targets builds for the platforms that group data lists."""
    if not ctx.run.command.drill or ctx.targets:
        return
    for service in services_in_use(ctx):
        if not service.build.platforms:
            raise RefusedError(
                f"services.{service.name}.build.platforms: is empty, and no target says what to build for; list "
                "platforms, such as linux/amd64, or give the inventory targets"
            )


def _no_hosts_reason(group: str, unreachable: list[str]) -> str:
    if unreachable:
        return f"none of the {group} can be reached: {', '.join(unreachable)}"
    return (
        f"the inventory has no hosts in the group `{group}` (or --limit leaves them out); see inventories/production.py"
    )


def _choose_builder(ctx: RunContext) -> None:
    ctx.run.builder = _first_trusted(ctx)
    if ctx.unreachable_builders:
        ctx.run.note(f"builder {', '.join(ctx.unreachable_builders)} cannot be reached; {ctx.run.builder} builds")


def _first_trusted(ctx: RunContext) -> str:
    """The first builder that every target trusts (`trust.builders`); without any, the first: later checks refuse it."""
    allowed = [set(ctx.fleet(host).trust.builders) for host in ctx.targets if ctx.fleet(host).trust.builders]
    names = [host.name for host in ctx.builders]
    return next((name for name in names if all(name in some for some in allowed)), names[0])


def _require_stored_artifacts(ctx: RunContext) -> None:
    if production.comparison_requested(ctx):
        raise RefusedError(f"{_no_hosts_reason('builders', ctx.unreachable_builders)}; there is no builder to compare")
    missing = [spec for spec in all_specs(ctx) if ctx.run.store.find(spec.service, spec.key) is None]
    if missing:
        what = f"{missing[0].what} {missing[0].version} for {missing[0].platform} is not in the artifact store either"
        raise RefusedError(f"{_no_hosts_reason('builders', ctx.unreachable_builders)}; {what}")
    ctx.run.note("no builder can be reached; every artifact was in the store")


def check_target(ctx: RunContext, host: Host) -> None:
    """Check one target: its platform, its disk and programs, and that no other run is at work there."""
    if ctx.run.command.read_only:
        return
    state = state_of(ctx, host)
    _refuse(host, requirement_problems(state))
    if state.platform not in GO_PLATFORMS:
        raise RefusedError(f"{host.name}: Go has no port for {state.kernel} on {state.machine}")
    if not ctx.run.command.changes_targets:
        return
    uploads = ctx.run.command.releases_from != "targets"
    minimum = ctx.fleet(host).target.minimum_free_mb if uploads else 0
    for service in ctx.services(host):
        _wait_for_lost_run(ctx, host, service)
        _refuse(host, upload_problems(state_of(ctx, host), service, 0, minimum, ctx.run.id, ctx.run.options.takeover))


def _refuse(host: Host, problems: list[str]) -> None:
    if problems:
        raise RefusedError(f"{host.name}: {'; '.join(problems)}; nothing was changed")


def _wait_for_lost_run(ctx: RunContext, host: Host, service: Service) -> None:
    """Wait until a lease without a controller expires; `upload_problems` reports a lease that is renewed.

    A controller that dies loses its connection and its lease at once. The lease of a controller whose network was cut
    is not renewed, and expires. Within a heartbeat it shows which of the two happened.
    """
    began, logged = time.monotonic(), False
    held = state_of(ctx, host).services[service.name].lease
    while held is not None and blocks(held, ctx.run.id, ctx.run.options.takeover):
        before, waited = held, time.monotonic() - began
        if waited > HEARTBEAT and not logged:
            host.log(f"{service.name}: {held} does not renew its lease any more; waiting until it expires")
            logged = True
        gevent.sleep(0.5)
        held = state_of(ctx, host, refresh=True).services[service.name].lease
        if held is not None and _is_renewed(before, held):
            return


def _is_renewed(before: Holder, now: Holder) -> bool:
    """Whether the lease was renewed, or taken anew, between two readings."""
    if before.run_id != now.run_id or before.number != now.number:
        return True
    return now.age is not None and (before.age is None or now.age < before.age)


def check_builder(ctx: RunContext, host: Host) -> None:
    """Check the free disk space of a builder that has something to build."""
    if not plan.to_build(ctx, host):
        return
    settings = ctx.fleet(host).builder
    state = builder_state(host, settings.root)
    if state.free_bytes is not None and state.free_bytes < settings.minimum_free_mb * 1_000_000:
        raise RefusedError(
            f"{host.name}: {state.free_bytes / 1e6:.0f} MB free on the disk of {settings.root}, expected at least "
            f"{settings.minimum_free_mb} MB (builder.minimum_free_mb); nothing was changed; {MAKE_ROOM}"
        )
