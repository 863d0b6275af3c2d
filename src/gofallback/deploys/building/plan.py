"""What each builder has to build: the binaries that the controller's store does not have, and what a twin confirms."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.host import Host

from gofallback.artifact.spec import BuildSpec
from gofallback.builder.paths import program
from gofallback.deploys.building import cgo, production, twin
from gofallback.deploys.building.modules import again, modules_of
from gofallback.deploys.building.specs import all_specs, services_in_use, source_of
from gofallback.deploys.releasing.provenance_gate import agreed
from gofallback.deploys.run.context import RefusedError, Site
from gofallback.facts.builder import builder_state
from gofallback.gobuild.modules import Modules
from gofallback.gobuild.plan import AGENT, generator
from gofallback.gobuild.result import Built
from gofallback.model import Service
from gofallback.operations.job import Job
from gofallback.source.model import ResolvedSource


def missing(here: Site) -> list[BuildSpec]:
    """Specs without an artifact in the store; those that have one are noted in the run. Worked out once."""
    with here.lock:
        if "missing" not in here.memo:
            lacking = []
            # what is built again for a comparison alone is no artifact: it is not kept
            for spec in all_specs(here) if here.run.command != "faithful" else ():
                stored = here.run.store.find(spec.service, spec.key)
                if stored is None:
                    lacking.append(spec)
                else:
                    here.run.artifacts[spec.key] = stored
            here.memo["missing"] = lacking
        found: list[BuildSpec] = here.memo["missing"]
        return found


def unconfirmed(here: Site) -> list[BuildSpec]:
    """What a second builder has to build as well, in the store or not (`trust.twin`). Worked out once."""
    with here.lock:
        if "unconfirmed" not in here.memo:
            here.memo["unconfirmed"] = list(_unconfirmed(here)) if twin.demanded(here) else []
        found: list[BuildSpec] = here.memo["unconfirmed"]
        return found


def _unconfirmed(here: Site) -> Iterator[BuildSpec]:
    lacking = {spec.key for spec in missing(here)}
    for spec in all_specs(here):
        stored = None if spec.key in lacking else here.run.artifacts.get(spec.key)
        if stored is None or not agreed(here, stored):
            yield spec


def second(here: Site, spec: BuildSpec) -> str | None:
    """The builder of this run whose word is the second one: not the one that built, or builds, the artifact."""
    stored = here.run.artifacts.get(spec.key)
    first = stored.manifest.builder if stored and spec not in missing(here) else here.run.builder
    others = [name for name in (*here.run.twins, here.run.builder) if name not in (None, first)]
    wanted = twin.wish(here)
    return next((name for name in others if name and first and wanted.agreed(first, name)), None)


def refuse_alone(here: Site) -> None:
    """Where a second builder's word is required, there has to be one that can give it.

    Raises:
        RefusedError: there is none.
    """
    lacking = [spec for spec in unconfirmed(here) if second(here, spec) is None]
    if lacking:
        away = f" ({', '.join(here.unreachable_builders)} cannot be reached)" if here.unreachable_builders else ""
        first = lacking[0]
        raise RefusedError(
            f"{twin.wish(here).why}: no second builder is there{away} to build {first.service} {first.version} "
            f"{first.platform} too; nothing was changed: mend it, or go on with --data twin=false and a reason"
        )


def to_build(here: Site, host: Host) -> list[BuildSpec]:
    """What one builder builds in this run: the artifacts that are missing, or the second build of any."""
    own = list(missing(here)) if host is here.builder else []
    if host is here.builder:
        own += [spec for spec in production.specs(here) if spec not in own]
    return [*own, *(spec for spec in unconfirmed(here) if spec not in own and second(here, spec) == host.name)]


def checkouts(here: Site, host: Host) -> list[tuple[Service, ResolvedSource]]:
    """The commits a builder needs: of each service that it builds, and of what runs in production."""
    commits = {(spec.service, spec.commit) for spec in to_build(here, host)}
    if here.run.command == "faithful":
        return production.checkouts(here)
    new = [(one, source_of(here, one)) for one in services_in_use(here) if any(one.name == name for name, _ in commits)]
    wanted = [(one, found) for one, found in new if (one.name, found.commit) in commits]
    there = {(one.name, found.commit) for one, found in wanted}
    old = production.checkouts(here) if host is here.builder else []
    return [*wanted, *((one, found) for one, found in old if (one.name, found.commit) not in there)]


def builds_agent(here: Site, host: Host) -> bool:
    """Whether a builder builds our own agent."""
    return any(spec.service == AGENT for spec in to_build(here, host))


def git_program(here: Site, host: Host) -> str:
    """Path of git's program on the builder, as it is or as provisioning will put it."""
    fleet = here.fleet(host)
    assert fleet.toolchain is not None  # preflight and provisioning refuse a builder without one
    state = builder_state(host, fleet.builder.root)
    version = fleet.toolchain.git_of(state.os)
    return program("git", state.toolchain_path("git", version, use_installed=fleet.builder.use_installed))


def jobs(here: Site, host: Host) -> list[Job]:
    """One job for each service and Go version, the agent's last."""
    fleet = here.fleet(host)
    state = builder_state(host, fleet.builder.root)
    services = {service.name: service for service in services_in_use(here)}
    anew = {
        spec.key for spec in (*unconfirmed(here), *production.specs(here))
    }  # to be compared: nothing of an earlier day
    grouped: dict[tuple[str, str, str, bool, tuple[str, ...]], list[BuildSpec]] = {}
    for spec in to_build(here, host):
        # what runs in production may have been generated otherwise, and a job generates once
        code = (*spec.generate, "", *generator(spec).tags) if spec.generate else ()
        grouped.setdefault((spec.service, spec.go_version, spec.commit, spec.key in anew, code), []).append(spec)
    made = []
    sources = {(one.name, found.commit): found for one, found in checkouts(here, host)}
    for (name, version, commit, fresh, _), specs in grouped.items():
        service, source = services.get(name), sources.get((name, commit))
        # what is built a second time, or to be compared, was vetted and tested where it was built first
        first = host is here.builder and any(spec in missing(here) for spec in specs)
        made.append(
            Job(
                specs=tuple(specs),
                fresh=fresh,
                builder=fleet.builder,
                goroot=state.toolchain_path("go", version, use_installed=fleet.builder.use_installed),
                git=git_program(here, host),
                records=here.run.home.run(here.run.id) / ("build" if host is here.builder else f"build-{host.name}"),
                timeout=service.build.timeout if service else 1800,
                vet=service.build.vet if service and first else False,
                test=service.build.test if service and first else False,
                system_root=state.environment.get("SYSTEMROOT", "C:\\Windows"),
                modules=modules_of(here, host, service, source) if service and source else Modules(),
                again=again(here, host, service, source) if service and source else None,
                cores=state.cores,
                sysroots=cgo.sysroots_for(here, service, specs),
                packed=cgo.cache(here),
            )
        )
    return made


def built_by(here: Site, name: str) -> list[Built]:
    """What one builder has built so far in this run, or had from an earlier one."""
    every: dict[str, list[Built]] = here.memo.setdefault("built", {})
    return every.setdefault(name, [])
