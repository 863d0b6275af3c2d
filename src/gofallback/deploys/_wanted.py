"""What a run wants: the source, the binaries, and the release of each service on each target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from gofallback.build import agent_source, plan
from gofallback.build.plan import AGENT
from gofallback.build.spec import BuildSpec
from gofallback.controller import git
from gofallback.controller.extras import Place, gather
from gofallback.controller.store import Stored
from gofallback.deploys import _cgo
from gofallback.deploys._site import RefusedError, Site
from gofallback.facts.target import target_state
from gofallback.model import Service, Toolchain
from gofallback.release import templates
from gofallback.release.extra import Extra
from gofallback.release.render import ReleaseFiles, render
from gofallback.release.state import TargetState
from gofallback.source.model import Repository, ResolvedSource

#: Bytes; record, history and journal of a run are some ten KiB.
_LEAST_FREE = 256 * 1024


@dataclass(frozen=True)
class Wanted:
    """One release of one service on one target."""

    service: Service
    files: ReleaseFiles
    binary: BuildSpec
    """The main one, which the unit runs."""
    agent: BuildSpec
    further: tuple[BuildSpec, ...] = ()
    """The other binaries, by name."""

    @property
    def programs(self) -> tuple[BuildSpec, ...]:
        """Everything of it that is built."""
        return (self.binary, *self.further, self.agent)

    @property
    def commit(self) -> str:
        """Full SHA of the commit."""
        return self.binary.commit


def state_of(site: Site, host: Host, *, refresh: bool = False) -> TargetState:
    """What a target told last, or with ``refresh`` tells now.

    A target that is gone while the run is executed does not end the whole run: what it told last stays.

    Raises:
        FactError: it does not answer.
    """
    told: dict[str, TargetState] = site.memo.setdefault("told", {})
    try:
        told[host.name] = target_state(host, site.services(host), sudo=site.fleet(host).target.sudo, refresh=refresh)
    except PyinfraError:
        if refresh or host.name not in told:
            raise
    return told[host.name]


def unwell(found: TargetState, service: Service, release: str | None) -> str | None:
    """Why a target's release cannot stay, by what it tells now; None: it can.

    A target whose disk is full could not write down that it is confirmed: it would go back when the others have stayed.
    """
    reason = found.services[service.name].unwell(release)
    free = found.free.get(service.home)
    if reason is None and free is not None and free < _LEAST_FREE:
        reason = f"disk full: {free >> 10} KiB free below {service.home}, it cannot write down how this run ends"
    return reason


def source_of(site: Site, service: Service) -> ResolvedSource:
    """The exact commit of a service; the first caller resolves it and prints it, the others wait."""
    with site.lock:
        return resolve(site, service)


def resolve(site: Site, service: Service) -> ResolvedSource:
    """The same for a caller that sees to it that nobody else resolves this service."""
    if service.name not in site.run.sources:
        asked = service
        if site.run.options.ref:
            asked = service.model_copy(
                update={"source": service.source.model_copy(update={"ref": site.run.options.ref})}
            )
        found = git.resolve(asked, site.run.home.mirrors, offline=site.run.options.source_offline, say=_say)
        _say(found.line())
        for note in found.notes:
            site.run.note(note)
        site.run.sources[service.name] = found
    return site.run.sources[service.name]


def _say(line: str) -> None:
    click.echo(f"    {line}", err=True)


def go_version(site: Site, service: Service) -> str:
    """Toolchain version that builds a service.

    Raises:
        RefusedError: no builder in the inventory says which.
    """
    return service.build.go or toolchain_of(site).go


def toolchain_of(site: Site) -> Toolchain:
    """What the builder has to have.

    Raises:
        RefusedError: no builder in the inventory says it.
    """
    builder = site.builder
    fleets = [*([site.fleet(builder)] if builder else []), *site.run.fleets.values()]
    toolchain = next((fleet.toolchain for fleet in fleets if fleet.toolchain is not None), None)
    if toolchain is None:
        raise RefusedError("toolchain: no host of group `builders` has one; add it to group_data/builders.py")
    return toolchain


def services_in_use(site: Site) -> list[Service]:
    """Every service that some reachable target runs, by name; builds need one meaning of it.

    In a rehearsal without targets: every service of the builder's data, for the platforms that it lists.

    Raises:
        RefusedError: two targets disagree about how a service is built.
    """
    found: dict[str, tuple[Service, Host]] = {}
    builder = site.builder if site.run.command == "drill" and not site.unreachable_targets else None
    for host in site.targets or ([builder] if builder else []):
        for service in site.services(host):
            first, other = found.setdefault(service.name, (service, host))
            if (first.source, first.build) != (service.source, service.build):
                raise RefusedError(
                    f"services.{service.name}: source and build differ between {other.name} and {host.name}; "
                    "one commit is built for the whole fleet, so set them for all targets alike"
                )
    return [found[name][0] for name in sorted(found)]


def specs_for(site: Site, service: Service, platforms: list[str]) -> dict[str, BuildSpec]:
    """What is built as a service's main binary, by platform; its further binaries are noted in the run."""
    known = site.run.specs.setdefault(service.name, {})
    further = site.run.further.setdefault(service.name, {})
    every = [
        spec.model_copy(update={"cgo": _cgo.asked(site, service, spec.platform, toolchain_of(site), glibc)})
        for spec in plan.specs(service, source_of(site, service), go_version(site, service), platforms)
        for glibc in [_glibc(site, service, spec.platform) if service.build.cgo else []]
    ]
    for spec in every:
        if spec.binary == service.binary:
            known.setdefault(spec.platform, spec)
            others = (one for one in every if one.platform == spec.platform and one.binary != service.binary)
            further.setdefault(spec.platform, tuple(others))
    return known


