"""The release that a run puts on each target, for each service."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pyinfra.api.host import Host

from gofallback.artifact.spec import BuildSpec
from gofallback.controller.release_files import FileSources, collect_release_files
from gofallback.deploys.building.specs import agent_for, specs_for
from gofallback.deploys.releasing.stored import stored_agent, stored_of
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.git import resolve
from gofallback.git.commit_files import commit_files
from gofallback.model import Service
from gofallback.release import templates
from gofallback.release.extra_file import ExtraFile
from gofallback.release.render import ReleaseFiles, render
from gofallback.source.model import Repository


@dataclass(frozen=True)
class DesiredRelease:
    """One release of one service on one target."""

    service: Service
    files: ReleaseFiles
    binary: BuildSpec
    """The main binary, which the unit runs."""
    agent: BuildSpec
    extra_binaries: tuple[BuildSpec, ...] = ()
    """The other binaries, sorted by name."""

    @property
    def programs(self) -> tuple[BuildSpec, ...]:
        """All of its parts that are built: main binary, extra binaries, agent."""
        return (self.binary, *self.extra_binaries, self.agent)

    @property
    def commit(self) -> str:
        """Full SHA of the commit."""
        return self.binary.commit


def desired_from_source(ctx: RunContext, host: Host) -> list[DesiredRelease]:
    """The releases that a build of this run puts on a target."""
    platform = state_of(ctx, host).platform
    releases = []
    for service in ctx.services(host):
        binary = specs_for(ctx, service, [platform])[platform]
        programs = (binary, *ctx.run.extra_binaries[service.name][platform])
        releases.append(_desired(ctx, host, service, programs, agent_for(ctx, service, platform)))
    return releases


def desired_from_store(ctx: RunContext, host: Host) -> list[DesiredRelease]:
    """The releases that stored artifacts put on a target (rollout.py).

    Raises:
        RefusedError: no version was named, or the store has none that fits.
    """
    platform = state_of(ctx, host).platform
    releases = []
    for service in ctx.services(host):
        binary, *extra = stored_of(ctx, service, platform)
        agent = stored_agent(ctx, platform)
        for stored in (binary, *extra, agent):
            ctx.run.artifacts[stored.manifest.key] = stored
        for stored in (binary, agent):
            spec = stored.manifest.spec
            ctx.run.specs.setdefault(spec.service, {})[spec.platform] = spec
        specs = tuple(stored.manifest.spec for stored in extra)
        ctx.run.extra_binaries.setdefault(service.name, {})[platform] = specs
        releases.append(_desired(ctx, host, service, (binary.manifest.spec, *specs), agent.manifest.spec))
    return releases


def _desired(
    ctx: RunContext, host: Host, service: Service, programs: tuple[BuildSpec, ...], agent: BuildSpec
) -> DesiredRelease:
    binary, *extra = programs
    files = render(
        service,
        version=binary.version,
        artifact_key=binary.key,
        agent_key=agent.key,
        templates=templates.load(ctx.project),
        extra_binaries={spec.binary: spec.key for spec in extra},
        extra_files=_extra_files(ctx, service, binary, ctx.fleet(host).environment),
    )
    return DesiredRelease(service=service, files=files, binary=binary, agent=agent, extra_binaries=tuple(extra))


def check_files(ctx: RunContext) -> None:
    """Collect the files of every release, so that a drill reports a missing one although it ships none.

    Raises:
        DataError, SourceError: a file cannot be read or rendered.
    """
    for host in ctx.targets:
        platform = state_of(ctx, host).platform
        for service in ctx.services(host):
            _extra_files(ctx, service, specs_for(ctx, service, [platform])[platform], ctx.fleet(host).environment)


_FILES: Key[dict[str, ExtraFile]] = Key("files of a release")


def _extra_files(ctx: RunContext, service: Service, binary: BuildSpec, environment: str) -> dict[str, ExtraFile]:
    """The files that `files` of a service adds to its release. Rendered once for all targets with the same data.

    Raises:
        DataError, SourceError: a file cannot be read or rendered.
    """
    if not service.files:
        return {}
    context = {"version": binary.version, "commit": binary.commit, "environment": environment}

    def collect() -> dict[str, ExtraFile]:
        source: Repository | None = ctx.run.sources.get(service.name)
        if source is None and any(file.repository is not None for file in service.files.values()):
            source = resolve.at_commit(service, binary.commit, ctx.run.home.mirrors)
        from_commit = partial(commit_files, source) if source else None
        return collect_release_files(service, FileSources(from_commit, ctx.project, ctx.run.home.files, context))

    return ctx.once(_FILES(service.model_dump_json(), *sorted(context.items())), collect)
