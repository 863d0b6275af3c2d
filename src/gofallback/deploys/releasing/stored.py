"""The artifacts of the requested version in the store, and the newest agent."""

from __future__ import annotations

from gofallback.controller.store import ArtifactStore, Stored
from gofallback.deploys.run.context import Key, RunContext
from gofallback.errors import RefusedError
from gofallback.gobuild import agent_source
from gofallback.gobuild.plan import AGENT
from gofallback.model import Service

_STORED: Key[list[Stored]] = Key("stored artifacts")
_AGENT: Key[Stored] = Key("stored agent")


def stored_of(ctx: RunContext, service: Service, platform: str) -> list[Stored]:
    """The artifacts of the requested version, the main binary's first; hashed once a run.

    Raises:
        RefusedError: no version was named, or the store lacks one of the binaries.
    """
    return ctx.once(_STORED(service.name, platform), lambda: _of_version(ctx, service, platform))


def _of_version(ctx: RunContext, service: Service, platform: str) -> list[Stored]:
    damaged: list[str] = []

    def note_damaged(line: str) -> None:
        damaged.append(line)
        ctx.run.note(line)

    store, version = ArtifactStore(ctx.run.home.artifacts, log=note_damaged), ctx.run.options.version
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
        if damaged:
            raise RefusedError(f"{damaged[-1]}; build it again: deploys/drill.py --data ref={version}")
        raise RefusedError(
            f"{service.name} {version}: not built for {platform}; run deploys/fallback.py --data ref={version}"
        )
    chosen: list[Stored] = []
    for name in (service.binary, *sorted(service.build.binaries)):
        named = [found for found in fitting if found.manifest.spec.binary == name]
        if not chosen and not named and len({found.manifest.spec.binary for found in fitting}) == 1:
            named = fitting  # the one binary had another name when it was built
        # a tag may have been moved between two builds, and the binaries of a release are of one commit
        same = [one for one in named if not chosen or one.manifest.spec.commit == chosen[0].manifest.spec.commit]
        if not same:
            commit = f" from commit {chosen[0].manifest.spec.commit[:12]}, as {service.binary} was" if named else ""
            raise RefusedError(
                f"{service.name} {version}: {name} was not built for {platform}{commit}; build every binary with "
                f"deploys/drill.py --data ref={version}"
            )
        chosen.append(same[0])
    return chosen


def stored_agent(ctx: RunContext, platform: str) -> Stored:
    """The agent for a platform: built from today's sources if there is such, else the newest. Hashed once a run."""
    return ctx.once(_AGENT(platform), lambda: _newest_agent(ctx, platform))


def _newest_agent(ctx: RunContext, platform: str) -> Stored:
    store, digest = ctx.run.store, agent_source.agent_digest()
    every = [found for version in store.versions(AGENT) for found in store.by_version(AGENT, version)]
    fitting = [found for found in every if found.manifest.platform == platform]
    fitting.sort(key=lambda found: (found.manifest.spec.commit == digest, found.manifest.built_at), reverse=True)
    if not fitting:
        raise RefusedError(f"the agent was never built for {platform}; run deploys/fallback.py once")
    return fitting[0]
