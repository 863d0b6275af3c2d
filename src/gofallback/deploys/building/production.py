"""The binaries in production and their specs, from manifests on the targets, else in the store, for a rebuild."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pyinfra.api.host import Host

from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.deploys.building import foreign
from gofallback.deploys.building.specs import services_in_use
from gofallback.deploys.building.twin import trusted_keys
from gofallback.deploys.building.untrusted import manifest_problem
from gofallback.deploys.run.context import Key, RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import GofallbackError, RefusedError
from gofallback.model import Service
from gofallback.operations.target.channel import BrokenError, run
from gofallback.provenance import PROVENANCE, ProvenanceError, envelope, statement
from gofallback.release.extra_file import manifest_contents
from gofallback.report.model import version_of
from gofallback.source.model import ResolvedSource

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class LiveBinary:
    """One binary of a release that is live on a target."""

    host: Host
    service: Service
    release: str
    path: str
    """Path on the target."""
    spec: BuildSpec
    sha256: str
    """From its manifest."""


_LIVE: Key[list[LiveBinary]] = Key("live binaries")
_SOURCES: Key[list[tuple[Service, ResolvedSource]]] = Key("sources of live binaries")


def comparison_requested(ctx: RunContext) -> bool:
    """Whether this run compares the builder's rebuilds with the bytes in production."""
    return ctx.run.command.production_only or ctx.run.options.faithful


def live_binaries(ctx: RunContext) -> list[LiveBinary]:
    """Every binary that is live on a target of this run and can be built again; read once.

    A binary that cannot is noted in the run: a comparison that leaves something out must say so.
    """
    return ctx.once(_LIVE, lambda: _all_live_binaries(ctx) if comparison_requested(ctx) else [])


def _all_live_binaries(ctx: RunContext) -> list[LiveBinary]:
    found = [one for host in ctx.targets for one in _of_host(ctx, host)]
    if ctx.run.command.production_only:  # other commands send nothing to them either
        for name in ctx.unreachable_targets:
            ctx.run.uncompared.append(f"{name}, which cannot be reached")
    return found


def specs(ctx: RunContext) -> list[BuildSpec]:
    """The specs that the builder has to build for the comparison, each once."""
    return list({one.spec.key: one.spec for one in live_binaries(ctx)}.values())


def toolchains(ctx: RunContext) -> list[tuple[str, str]]:
    """The tools that built the releases, as (tool, version): Go, and Zig where a release has C."""
    known = specs(ctx)
    zigs = {spec.cgo.version for spec in known if spec.cgo and spec.cgo.compiler == "zig"}
    return sorted({("go", spec.go_version) for spec in known} | {("zig", version) for version in zigs})


def checkouts(ctx: RunContext) -> list[tuple[Service, ResolvedSource]]:
    """The commits that run in production, each once.

    Raises:
        SourceError: a commit cannot be fetched.
    """

    def resolve() -> list[tuple[Service, ResolvedSource]]:
        commits = {(live.service.name, live.spec.commit): live.service for live in live_binaries(ctx)}
        return [(service, foreign.source_at(ctx, service, commit)) for (_, commit), service in commits.items()]

    return ctx.once(_SOURCES, resolve)


def require_comparable(ctx: RunContext) -> None:
    """Refuse a comparison with nothing to compare, and an incomplete one where its result decides over shipping.

    Raises:
        RefusedError: no target runs a binary that can be built again, or one runs a binary that cannot.
    """
    if comparison_requested(ctx) and not live_binaries(ctx):
        names = ", ".join(service.name for service in services_in_use(ctx))
        why = f" ({'; '.join(ctx.run.incomparable[-2:])})" if ctx.run.incomparable else ""
        raise RefusedError(
            f"no target runs a release of {names} that can be built again{why}; there is nothing to compare the "
            "builder with; nothing was changed"
        )
    if comparison_requested(ctx) and ctx.run.uncompared and not ctx.run.command.production_only:
        raise RefusedError(
            f"--data faithful=true: not everything that runs can be compared ({'; '.join(ctx.run.uncompared)}; why is "
            "in the notes); nothing was changed: leave those out with --limit or --data service=..., or see what "
            "deploys/faithful.py says and go on without it"
        )


def _foreign_binaries(ctx: RunContext, host: Host, path: str) -> list[LiveBinary]:
    services = ctx.services(host)
    if len(services_in_use(ctx)) != 1:
        raise RefusedError(f"--data binary={path}: of which service? name it with --data service=...")
    found = []
    for service in services:
        recovered = foreign.recover_spec(ctx, host, service, path)
        if recovered is not None:
            found.append(LiveBinary(host, service, path, path, *recovered))
    return found


