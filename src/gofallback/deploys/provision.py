"""Stage `provision`: a builder gets its folders, Go and Git. Nothing to do costs the one round trip of its state."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.host import Host

from gofallback.deploys._site import Site
from gofallback.deploys._stage import stage
from gofallback.errors import GofallbackError
from gofallback.facts.builder import builder_state
from gofallback.model import Fleet, ToolchainPin
from gofallback.operations import toolchain as toolchains
from gofallback.operations import windows
from gofallback.windows.state import BuilderState


class ProvisionError(GofallbackError):
    """Group data that does not say how to provision a builder."""


@stage("provision", "builders")
def provision(site: Site, host: Host) -> None:
    """Provision the builder of this run; every builder when the run has chosen none."""
    if site.run.builder is not None and not site.builds(host):
        return
    provision_builder(site.fleet(host), host, str(site.run.home.downloads))


def provision_builder(fleet: Fleet, host: Host, cache: str) -> None:
    """Plan what one builder needs.

    Args:
        fleet: the host's parsed group data.
        host: the builder.
        cache: folder of archives on the controller.

    Raises:
        ProvisionError: a version without a pin for the builder's processor.
    """
    builder = fleet.builder
    known = builder_state(host, builder.root)
    pins = list(wanted_pins(fleet, known.arch))
    _tell(host, known, pins, use_installed=builder.use_installed)
    tools = ["tar.exe", "certutil.exe", *(["curl.exe"] if builder.delivery == "pull" else [])]
    windows.ready(name="The builder can build", root=builder.root, minimum_free_mb=builder.minimum_free_mb, tools=tools)
    windows.layout(name=f"Folders below {builder.root}", root=builder.root)
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


def wanted_pins(fleet: Fleet, arch: str) -> Iterator[ToolchainPin]:
    """Git, the fleet's Go, and every other Go that a service asks for; each once.

    Raises:
        ProvisionError: a version without a pin.
    """
    table = fleet.toolchain
    if table is None:
        raise ProvisionError(
            "toolchain: missing; a builder needs `toolchain` with go, git and pins (group_data/builders.py)"
        )
    asked = {service.build.go: f"services.{name}.build.go" for name, service in sorted(fleet.services.items())}
    versions = [("go", table.go, "toolchain.go"), ("git", table.git, "toolchain.git")]
    versions += [("go", version, key) for version, key in asked.items() if version not in (None, table.go)]
    for tool, version, key in versions:
        pin = table.pin(tool, str(version), arch)
        if pin is None:
            have = ", ".join(f"{p.version} ({p.arch})" for p in table.pins if p.tool == tool) or "none"
            raise ProvisionError(
                f"{key}: {tool} {version} has no pin for {arch}; pinned: {have}; add version, url and sha256 to "
                "toolchain.pins (`gofallback pins` prints them)"
            )
        yield pin


def _tell(host: Host, known: BuilderState, pins: list[ToolchainPin], *, use_installed: bool) -> None:
    for pin in pins:
        found = known.find(pin.tool, pin.version, use_installed=use_installed)
        if found is None or found.sha256 not in (None, pin.sha256):
            host.log(f"{pin.tool} {pin.version}: will be installed in {known.layout.toolchain(pin.tool, pin.version)}")
        else:
            whose = "in place" if found.origin == "ours" else "installed on the machine"
            host.log(f"{pin.tool} {pin.version}: {whose}: {found.path}")
