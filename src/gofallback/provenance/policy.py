"""Whether an artifact has the provenance that ``trust`` of a target requires. Only reads files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gofallback.artifact.binary import inspect
from gofallback.controller.store import Stored
from gofallback.errors import GofallbackError
from gofallback.model.trust import Trust
from gofallback.provenance.check import Case, check
from gofallback.provenance.keys import TrustedKey, parse_public, trusted_keys

#: Problems that are shown: the first are the causes.
_MOST = 2


def keys_trusted_by(trust: Trust, home: Path, project: Path) -> list[TrustedKey]:
    """The keys whose signatures count for a target.

    Args:
        trust: of the target's group data; with `keys` in it only these count.
        home: ``$GOFALLBACK_HOME/keys``.
        project: folder with ``trusted_keys/``.

    Raises:
        ProvenanceError: a key cannot be read.
    """
    if not trust.keys:
        return trusted_keys(home, project)
    return [
        parse_public(text.encode(), f"trust.keys[{number}]", f"trust.keys[{number}] in group_data/ or the inventory")
        for number, text in enumerate(trust.keys)
    ]


def provenance_problem(stored: Stored, trust: Trust, trusted: Sequence[TrustedKey]) -> str | None:
    """The reason an artifact may not be sent, in one line, or None.

    Compares the binary's bytes, its manifest, SBOM and checksums with the signed statement, the signature with the
    keys, and the builder with ``trust.builders``.
    """
    try:
        info = inspect(stored.path)
    except GofallbackError as error:
        return str(error)
    manifest = stored.manifest
    result = check(Case(stored.path.parent, stored.path, info, manifest), trusted, required=True)
    problems = list(result.problems)
    if trust.builders and manifest.builder not in trust.builders:
        allowed = ", ".join(trust.builders)
        problems.append(f"was built on {manifest.builder}; trust.builders allows {allowed}: build it again there")
    if not problems:
        return None
    more = (
        f" (and {len(problems) - _MOST} more: gofallback verify {stored.path.parent})" if len(problems) > _MOST else ""
    )
    spec = manifest.spec
    return f"{spec.what} {spec.version} {spec.platform}: {'; '.join(problems[:_MOST])}{more}"
