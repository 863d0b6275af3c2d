"""Verify: on the controller, before any target changes. The builder's word counts for nothing here."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from gofallback.artifact.binary import BinaryInfo, inspect
from gofallback.artifact.compat import Compatibility, TargetFacts, compat_table, compatibility
from gofallback.artifact.verify import problems
from gofallback.controller.store import manifest_text
from gofallback.deploys.building import plan, production
from gofallback.deploys.building.attest import sign_attestations
from gofallback.deploys.building.comparison import (
    confirm_stored_artifacts,
    reconcile_stored,
    twin_attestation,
    with_attestation,
)
from gofallback.deploys.faithful import compare
from gofallback.deploys.releasing import plan as releases
from gofallback.deploys.releasing.vulnerability_gate import refuse_vulnerable
from gofallback.deploys.releasing.vulnerability_gate import reject_reason as vulnerable
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import GofallbackError, RefusedError
from gofallback.gobuild.plan import AGENT
from gofallback.gobuild.result import Built
from gofallback.operations.remote import CONNECTION_ERRORS
from gofallback.report import screen


@stage("verify", "builders")
def verify(ctx: RunContext, host: Host) -> None:
    """Fetch what was built, check it, keep it in the store; judge every artifact for every target that gets it."""
    if host is not ctx.builder:
        return  # what a twin has built is compared in the builder's part
    if not plan.missing_artifacts(ctx):
        receivers = _receivers(ctx)
        refuse_incompatible(ctx, receivers)
        if receivers:
            refuse_vulnerable(ctx, host, ctx.run.artifacts.values())
    artifacts(name="artifacts", ctx=ctx)


def _receivers(ctx: RunContext) -> list[Host]:
    """Targets whose binaries are worth a look: those that get one, or all of them in a rehearsal."""
    if ctx.run.command == "drill":
        return ctx.targets
    return [h for h in ctx.targets if any(releases.changes(ctx, h, want) for want in releases.desired_releases(ctx, h))]


@operation()
def artifacts(ctx: RunContext) -> Generator[FunctionCommand, None, None]:
    """Every binary of this run, fetched, checked and stored.

    + ctx: the run and its hosts
    """
    if plan.missing_artifacts(ctx) or plan.needs_second_build(ctx) or production.comparison_requested(ctx):
        yield FunctionCommand(_artifacts, (ctx,), {})
    else:
        ctx.host.noop("every artifact was verified when it was stored")


def _artifacts(state: State, host: Host, ctx: RunContext) -> bool:
    if production.comparison_requested(ctx) and not compare(state, host, ctx):
        return False
    lacking = {spec.key for spec in plan.missing_artifacts(ctx)}
    built = [one for one in plan.built_by(ctx, host.name) if one.spec.key in lacking]
    with tempfile.TemporaryDirectory(prefix="gofallback-") as folder:
        found = [_keep(host, ctx, one, Path(folder) / f"{number}") for number, one in enumerate(built)]
    problems = [problem for problem in found if problem is not None] + confirm_stored_artifacts(ctx)
    for problem in problems:
        host.log_styled(problem, fg="red")
        ctx.run.cause = ctx.run.cause or problem
    if problems:
        ctx.run.artifacts.clear()  # no target may be given one
        return False
    return _compatible(host, ctx) and _passes_vulnerability_gate(host, ctx)


def _passes_vulnerability_gate(host: Host, ctx: RunContext) -> bool:
    """Whether nothing that is known of these binaries stands against their release."""
    found = vulnerable(ctx, host, ctx.run.artifacts.values())
    if found is not None:
        host.log_styled(found, fg="red")
        ctx.run.cause = ctx.run.cause or found
        ctx.run.artifacts.clear()  # no target may be given one
    return found is None


def _keep(host: Host, ctx: RunContext, built: Built, local: Path) -> str | None:
    """Fetch one binary, check it against what the builder said of it, store it; the problem in one line, or None."""
    manifest = built.manifest
    name = f"{manifest.spec.what} {manifest.platform}"
    try:
        if not host.get_file(built.path, str(local), print_output=False, print_input=False):
            return f"{name}: cannot be fetched from {host.name} (see above); run the same command again"
        info = inspect(local)
        found = problems(info, manifest.spec, sha256=manifest.sha256, size=manifest.size)
        if found:
            return "; ".join(found)
        word, problem = twin_attestation(ctx, manifest, local)
        if problem is not None:
            return problem
        files = with_attestation(sign_attestations(ctx, host, manifest, info), word, manifest, manifest_text(manifest))
        stored = ctx.run.store.add(manifest, local, files)
        ctx.run.artifacts[manifest.key] = stored
        problem = reconcile_stored(ctx, host, stored, manifest, word)
        if problem is not None:
            return problem
        if not built.reused:
            ctx.run.built.add(manifest.key)
    except (GofallbackError, *CONNECTION_ERRORS) as error:
        return f"{name}: {error}"
    host.log(f"{name}: verified, {manifest.size / 1e6:.1f} MB, sha256 {manifest.sha256[:16]}")
    return None


def _compatible(host: Host, ctx: RunContext) -> bool:
    """Does each binary run on the targets that get it? A table, and a refusal with the reason."""
    judged = list(judge_compatibility(ctx, ctx.targets))
    if judged:
        screen.console(sys.stderr).print(compat_table(judged))
    bad = [verdict.reason for _, verdict in judged if not verdict.ok]
    for reason in bad:
        host.log_styled(f"will not run there: {reason}", fg="red")
    if bad:
        ctx.run.artifacts.clear()  # no target may be given one
    return not bad


def refuse_incompatible(ctx: RunContext, hosts: Iterable[Host]) -> None:
    """The same for artifacts that exist already, while planning.

    Raises:
        RefusedError: a stored artifact would not run on a target.
    """
    with ctx.lock:
        bad = [verdict.reason for _, verdict in judge_compatibility(ctx, hosts) if not verdict.ok]
    if bad:
        raise RefusedError(f"will not run there: {'; '.join(bad)}; nothing was changed")


def judge_compatibility(ctx: RunContext, hosts: Iterable[Host]) -> Iterator[tuple[str, Compatibility]]:
    """Every artifact of the run for every one of these targets that gets it; a binary is read once."""
    infos: dict[str, BinaryInfo] = ctx.memo.setdefault("infos", {})
    for host in ctx.active(hosts):
        state = state_of(ctx, host)
        facts = TargetFacts(
            name=host.name,
            goarch=state.platform.split("/")[1],
            kernel=state.kernel,
            libc=state.libc,
            libc_version=state.libc_version,
        )
        for service in [*(service.name for service in ctx.services(host)), AGENT]:
            for number, stored in enumerate(ctx.run.artifacts_of(service, state.platform)):
                key, spec = stored.manifest.key, stored.manifest.spec
                if key not in infos:
                    infos[key] = inspect(stored.path)
                what = f"{service} {spec.binary}" if number else service
                verdict = compatibility(infos[key], facts, spec.cgo.compiler if spec.cgo else "zig")
                for row in verdict.rows:
                    if row.what == "libc" and not infos[key].static:
                        ctx.run.libc.setdefault(key, {})[host.name] = (row.needs, row.has)
                yield f"{host.name} {what}", verdict
