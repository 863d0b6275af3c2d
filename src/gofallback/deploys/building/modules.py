"""Where the modules of each service come from in this run, and the modules that the controller sends."""

from __future__ import annotations

from pyinfra.api.host import Host

from gofallback.builder.paths import Layout
from gofallback.deploys.run.context import Key, RunContext
from gofallback.gobuild.modules import ModuleFiles, Modules, ModuleSource, builder_environment, choose_source
from gofallback.gomod import go_command
from gofallback.gomod.download import ModuleSet, download_modules
from gofallback.gomod.files import module_files
from gofallback.gomod.run import ModuleRequest
from gofallback.model import Service, ToolchainPin
from gofallback.operations.modules import Delivery, ModuleResend
from gofallback.source.model import ResolvedSource

_WAY: Key[ModuleSource] = Key("way of the modules")
_FILES: Key[ModuleFiles] = Key("module files")
_MODULES: Key[ModuleSet] = Key("downloaded modules")


def way_of(ctx: RunContext, host: Host, service: Service, source: ResolvedSource) -> ModuleSource:
    """Where the modules of a service come from when this host builds this commit of it.

    Raises:
        ModuleFilesError: the mirror cannot be read.
    """

    def choose() -> ModuleSource:
        files = files_of(ctx, service, source)
        return choose_source(
            service.build.modules,
            files,
            service.build.private,
            [service.build.environment, ctx.fleet(host).builder.environment],
            controller_can=go_command.is_available(_pins(ctx, host), files.go),
        )

    return ctx.once(_WAY(host.name, service.name, source.commit), choose)


def modules_of(ctx: RunContext, host: Host, service: Service, source: ResolvedSource) -> Modules:
    """The settings of go on this host for the modules of a service."""
    way = way_of(ctx, host, service, source)
    folder = Layout(ctx.fleet(host).builder.root).modules
    return Modules(way, builder_environment(way, service.build.private, folder))


def files_of(ctx: RunContext, service: Service, source: ResolvedSource) -> ModuleFiles:
    """The module files of the commit that is built."""
    key = _FILES(service.name, source.commit)
    return ctx.once(key, lambda: module_files(source, service.build.directory))


def downloaded_modules(ctx: RunContext, host: Host, service: Service, source: ResolvedSource) -> ModuleSet:
    """The modules of a commit, on the controller; fetched once for all builders.

    Raises:
        GofallbackError: they cannot be fetched.
    """
    key = _MODULES(service.name, source.commit)
    return ctx.once(key, lambda: download_modules(_request(ctx, host, service, source), host.log))


def delivery(ctx: RunContext, host: Host, service: Service, source: ResolvedSource) -> Delivery:
    """The modules of a commit for one builder.

    Raises:
        GofallbackError: they cannot be fetched.
    """
    return Delivery(
        label=f"{service.name} {source.version}",
        modules=downloaded_modules(ctx, host, service, source),
        root=ctx.fleet(host).builder.root,
        scratch=ctx.run.home.run(ctx.run.id) / f"bundles-{host.name}",
    )


def resend_modules(ctx: RunContext, host: Host, service: Service, source: ResolvedSource) -> ModuleResend | None:
    """Sends the modules once more, where the controller sends them; None elsewhere."""
    if way_of(ctx, host, service, source) != "controller":
        return None
    return ModuleResend(lambda: delivery(ctx, host, service, source))


def _request(ctx: RunContext, host: Host, service: Service, source: ResolvedSource) -> ModuleRequest:
    home, files = ctx.run.home, files_of(ctx, service, source)
    return ModuleRequest(
        label=f"{service.name} {source.version}",
        files=files,
        folder=home.modules,
        find_go=lambda: go_command.find_go(
            _pins(ctx, host), files.go, downloads=home.downloads, toolchains=home.toolchains, report=host.log
        ),
        private=service.build.private,
        environment=service.build.environment,
        offline=ctx.run.options.source_offline,
        timeout=service.build.timeout,
    )


def _pins(ctx: RunContext, host: Host) -> list[ToolchainPin]:
    table = ctx.fleet(host).toolchain
    return table.pins if table else []
