"""Provenance on the way to every target: asked for while planning, and again just before the first byte is sent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pyinfra.api.host import Host

from gofallback.controller.store import Stored
from gofallback.deploys._site import RefusedError, Site
from gofallback.deploys._wanted import Wanted
from gofallback.model.trust import Trust
from gofallback.provenance.keys import PUBLIC, TrustedKey, read_public
from gofallback.provenance.policy import keys_of, unproven


def trusted(here: Site, trust: Trust) -> list[TrustedKey]:
    """Whose signatures count for this data; read once a run.

    Raises:
        ProvenanceError: a key cannot be read.
    """
    known: dict[tuple[str, ...], list[TrustedKey]] = here.memo.setdefault("trusted", {})
    name = tuple(trust.keys)
    if name not in known:
        known[name] = keys_of(trust, here.run.home.keys, Path.cwd())
    return known[name]


def problem(here: Site, host: Host, stored: Iterable[Stored]) -> str | None:
    """Why one of these artifacts may not be sent to a target; None: they may, or `trust.provenance` only warns.

    Raises:
        ProvenanceError: a key cannot be read.
    """
    trust = here.fleet(host).trust
    if trust.provenance == "off":
        return None
    for one in stored:
        found = _asked(here, trust, one)
        if found is None:
            continue
        if trust.provenance == "required":
            return f"{found}; trust.provenance is required, so it is not sent"
        here.run.note(f"shipped all the same, as trust.provenance is warn: {found}")
    return None


def _asked(here: Site, trust: Trust, stored: Stored) -> str | None:
    """Once for all targets, as long as no file of the artifact changes."""
    known: dict[object, str | None] = here.memo.setdefault("proven", {})
    files = sorted(stored.path.parent.iterdir()) if stored.path.parent.is_dir() else []
    stats = ((path.name, path.stat()) for path in files)
    seen = tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats)
    name = (stored.manifest.sha256, tuple(trust.keys), tuple(trust.builders), seen)
    if name not in known:
        known[name] = unproven(stored, trust, trusted(here, trust))
    return known[name]


def refuse_unproven(here: Site, host: Host, wanted: Iterable[Wanted]) -> None:
    """While planning: what is in the store has to be proven, and what will be built has to be provable.

    Raises:
        RefusedError: it is not.
        ProvenanceError: a key cannot be read.
    """
    with here.lock:
        wants = list(wanted)
        there = [here.run.artifacts.get(spec.key) for want in wants for spec in (want.binary, want.agent)]
        found = problem(here, host, [one for one in there if one is not None])
        if found is None and None in there:
            found = _unprovable(here, here.fleet(host).trust)
    if found is not None:
        raise RefusedError(f"{found}; nothing was changed")


def _unprovable(here: Site, trust: Trust) -> str | None:
    """Why what this run builds could never be shipped: known before an hour of building."""
    if trust.provenance != "required":
        return None
    if trust.builders and here.run.builder not in (None, *trust.builders):
        return (
            f"{here.run.builder} would build, and trust.builders allows {', '.join(trust.builders)}: name it there, or "
            "leave it out with --limit"
        )
    if not trust.keys:
        return None
    public = here.run.home.keys / PUBLIC
    known = {one.fingerprint for one in trusted(here, trust)}
    if not public.exists() or read_public(public).fingerprint not in known:
        return (
            f"what this controller builds is signed with its own key ({public}), which trust.keys does not name: add "
            "it there, or ship from a controller whose key is named"
        )
    return None