def _glibc(site: Site, service: Service, platform: str) -> list[str]:
    """glibc of every target of the run that gets a service and has that platform."""
    own = [h for h in site.targets if any(one.name == service.name for one in site.services(h))]
    told = [state_of(site, host) for host in own]
    return [state.libc_version for state in told if state.platform == platform and state.libc == "glibc"]


def agent_for(site: Site, service: Service, platform: str) -> BuildSpec:
    """The agent for a platform, built by the same toolchain as the service."""
    known = site.run.specs.setdefault(AGENT, {})
    if platform not in known:
        known[platform] = plan.agent_spec(go_version(site, service), platform, agent_source.agent_digest())
    return known[platform]


def all_specs(site: Site) -> list[BuildSpec]:
    """Everything the run builds or finds in the store: services, then agents; equal ones once."""
    specs: dict[str, BuildSpec] = {}
    agents: dict[str, BuildSpec] = {}
    for service in services_in_use(site):
        own = [h for h in site.targets if any(s.name == service.name for s in site.services(h))]
        linux = sorted({state_of(site, host).platform for host in own})
        mains, further = specs_for(site, service, linux), site.run.further[service.name]
        specs |= {spec.key: spec for platform, main in mains.items() for spec in (main, *further[platform])}
        agents |= {spec.key: spec for spec in (agent_for(site, service, platform) for platform in linux)}
    return [*specs.values(), *agents.values()]


def wanted_from_source(site: Site, host: Host) -> list[Wanted]:
    """The releases that a build of this run puts on a target."""
    platform = state_of(site, host).platform
    wanted = []
    for service in site.services(host):
        binary = specs_for(site, service, [platform])[platform]
        programs = (binary, *site.run.further[service.name][platform])
        wanted.append(_wanted(site, host, service, programs, agent_for(site, service, platform)))
    return wanted


def wanted_from_store(site: Site, host: Host) -> list[Wanted]:
    """The releases that stored artifacts put on a target (rollout.py).

    Raises:
        RefusedError: no version was named, or the store has none that fits.
    """
    platform = state_of(site, host).platform
    wanted = []
    for service in site.services(host):
        binary, *further = stored_of(site, service, platform)
        agent = _stored_agent(site, platform)
        for stored in (binary, *further, agent):
            site.run.artifacts[stored.manifest.key] = stored
        for stored in (binary, agent):
            spec = stored.manifest.spec
            site.run.specs.setdefault(spec.service, {})[spec.platform] = spec
        specs = tuple(stored.manifest.spec for stored in further)
        site.run.further.setdefault(service.name, {})[platform] = specs
        wanted.append(_wanted(site, host, service, (binary.manifest.spec, *specs), agent.manifest.spec))
    return wanted


def _wanted(site: Site, host: Host, service: Service, programs: tuple[BuildSpec, ...], agent: BuildSpec) -> Wanted:
    binary, *further = programs
    files = render(
        service,
        version=binary.version,
        artifact_key=binary.key,
        agent_key=agent.key,
        templates=templates.load(Path.cwd()),
        further={spec.binary: spec.key for spec in further},
        extras=_extras(site, service, binary, site.fleet(host).environment),
    )
    return Wanted(service=service, files=files, binary=binary, agent=agent, further=tuple(further))


