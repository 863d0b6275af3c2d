"""The builds of a run: each service's exact commit, its binaries and the agent, by platform."""

from __future__ import annotations

import click
from pyinfra.api.host import Host

from gofallback.artifact.spec import BuildSpec
from gofallback.deploys.building import cgo
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import RefusedError
from gofallback.git.resolve import resolve as resolve_ref
from gofallback.gobuild import agent_source, plan
from gofallback.gobuild.plan import AGENT
from gofallback.model import Service, Toolchain
from gofallback.source.model import ResolvedSource

_SOURCE: Key[ResolvedSource] = Key("source")


def source_of(ctx: RunContext, service: Service) -> ResolvedSource:
    """The exact commit of a service. The first caller resolves and prints it, the others wait."""
    return ctx.once(_SOURCE(service.name), lambda: ctx.run.sources.get(service.name) or _resolve(ctx, service))


def _resolve(ctx: RunContext, service: Service) -> ResolvedSource:
    requested = service
    if ctx.run.options.ref:
        requested = service.model_copy(
            update={"source": service.source.model_copy(update={"ref": ctx.run.options.ref})}
        )
    found = resolve_ref(requested, ctx.run.home.mirrors, offline=ctx.run.options.source_offline, report=_print)
    _print(found.line())
    for note in found.notes:
        ctx.run.note(note)
    ctx.run.sources[service.name] = found
    return found


def _print(line: str) -> None:
    click.echo(f"    {line}", err=True)


def go_version(ctx: RunContext, service: Service) -> str:
    """Toolchain version that builds a service.

    Raises:
        RefusedError: no builder in the inventory names a toolchain.
    """
    return service.build.go or toolchain_of(ctx).go


def toolchain_of(ctx: RunContext) -> Toolchain:
    """The toolchain of the builder, from group data.

    Raises:
        RefusedError: no builder in the inventory names one.
    """
    builder = ctx.builder
    fleets = [*([ctx.fleet(builder)] if builder else []), *ctx.run.fleets.values()]
    toolchain = next((fleet.toolchain for fleet in fleets if fleet.toolchain is not None), None)
    if toolchain is None:
        raise RefusedError("toolchain: no host of group `builders` has one; add it to group_data/builders.py")
    return toolchain


def services_in_use(ctx: RunContext) -> list[Service]:
    """Every service that a reachable target runs, by name. All targets have to build it alike.

    In a drill without targets: every service of the builder's data, for the platforms that it lists.

    Raises:
        RefusedError: two targets disagree about how a service is built.
    """
    found: dict[str, tuple[Service, Host]] = {}
    builder = ctx.builder if ctx.run.command.drill and not ctx.unreachable_targets else None
    for host in ctx.targets or ([builder] if builder else []):
        for service in ctx.services(host):
            first, other = found.setdefault(service.name, (service, host))
            if (first.source, first.build) != (service.source, service.build):
                raise RefusedError(
                    f"services.{service.name}: source and build differ between {other.name} and {host.name}; "
                    "one commit is built for the whole fleet, so set them for all targets alike"
                )
    return [found[name][0] for name in sorted(found)]


def specs_for(ctx: RunContext, service: Service, platforms: list[str]) -> dict[str, BuildSpec]:
    """The spec of a service's main binary, by platform; specs of its extra binaries go to `run.extra_binaries`."""
    known = ctx.run.specs.setdefault(service.name, {})
    extra = ctx.run.extra_binaries.setdefault(service.name, {})
    every = [
        spec.model_copy(update={"cgo": cgo.cgo_for(ctx, service, spec.platform, toolchain_of(ctx), glibc)})
        for spec in plan.specs(service, source_of(ctx, service), go_version(ctx, service), platforms)
        for glibc in [_glibc(ctx, service, spec.platform) if service.build.cgo else []]
    ]
    for spec in every:
        if spec.binary == service.binary:
            known.setdefault(spec.platform, spec)
            others = (one for one in every if one.platform == spec.platform and one.binary != service.binary)
            extra.setdefault(spec.platform, tuple(others))
    return known


def _glibc(ctx: RunContext, service: Service, platform: str) -> list[str]:
    """glibc versions of the targets with that platform that get a service."""
    states = [state_of(ctx, host) for host in ctx.targets_of(service.name)]
    return [state.libc_version for state in states if state.platform == platform and state.libc == "glibc"]


def agent_for(ctx: RunContext, service: Service, platform: str) -> BuildSpec:
    """The agent for a platform, built by the same toolchain as the service."""
    known = ctx.run.specs.setdefault(AGENT, {})
    if platform not in known:
        known[platform] = plan.agent_spec(go_version(ctx, service), platform, agent_source.agent_digest())
    return known[platform]


def all_specs(ctx: RunContext) -> list[BuildSpec]:
    """Every spec that the run builds or finds in the store: services, then agents; each once."""
    specs: dict[str, BuildSpec] = {}
    agents: dict[str, BuildSpec] = {}
    for service in services_in_use(ctx):
        linux = sorted({state_of(ctx, host).platform for host in ctx.targets_of(service.name)})
        mains, extra = specs_for(ctx, service, linux), ctx.run.extra_binaries[service.name]
        specs |= {spec.key: spec for platform, main in mains.items() for spec in (main, *extra[platform])}
        agents |= {spec.key: spec for spec in (agent_for(ctx, service, platform) for platform in linux)}
    return [*specs.values(), *agents.values()]
