"""Stage `provision`: a builder gets its folders, Go and Git. A builder that has all costs one round trip."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pyinfra.api.host import Host

from gofallback.builder.shell import shell_of
from gofallback.builder.state import BuilderState
from gofallback.deploys.building import plan, production
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage
from gofallback.errors import GofallbackError
from gofallback.facts.builder import builder_state
from gofallback.model import Builder, Fleet, Toolchain, ToolchainPin
from gofallback.operations import builder as operations
from gofallback.operations import toolchain as toolchains


class ProvisionError(GofallbackError):
    """Group data from which a builder cannot be provisioned."""


@stage("provision", "builders")
def provision(ctx: RunContext, host: Host) -> None:
    """Provision the builders of this run; every builder when the run has chosen none."""
    if ctx.run.builder is not None and not ctx.builds(host):
        return
    older = production.toolchains(ctx) if host is ctx.builder else []
    idle = ctx.run.builder is not None and not plan.to_build(ctx, host)
    fleet = only(ctx.fleet(host), ctx.run.options.service)
    provision_builder(fleet, host, str(ctx.run.home.downloads), older, idle=idle)


def only(fleet: Fleet, services: Collection[str]) -> Fleet:
    """The fleet with the services that ``--data service=...`` names: a service that is not built needs no Zig."""
    chosen = {name: service for name, service in fleet.services.items() if name in services}
    return fleet.model_copy(update={"services": chosen}) if services else fleet


def provision_builder(
    fleet: Fleet, host: Host, cache: str, older: Sequence[tuple[str, str]] = (), *, idle: bool = False
) -> None:
    """Plan the provisioning of one builder.

    Args:
        fleet: the host's parsed group data.
        host: the builder.
        cache: folder of archives on the controller.
        older: more (tool, version): the Go and Zig that built the releases in production, where those are rebuilt.
        idle: the builder has nothing to build in this run, and needs no disk space for it.

    Raises:
        ProvisionError: a version without a pin for the builder's processor.
    """
    builder = fleet.builder
    known = builder_state(host, builder.root)
    pins = list(required_pins(fleet, known.arch, known.os, older))
    _log_pins(host, known, pins, use_installed=builder.use_installed)
    operations.ready(
        name="The builder can build",
        root=builder.root,
        minimum_free_mb=0 if idle else builder.minimum_free_mb,
        tools=_tools(known, builder, pins),
    )
    operations.layout(name=f"Folders below {builder.root}", root=builder.root)
    for pin in pins:
        toolchains.toolchain(
            name=f"{pin.tool} {pin.version}",
            pin=pin,
            root=builder.root,
            cache=cache,
            delivery=builder.delivery,
            use_installed=builder.use_installed,
            environment=builder.environment,
        )


def _tools(known: BuilderState, builder: Builder, pins: list[ToolchainPin]) -> list[list[str]]:
    """Programs that provisioning calls on the builder, in groups: one program of each group is enough."""
    if known.os == "windows":
        return [["tar.exe"], ["certutil.exe"], *([["curl.exe"]] if builder.delivery == "pull" else [])]
    missing = [pin for pin in pins if not _in_place(known, pin, use_installed=builder.use_installed)]
    unpack = [list(group) for pin in missing for group in shell_of(known.root).unpack_tools(pin.file_name)]
    return [["sha256sum"], ["tar"], *unpack, *([["curl", "wget"]] if missing and builder.delivery == "pull" else [])]


def _in_place(known: BuilderState, pin: ToolchainPin, *, use_installed: bool) -> bool:
    found = known.find(pin.tool, pin.version, use_installed=use_installed)
    return found is not None and found.sha256 in (None, pin.sha256)


def required_pins(
    fleet: Fleet, arch: str, os: str = "windows", older: Sequence[tuple[str, str]] = ()
) -> Iterator[ToolchainPin]:
    """Pins of Git, the fleet's Go, every other Go of a service, and Zig where a service has C; each once.

    Args:
        fleet: the builder's parsed group data.
        arch: the builder's processor.
        os: the builder's system.
        older: more (tool, version): what built the releases in production.

    Raises:
        ProvisionError: a version without a pin.
    """
    table = fleet.toolchain
    if table is None:
        raise ProvisionError(
            "toolchain: missing; a builder needs `toolchain` with go, git and pins (group_data/builders.py)"
        )
    of_services = {service.build.go: f"services.{name}.build.go" for name, service in sorted(fleet.services.items())}
    if arch not in ("amd64", "arm64"):
        raise ProvisionError(f"the builder's processor is {arch}; a builder needs x86_64 (amd64) or aarch64 (arm64)")
    git_key = "toolchain.linux_git" if os == "linux" and table.linux_git else "toolchain.git"
    versions = [("go", table.go, "toolchain.go"), ("git", table.git_of(os), git_key)]
    versions += [("go", version, key) for version, key in of_services.items() if version not in (None, table.go)]
    if any(one.build.cgo and one.build.cgo.compiler == "zig" for one in fleet.services.values()) and table.zig:
        versions.append(("zig", table.zig, "toolchain.zig"))
    listed = {(tool, version) for tool, version, _ in versions}
    versions += [(*one, "what runs in production") for one in older if one not in listed]
    for tool, version, key in versions:
        pin = table.pin(tool, str(version), arch, os)
        if pin is None:
            hint = _hint(table, key, os) if tool == "git" else ""
            have = ", ".join(f"{p.version} ({p.os}/{p.arch})" for p in table.pins if p.tool == tool) or "none"
            raise ProvisionError(
                f"{key}: {tool} {version} has no pin for {os}/{arch}; pinned: {have}; {hint}add version, url and "
                "sha256 to toolchain.pins (`gofallback pins` prints them)"
            )
        yield pin


def _hint(table: Toolchain, key: str, os: str) -> str:
    if (key, os) == ("toolchain.git", "linux") and any(pin.os == os for pin in table.pins):
        return "set toolchain.linux_git where Linux builders have another Git, or "
    return ""


def _log_pins(host: Host, known: BuilderState, pins: list[ToolchainPin], *, use_installed: bool) -> None:
    for pin in pins:
        found = known.find(pin.tool, pin.version, use_installed=use_installed)
        if found is None or not _in_place(known, pin, use_installed=use_installed):
            host.log(f"{pin.tool} {pin.version}: will be installed in {known.layout.toolchain(pin.tool, pin.version)}")
        else:
            origin = "in place" if found.origin == "ours" else "installed on the machine"
            host.log(f"{pin.tool} {pin.version}: {origin}: {found.path}")
