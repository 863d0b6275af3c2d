"""What the builder has to build: the binaries of this run that the controller's store does not have."""

from __future__ import annotations

from pyinfra.api.host import Host

from gofallback.build.plan import AGENT
from gofallback.build.spec import BuildSpec
from gofallback.deploys._site import Site
from gofallback.deploys._wanted import all_specs, services_in_use
from gofallback.facts.builder import builder_state
from gofallback.model import Service
from gofallback.operations.build import Job
from gofallback.windows.paths import PROGRAMS, join


def missing(here: Site) -> list[BuildSpec]:
    """Specs without an artifact in the store; those that have one are noted in the run. Worked out once."""
    with here.lock:
        if "missing" not in here.memo:
            lacking = []
            for spec in all_specs(here):
                stored = here.run.store.find(spec.service, spec.key)
                if stored is None:
                    lacking.append(spec)
                else:
                    here.run.artifacts[spec.key] = stored
            here.memo["missing"] = lacking
        found: list[BuildSpec] = here.memo["missing"]
        return found


def services_to_build(here: Site) -> list[Service]:
    """Services with at least one missing binary."""
    names = {spec.service for spec in missing(here)}
    return [service for service in services_in_use(here) if service.name in names]


def agent_is_missing(here: Site) -> bool:
    """Whether our own agent has to be built."""
    return any(spec.service == AGENT for spec in missing(here))


def git_program(here: Site, host: Host) -> str:
    """Path of git.exe on the builder, as it is or as provisioning will put it."""
    fleet = here.fleet(host)
    assert fleet.toolchain is not None  # preflight and provisioning refuse a builder without one
    state = builder_state(host, fleet.builder.root)
    home = state.toolchain_path("git", fleet.toolchain.git, use_installed=fleet.builder.use_installed)
    return join(home, PROGRAMS["git"])


def jobs(here: Site, host: Host) -> list[Job]:
    """One job for each service and Go version, the agent's last."""
    fleet = here.fleet(host)
    state = builder_state(host, fleet.builder.root)
    services = {service.name: service for service in services_in_use(here)}
    grouped: dict[tuple[str, str], list[BuildSpec]] = {}
    for spec in missing(here):
        grouped.setdefault((spec.service, spec.go_version), []).append(spec)
    made = []
    for (name, version), specs in grouped.items():
        service = services.get(name)
        made.append(
            Job(
                specs=tuple(specs),
                builder=fleet.builder,
                goroot=state.toolchain_path("go", version, use_installed=fleet.builder.use_installed),
                git=git_program(here, host),
                records=here.run.home.run(here.run.id) / "build",
                timeout=service.build.timeout if service else 1800,
                vet=service.build.vet if service else False,
                test=service.build.test if service else False,
                system_root=state.environment.get("SYSTEMROOT", "C:\\Windows"),
            )
        )
    return made