def check_files(site: Site) -> None:
    """A rehearsal finds a file that cannot be had, though it brings none.

    Raises:
        DataError, SourceError: a file of a release cannot be had.
    """
    for host in site.targets:
        platform = state_of(site, host).platform
        for service in site.services(host):
            _extras(site, service, specs_for(site, service, [platform])[platform], site.fleet(host).environment)


def _extras(site: Site, service: Service, binary: BuildSpec, environment: str) -> dict[str, Extra]:
    """What `files` of a service adds to its release; read and rendered once for all targets with the same data.

    Raises:
        DataError, SourceError: a file cannot be had.
    """
    if not service.files:
        return {}
    context = {"version": binary.version, "commit": binary.commit, "environment": environment}
    key = f"extras:{service.model_dump_json()}:{context}"
    with site.lock:
        if key not in site.memo:
            source: Repository | None = site.run.sources.get(service.name)
            if source is None and any(one.repository is not None for one in service.files.values()):
                source = git.at_commit(service, binary.commit, site.run.home.mirrors)
            site.memo[key] = gather(service, Place(source, Path.cwd(), site.run.home.files, context))
        found: dict[str, Extra] = site.memo[key]
        return found


def stored_of(site: Site, service: Service, platform: str) -> list[Stored]:
    """The artifacts of the version asked for, the main binary's first; hashed once a run.

    Raises:
        RefusedError: no version was named, or the store lacks one of the binaries.
    """
    key = f"stored:{service.name}:{platform}"
    if key not in site.memo:
        site.memo[key] = _of_version(site, service, platform)
    found: list[Stored] = site.memo[key]
    return found


def _of_version(site: Site, service: Service, platform: str) -> list[Stored]:
    store, version = site.run.store, site.run.options.version
    known = store.versions(service.name)
    newest = ", ".join(known[:5]) or "none; build one with deploys/fallback.py"
    if version is None:
        raise RefusedError(f"--data version=...: which version of {service.name}? in the store: {newest}")
    if version not in known:
        raise RefusedError(
            f"--data version={version}: the store has no such version of {service.name}; it has: {newest}"
        )
    fitting = [found for found in store.by_version(service.name, version) if found.manifest.platform == platform]
    if not fitting:
        damaged = [
            note for note in site.run.notes if note.startswith(f"artifact {store.root / service.name / version}/")
        ]
        if damaged:
            raise RefusedError(f"{damaged[-1]}; build it again: deploys/drill.py --data ref={version}")
        raise RefusedError(
            f"{service.name} {version}: not built for {platform}; run deploys/fallback.py --data ref={version}"
        )
    made: list[Stored] = []
    for name in (service.binary, *sorted(service.build.binaries)):
        ours = [found for found in fitting if found.manifest.spec.binary == name]
        if not made and not ours and len({found.manifest.spec.binary for found in fitting}) == 1:
            ours = fitting  # the one binary had another name when it was built
        # a tag may have been moved between two builds, and the binaries of a release are of one commit
        same = [one for one in ours if not made or one.manifest.spec.commit == made[0].manifest.spec.commit]
        if not same:
            commit = f" from commit {made[0].manifest.spec.commit[:12]}, as {service.binary} was" if ours else ""
            raise RefusedError(
                f"{service.name} {version}: {name} was not built for {platform}{commit}; build every binary with "
                f"deploys/drill.py --data ref={version}"
            )
        made.append(same[0])
    return made


def _stored_agent(site: Site, platform: str) -> Stored:
    """The newest agent for a platform, one made of today's sources if there is one; each is hashed once a run."""
    key = f"agent:{platform}"
    if key not in site.memo:
        site.memo[key] = _newest_agent(site, platform)
    found: Stored = site.memo[key]
    return found


def _newest_agent(site: Site, platform: str) -> Stored:
    store, today = site.run.store, agent_source.agent_digest()
    every = [found for version in store.versions(AGENT) for found in store.by_version(AGENT, version)]
    fitting = [found for found in every if found.manifest.platform == platform]
    fitting.sort(key=lambda found: (found.manifest.spec.commit == today, found.manifest.built_at), reverse=True)
    if not fitting:
        raise RefusedError(f"the agent was never built for {platform}; run deploys/fallback.py once")
    return fitting[0]
