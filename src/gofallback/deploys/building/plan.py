"""What each builder has to build: binaries that the store does not have, and second builds."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.host import Host

from gofallback.artifact.spec import BuildSpec
from gofallback.builder.paths import program
from gofallback.deploys.building import cgo, production, twin
from gofallback.deploys.building.modules import modules_of, resend_modules
from gofallback.deploys.building.specs import all_specs, services_in_use, source_of
from gofallback.deploys.run.context import Key, RunContext
from gofallback.errors import RefusedError
from gofallback.facts.builder import builder_state
from gofallback.gobuild.modules import Modules
from gofallback.gobuild.plan import AGENT, generator
from gofallback.model import Service
from gofallback.operations.job import Job
from gofallback.source.model import ResolvedSource

_MISSING: Key[list[BuildSpec]] = Key("missing artifacts")
_SECOND: Key[dict[str, str | None]] = Key("second builders")
_TO_BUILD: Key[list[BuildSpec]] = Key("builds of a builder")


def missing_artifacts(ctx: RunContext) -> list[BuildSpec]:
    """Specs without an artifact in the store; found artifacts go to `run.artifacts`. Made once."""
    return ctx.once(_MISSING, lambda: _missing_artifacts(ctx))


def _missing_artifacts(ctx: RunContext) -> list[BuildSpec]:
    missing = []
    # a rebuild for a comparison alone is no artifact: it is not stored
    for spec in () if ctx.run.command.production_only else all_specs(ctx):
        stored = ctx.run.store.find(spec.service, spec.key)
        if stored is None:
            missing.append(spec)
        else:
            ctx.run.artifacts[spec.key] = stored
    return missing


def second_builders(ctx: RunContext) -> dict[str, str | None]:
    """Key of every build that a second builder makes too (`trust.twin`) to that builder's name; None: there is none.

    Made once. It is not the builder that built, or builds, the artifact.
    """
    return ctx.once(_SECOND, lambda: dict(_second_builders(ctx)) if twin.twin_required(ctx) else {})


def _second_builders(ctx: RunContext) -> Iterator[tuple[str, str | None]]:
    policy, missing = twin.twin_policy(ctx), {spec.key for spec in missing_artifacts(ctx)}
    for spec in all_specs(ctx):
        stored = None if spec.key in missing else ctx.run.artifacts.get(spec.key)
        if stored is not None and twin.twin_confirms(ctx, stored):
            continue
        first = stored.manifest.builder if stored else ctx.run.builder
        others = [name for name in (*ctx.run.twins, ctx.run.builder) if name not in (None, first)]
        yield spec.key, next((name for name in others if name and first and policy.accepts(first, name)), None)


def require_second_builder(ctx: RunContext) -> None:
    """Refuse a run that requires a second builder and has none.

    Raises:
        RefusedError: no second builder can be reached.
    """
    second = second_builders(ctx)
    unconfirmed = [spec for spec in all_specs(ctx) if second.get(spec.key, "") is None]
    if unconfirmed:
        unreachable = f" ({', '.join(ctx.unreachable_builders)} cannot be reached)" if ctx.unreachable_builders else ""
        first = unconfirmed[0]
        raise RefusedError(
            f"{twin.twin_policy(ctx).source}: no second builder is there{unreachable} to build {first.service} "
            f"{first.version} {first.platform} too; nothing was changed: mend it, or go on with --data twin=false and "
            "a reason"
        )


def to_build(ctx: RunContext, host: Host) -> list[BuildSpec]:
    """What one builder builds in this run: missing artifacts, rebuilds of production, and second builds. Made once."""
    return ctx.once(_TO_BUILD(host.name), lambda: _to_build(ctx, host))


def _to_build(ctx: RunContext, host: Host) -> list[BuildSpec]:
    own = list(missing_artifacts(ctx)) if host is ctx.builder else []
    if host is ctx.builder:
        own += [spec for spec in production.specs(ctx) if spec not in own]
    second = second_builders(ctx)
    return [
        *own,
        *(spec for spec in (all_specs(ctx) if second else ()) if spec not in own and second.get(spec.key) == host.name),
    ]


def checkouts(ctx: RunContext, host: Host) -> list[tuple[Service, ResolvedSource]]:
    """The commits that a builder needs: of each service that it builds, and of the releases in production."""
    commits = {(spec.service, spec.commit) for spec in to_build(ctx, host)}
    if ctx.run.command.production_only:
        return production.checkouts(ctx)
    new = [(one, source_of(ctx, one)) for one in services_in_use(ctx) if any(one.name == name for name, _ in commits)]
    needed = [(one, found) for one, found in new if (one.name, found.commit) in commits]
    known = {(one.name, found.commit) for one, found in needed}
    old = production.checkouts(ctx) if host is ctx.builder else []
    return [*needed, *((one, found) for one, found in old if (one.name, found.commit) not in known)]


def builds_agent(ctx: RunContext, host: Host) -> bool:
    """Whether a builder builds our own agent."""
    return any(spec.service == AGENT for spec in to_build(ctx, host))


def git_program(ctx: RunContext, host: Host) -> str:
    """Path of git's program on the builder: as installed, or where provisioning will install it."""
    fleet = ctx.fleet(host)
    assert fleet.toolchain is not None  # preflight and provisioning refuse a builder without one
    state = builder_state(host, fleet.builder.root)
    version = fleet.toolchain.git_of(state.os)
    return program("git", state.toolchain_path("git", version, use_installed=fleet.builder.use_installed))


def jobs(ctx: RunContext, host: Host) -> list[Job]:
    """One job for each service and Go version, the agent's last."""
    fleet = ctx.fleet(host)
    state = builder_state(host, fleet.builder.root)
    services = {service.name: service for service in services_in_use(ctx)}
    # a build that is to be compared takes nothing from an earlier day
    fresh_keys = {*second_builders(ctx), *(spec.key for spec in production.specs(ctx))}
    grouped: dict[tuple[str, str, str, bool, tuple[str, ...]], list[BuildSpec]] = {}
    for spec in to_build(ctx, host):
        # a release in production may have been generated otherwise, and a job generates once
        code = (*spec.generate, "", *generator(spec).tags) if spec.generate else ()
        grouped.setdefault((spec.service, spec.go_version, spec.commit, spec.key in fresh_keys, code), []).append(spec)
    result = []
    sources = {(one.name, found.commit): found for one, found in checkouts(ctx, host)}
    for (name, version, commit, fresh, _), specs in grouped.items():
        service, source = services.get(name), sources.get((name, commit))
        # second builds and builds to be compared were vetted and tested where they were built first
        first = host is ctx.builder and any(spec in missing_artifacts(ctx) for spec in specs)
        result.append(
            Job(
                specs=tuple(specs),
                fresh=fresh,
                builder=fleet.builder,
                goroot=state.toolchain_path("go", version, use_installed=fleet.builder.use_installed),
                git=git_program(ctx, host),
                records=ctx.run.home.run(ctx.run.id) / ("build" if host is ctx.builder else f"build-{host.name}"),
                timeout=service.build.timeout if service else 1800,
                vet=service.build.vet if service and first else False,
                test=service.build.test if service and first else False,
                system_root=state.environment.get("SYSTEMROOT", "C:\\Windows"),
                modules=modules_of(ctx, host, service, source) if service and source else Modules(),
                resend_modules=resend_modules(ctx, host, service, source) if service and source else None,
                cores=state.cores,
                sysroots=cgo.sysroots_for(ctx, service, specs),
                packed=cgo.sysroot_cache(ctx),
            )
        )
    return result
