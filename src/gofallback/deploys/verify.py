"""Stage `verify`: on the controller, before any target changes. Claims of the builder count for nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.artifact.binary import inspect
from gofallback.artifact.verify import problems as binary_problems
from gofallback.deploys.building import plan, production
from gofallback.deploys.building.attest import sign_attestations
from gofallback.deploys.building.comparison import (
    confirm_stored_artifacts,
    reconcile_stored,
    twin_attestation,
)
from gofallback.deploys.building.known_good import compare
from gofallback.deploys.releasing.compatibility import incompatibilities, refuse_incompatible
from gofallback.deploys.releasing.plan import changes, desired_releases
from gofallback.deploys.releasing.vulnerability_gate import refuse_vulnerable, reject_reason
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage
from gofallback.errors import GofallbackError
from gofallback.gobuild.result import Built
from gofallback.operations.remote import CONNECTION_ERRORS


@stage("verify", "builders")
def verify(ctx: RunContext, host: Host) -> None:
    """Fetch each binary, check and store it; check every artifact against every target that gets it."""
    if host is not ctx.builder:
        return  # a twin's builds are compared in the builder's part
    if not plan.missing_artifacts(ctx):
        receivers = _receivers(ctx)
        refuse_incompatible(ctx, receivers)
        if receivers:
            refuse_vulnerable(ctx, host, ctx.run.artifacts.values())
    artifacts(name="artifacts", ctx=ctx)


def _receivers(ctx: RunContext) -> list[Host]:
    """Targets whose binaries are checked: those that get one, or all in a drill."""
    if ctx.run.command.drill:
        return ctx.targets
    return [host for host in ctx.targets if any(changes(ctx, host, one) for one in desired_releases(ctx, host))]


@operation()
def artifacts(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """Every binary of this run, fetched, checked and stored.

    + ctx: the run and its hosts
    """
    if plan.missing_artifacts(ctx) or plan.second_builders(ctx) or production.comparison_requested(ctx):
        yield FunctionCommand(_artifacts, (ctx,), {})
    else:
        ctx.host.noop("every artifact was verified when it was stored")


def _artifacts(state: State, host: Host, ctx: RunContext) -> bool:
    if production.comparison_requested(ctx) and not compare(state, host, ctx):
        return False
    missing = {spec.key for spec in plan.missing_artifacts(ctx)}
    built = [one for one in ctx.run.built_by(host.name) if one.spec.key in missing]
    with tempfile.TemporaryDirectory(prefix="gofallback-") as folder:
        results = [_store(host, ctx, one, Path(folder) / f"{number}") for number, one in enumerate(built)]
    problems = [problem for problem in results if problem is not None] + confirm_stored_artifacts(ctx)
    if not problems:
        problems = [f"will not run there: {reason}" for reason in incompatibilities(ctx)]
    if not problems and (reason := reject_reason(ctx, host, ctx.run.artifacts.values())) is not None:
        problems = [reason]
    for problem in problems:
        host.log_styled(problem, fg="red")
        ctx.run.veto(problem)
    if problems:
        ctx.run.artifacts.clear()  # the report lists only what may be shipped
    return not problems


def _store(host: Host, ctx: RunContext, built: Built, local: Path) -> str | None:
    """Fetch one binary, check it against the builder's report, and store it; the problem in one line, or None."""
    manifest = built.manifest
    name = f"{manifest.spec.what} {manifest.platform}"
    try:
        if not host.get_file(built.path, str(local), print_output=False, print_input=False):
            return f"{name}: cannot be fetched from {host.name} (see above); run the same command again"
        info = inspect(local)
        found = binary_problems(info, manifest.spec, sha256=manifest.sha256, size=manifest.size)
        if found:
            return "; ".join(found)
        attestation = twin_attestation(ctx, manifest, local, info)
        stored = ctx.run.store.add(manifest, local, sign_attestations(ctx, host, manifest, info, attestation))
        ctx.run.artifacts[manifest.key] = stored
        reconcile_stored(ctx, host, stored, manifest, attestation)
        if not built.reused:
            ctx.run.built.add(manifest.key)
    except (GofallbackError, *CONNECTION_ERRORS) as error:
        return f"{name}: {error}"
    host.log(f"{name}: verified, {manifest.size / 1e6:.1f} MB, sha256 {manifest.sha256[:16]}")
    return None
