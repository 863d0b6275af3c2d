"""The provenance gate: checked for every target while planning, and again just before the first byte is sent.

The attestation of a second builder is checked here too, where `trust.twin` requires one.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra.api.host import Host

from gofallback.controller.store import Stored
from gofallback.deploys.building import twin
from gofallback.deploys.releasing.desired import DesiredRelease
from gofallback.deploys.run.context import Key, RunContext
from gofallback.errors import RefusedError
from gofallback.model.trust import Trust
from gofallback.provenance.keys import PUBLIC, read_public
from gofallback.provenance.policy import provenance_problem

_UNPROVEN: Key[str | None] = Key("unproven")


def reject_reason(ctx: RunContext, host: Host, stored: Iterable[Stored]) -> str | None:
    """The reason one of these artifacts may not be sent to a target, or None: also where `trust.provenance` only warns.

    Raises:
        ProvenanceError: a key cannot be read.
    """
    trust, artifacts = ctx.fleet(host).trust, list(stored)
    missing = twin.unconfirmed_reason(ctx, host, artifacts)
    if missing is not None:
        return missing
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


def _unproven_reason(ctx: RunContext, trust: Trust, stored: Stored) -> str | None:
    """Why an artifact is not proven, or None. Cached for all targets as long as no file of the artifact changes."""
    files = sorted(stored.path.parent.iterdir()) if stored.path.parent.is_dir() else []
    stats = ((path.name, path.stat()) for path in files)
    seen = tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats)
    key = _UNPROVEN(stored.manifest.sha256, tuple(trust.keys), tuple(trust.builders), seen)
    return ctx.once(key, lambda: provenance_problem(stored, trust, twin.trusted_keys(ctx, trust)))


def refuse_unproven(ctx: RunContext, host: Host, desired: Iterable[DesiredRelease]) -> None:
    """While planning: check that stored artifacts are proven, and that those to be built can be.

    Raises:
        RefusedError: one is not, or cannot be.
        ProvenanceError: a key cannot be read.
    """
    specs = [spec for release in desired for spec in release.programs]
    known = [stored for spec in specs if (stored := ctx.run.artifacts.get(spec.key)) is not None]
    to_build = len(known) < len(specs)
    if ctx.run.command.needs_builder and twin.twin_required(
        ctx
    ):  # the others are built again in this run, by their second builder
        known = twin.confirmed_by_twin(ctx, known)
    found = reject_reason(ctx, host, known)
    if found is None and len(known) < len(specs):
        found = _unprovable_reason(ctx, host, builds=to_build)
    if found is not None:
        raise RefusedError(f"{found}; nothing was changed")


def _unprovable_reason(ctx: RunContext, host: Host, *, builds: bool) -> str | None:
    """Why artifacts that this run signs could never be shipped to a target, or None; known before an hour of building.

    Args:
        ctx: the run.
        host: the target.
        builds: an artifact is built. Otherwise only the second builder's attestation is missing, which this controller
            signs too.
    """
    trust = ctx.fleet(host).trust
    twin_required = twin.twin_required(ctx) and host in twin.hosts_requiring_twin(ctx)
    if trust.provenance != "required" and not twin_required:
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
    known = {one.fingerprint for one in twin.trusted_keys(ctx, trust)}
    if not public.exists() or read_public(public).fingerprint not in known:
        what = "what this controller builds" if builds else "the attestation of the second builder"
        return (
            f"{what} is signed with its own key ({public}), which trust.keys of {host.name} does not name: add it "
            "there, or run this on a controller whose key is named"
        )
    return None