def _of_host(ctx: RunContext, host: Host) -> list[LiveBinary]:
    if ctx.run.options.binary is not None:
        return _foreign_binaries(ctx, host, ctx.run.options.binary)
    found: list[LiveBinary] = []
    for service in ctx.services(host):
        state = state_of(ctx, host).services[service.name]
        if state.current is None:
            ctx.run.note_incomparable(
                f"{host.name}: no release of {service.name} is live, so there is nothing to compare"
            )
            continue
        release = state.releases.get(state.current)
        folder = f"{service.home}/releases/{state.current}"
        raw = _json(release.manifest if release else None)
        main = _trusted_manifest(ctx, host, service, _manifest(raw), f"{folder}/{PROVENANCE}")
        main = main or _stored(ctx, service, state.current, state.hashes.get(f"bin/{service.binary}"))
        if main is None:
            ctx.run.leave_uncompared(
                f"{service.name} {state.current} on {host.name}",
                "no trusted manifest is on the target or in the store",
            )
            continue
        found.append(_live_binary(host, service, state.current, folder, main))
        for path in sorted({*manifest_contents(raw), *state.hashes}):  # an unlisted file may run too
            name = path.removeprefix("bin/")
            if not path.startswith("bin/") or name == main.spec.binary:
                continue
            extra = _manifest(_json(_read(ctx, host, f"{folder}/{name}.{MANIFEST}")))
            extra = _trusted_manifest(ctx, host, service, extra, f"{folder}/{name}.{PROVENANCE}")
            if extra is None or extra.spec.binary != name:
                ctx.run.leave_uncompared(f"{path} of {state.current} on {host.name}", "it has no trusted manifest")
            else:
                found.append(_live_binary(host, service, state.current, folder, extra))
    return found


def _trusted_manifest(
    ctx: RunContext, host: Host, service: Service, manifest: Manifest | None, proof: str
) -> Manifest | None:
    """A target's manifest, or None with a note where a build from it could harm the builder."""
    if manifest is None:
        return None

    def is_ours() -> bool:
        key = manifest.spec.key
        return ctx.run.store.find(service.name, key) is not None or _signed(ctx, host, manifest, proof)

    problem = manifest_problem(service, state_of(ctx, host).platform, manifest, is_ours)
    if problem is not None:
        ctx.run.note_incomparable(f"{host.name}: the manifest of {service.name} is not trusted: {problem}")
    return manifest if problem is None else None


def _live_binary(host: Host, service: Service, release: str, folder: str, manifest: Manifest) -> LiveBinary:
    path = f"{folder}/bin/{manifest.spec.binary}"
    return LiveBinary(host, service, release, path, manifest.spec, manifest.sha256)


def _json(content: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _manifest(raw: dict[str, Any]) -> Manifest | None:
    """The binary's own manifest, out of that of a release, which has more keys."""
    own = {key: value for key, value in raw.items() if key in Manifest.model_fields}
    try:
        return Manifest.model_validate_json(json.dumps(own))
    except ValidationError:
        return None


def _stored(ctx: RunContext, service: Service, release: str, sha256: str | None) -> Manifest | None:
    """The manifest of the store's artifact with exactly these bytes."""
    try:
        artifacts = ctx.run.store.by_version(service.name, version_of(release))
    except GofallbackError:
        return None
    return next((one.manifest for one in artifacts if one.manifest.sha256 == sha256), None)


def _read(ctx: RunContext, host: Host, path: str) -> bytes | None:
    try:
        code, lines = run(ctx.state, host, f"cat {shlex.quote(path)}", sudo=ctx.fleet(host).target.sudo)
    except BrokenError:
        return None
    return "\n".join(lines).encode() if code == 0 else None


def _signed(ctx: RunContext, host: Host, manifest: Manifest, proof: str) -> bool:
    """Whether a trusted key signed exactly this manifest's build."""
    content = _read(ctx, host, proof)
    if content is None:
        return False
    try:
        sealed = envelope.unseal(content)
        if not envelope.signers(sealed, trusted_keys(ctx, ctx.fleet(host).trust)):
            return False
        made = statement.read(sealed.payload)
    except ProvenanceError:
        return False
    return manifest.sha256 in made.digests() and not list(statement.differences(made, manifest))
