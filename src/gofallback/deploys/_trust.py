"""Provenance on the way to every target: asked for while planning, and again just before the first byte is sent.

So is the word of a second builder, where `trust.twin` wants one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pyinfra.api.host import Host

from gofallback.controller.store import Stored
from gofallback.deploys import _twin
from gofallback.deploys._site import RefusedError, Site
from gofallback.deploys._wanted import Wanted
from gofallback.model.trust import Trust
from gofallback.provenance import TWIN, ProvenanceError, twin
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
    trust, artifacts = here.fleet(host).trust, list(stored)
    demanded, named = _twin.demanded(here), here.run.command == "rollout" and _twin.wish(here).name
    for one in artifacts if demanded or named else ():
        alone = unconfirmed(here, one)
        if alone is not None and demanded:
            return alone
        if alone is not None:
            here.run.note(f"shipped all the same, as trust.twin only names a builder: {alone}")
    if trust.provenance == "off":
        return None
    for one in artifacts:
        found = _asked(here, trust, one)
        if found is None:
            continue
        if trust.provenance == "required":
            return f"{found}; trust.provenance is required, so it is not sent"
        here.run.note(f"shipped all the same, as trust.provenance is warn: {found}")
    return None


def confirmed_by(here: Site, stored: Stored) -> str | None:
    """The builder that, besides the artifact's own, made the same bytes; None: nobody trusted says so."""
    try:
        content = (stored.path.parent / TWIN).read_bytes()
        keys = [key for host in here.judges for key in trusted(here, here.fleet(host).trust)]
        return twin.read(content, stored.manifest, keys)
    except (OSError, ProvenanceError):
        return None


def unconfirmed(here: Site, stored: Stored) -> str | None:
    """Why an artifact lacks the word of a second builder; None: it has it."""
    wanted, spec = _twin.wish(here), stored.manifest.spec
    if wanted.agreed(stored.manifest.builder, confirmed_by(here, stored)):
        return None
    whose = wanted.name or "a second builder"
    return (
        f"{spec.what} {spec.version} {spec.platform}: {wanted.why or 'the twin'} wants the same bytes from {whose}, "
        f"and only {stored.manifest.builder} is known to have built them; have both build it: deploys/drill.py "
        f"--data ref={spec.version} --data twin=true"
    )


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
        there = [here.run.artifacts.get(spec.key) for want in wants for spec in want.programs]
        known = [one for one in there if one is not None]
        if here.run.command != "rollout":  # their second builder is at work in this run
            known = [one for one in known if not _twin.demanded(here) or unconfirmed(here, one) is None]
        found = problem(here, host, known)
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
