"""Provenance on the way to every target: asked for while planning, and again just before the first byte is sent.

So is the word of a second builder, where `trust.twin` wants one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pyinfra.api.host import Host

from gofallback.controller.store import Stored
from gofallback.deploys.building import twin
from gofallback.deploys.releasing.desired import DesiredRelease
from gofallback.deploys.run.context import RunContext
from gofallback.errors import RefusedError
from gofallback.model.trust import Trust
from gofallback.provenance import TWIN, ProvenanceError
from gofallback.provenance import twin as attestation
from gofallback.provenance.keys import PUBLIC, TrustedKey, read_public
from gofallback.provenance.policy import keys_of, unproven


def trusted_keys(ctx: RunContext, trust: Trust) -> list[TrustedKey]:
    """Whose signatures count for this data; read once a run.

    Raises:
        ProvenanceError: a key cannot be read.
    """
    known: dict[tuple[str, ...], list[TrustedKey]] = ctx.memo.setdefault("trusted", {})
    name = tuple(trust.keys)
    if name not in known:
        known[name] = keys_of(trust, ctx.run.home.keys, Path.cwd())
    return known[name]


def reject_reason(ctx: RunContext, host: Host, stored: Iterable[Stored]) -> str | None:
    """Why one of these artifacts may not be sent to a target; None: they may, or `trust.provenance` only warns.

    Raises:
        ProvenanceError: a key cannot be read.
    """
    trust, artifacts = ctx.fleet(host).trust, list(stored)
    demanded, named = twin.twin_required(ctx), ctx.run.command == "rollout" and twin.twin_policy(ctx).name
    for one in artifacts if demanded or named else ():
        alone = missing_confirmation(ctx, one, host)
        if alone is not None and demanded:
            return alone
        if alone is not None:
            ctx.run.note(f"shipped all the same, as trust.twin only names a builder: {alone}")
    if trust.provenance == "off":
        return None
    for one in artifacts:
        found = _unproven_reason(ctx, trust, one)
        if found is None:
            continue
        if trust.provenance == "required":
            return f"{found}; trust.provenance is required, so it is not sent"
        ctx.run.note(f"shipped all the same, as trust.provenance is warn: {found}")
    return None


def _twin_attestation(ctx: RunContext, stored: Stored, host: Host) -> tuple[str | None, str]:
    """The builder that, besides the artifact's own, made the same bytes, or why nobody whom a host trusts says so."""
    try:
        content = (stored.path.parent / TWIN).read_bytes()
        return attestation.read(content, stored.manifest, trusted_keys(ctx, ctx.fleet(host).trust)), ""
    except FileNotFoundError:
        return None, f"only {stored.manifest.builder} is known to have built them"
    except OSError as error:
        return None, f"{TWIN} beside it cannot be read ({error.strerror})"
    except ProvenanceError as error:
        return None, f"{TWIN} beside it {error} (keys of {host.name})"


def twin_confirms(ctx: RunContext, stored: Stored, host: Host | None = None) -> bool:
    """Whether the second builder's word is there that was asked for.

    Args:
        ctx: the run.
        stored: the artifact.
        host: a target; None: all of the run. Each counts the keys that it trusts itself; one that asks for no twin
            gets what those that do have accepted.
    """
    wanted, askers = twin.twin_policy(ctx), twin.hosts_requiring_twin(ctx)
    return all(
        wanted.agreed(stored.manifest.builder, _twin_attestation(ctx, stored, one)[0])
        for one in ([host] if host in askers else askers)
    )


def missing_confirmation(ctx: RunContext, stored: Stored, host: Host) -> str | None:
    """Why an artifact lacks the word of a second builder for a target; None: it has it."""
    if twin_confirms(ctx, stored, host):
        return None
    wanted, spec, own = twin.twin_policy(ctx), stored.manifest.spec, stored.manifest.builder
    whose, known = wanted.name or "a second builder", ""
    for asker in dict.fromkeys((host, *twin.hosts_requiring_twin(ctx))):
        other, why = _twin_attestation(ctx, stored, asker)
        if not wanted.agreed(own, other):
            known = why or f"only {own} and {other} are known to have built them"
            break
    return (
        f"{spec.what} {spec.version} {spec.platform}: {wanted.why or 'the twin'} wants the same bytes from {whose}, "
        f"and {known}; have both build it: deploys/drill.py --data ref={spec.version} --data twin=true"
    )


def _unproven_reason(ctx: RunContext, trust: Trust, stored: Stored) -> str | None:
    """Once for all targets, as long as no file of the artifact changes."""
    known: dict[object, str | None] = ctx.memo.setdefault("proven", {})
    files = sorted(stored.path.parent.iterdir()) if stored.path.parent.is_dir() else []
    stats = ((path.name, path.stat()) for path in files)
    seen = tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats)
    name = (stored.manifest.sha256, tuple(trust.keys), tuple(trust.builders), seen)
    if name not in known:
        known[name] = unproven(stored, trust, trusted_keys(ctx, trust))
    return known[name]


def refuse_unproven(ctx: RunContext, host: Host, wanted: Iterable[DesiredRelease]) -> None:
    """While planning: what is in the store has to be proven, and what will be built has to be provable.

    Raises:
        RefusedError: it is not.
        ProvenanceError: a key cannot be read.
    """
    with ctx.lock:
        wants = list(wanted)
        there = [ctx.run.artifacts.get(spec.key) for want in wants for spec in want.programs]
        known = [one for one in there if one is not None]
        if ctx.run.command != "rollout" and twin.twin_required(ctx):  # their second builder is at work in this run
            known = [one for one in known if twin_confirms(ctx, one)]
        found = reject_reason(ctx, host, known)
        if found is None and len(known) < len(there):
            found = _unprovable_reason(ctx, host, builds=None in there)
    if found is not None:
        raise RefusedError(f"{found}; nothing was changed")


def _unprovable_reason(ctx: RunContext, host: Host, *, builds: bool) -> str | None:
    """Why what this run signs could never be shipped to a target: known before an hour of building.

    Args:
        ctx: the run.
        host: the target.
        builds: an artifact is built; else only the second builder's word is missing, which this controller signs too.
    """
    trust = ctx.fleet(host).trust
    demanded = twin.twin_required(ctx) and host in twin.hosts_requiring_twin(ctx)
    if trust.provenance != "required" and not demanded:
        return None
    own = ctx.run.builder
    if builds and trust.provenance == "required" and trust.builders and own not in (None, *trust.builders):
        return (
            f"{own} would build, and trust.builders allows {', '.join(trust.builders)}: name it there, or leave it out "
            "with --limit"
        )
    if not trust.keys:
        return None
    public = ctx.run.home.keys / PUBLIC
    known = {one.fingerprint for one in trusted_keys(ctx, trust)}
    if not public.exists() or read_public(public).fingerprint not in known:
        what = "what this controller builds" if builds else "the word of the second builder"
        return (
            f"{what} is signed with its own key ({public}), which trust.keys of {host.name} does not name: add it "
            "there, or run this on a controller whose key is named"
        )
    return None
