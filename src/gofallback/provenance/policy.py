"""Is an artifact proven well enough to be sent to a target? What `trust` of group data asks for. Only reads files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gofallback.artifact.binary import inspect
from gofallback.controller.store import Stored
from gofallback.errors import GofallbackError
from gofallback.model.trust import Trust
from gofallback.provenance.check import Case, check
from gofallback.provenance.keys import TrustedKey, read_text, trusted_keys

#: Of several findings about one artifact: the first are the causes.
_MOST = 2


def keys_of(trust: Trust, home: Path, project: Path) -> list[TrustedKey]:
    """Whose signatures count.

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
        read_text(text.encode(), f"trust.keys[{number}]", f"trust.keys[{number}] in group_data/ or the inventory")
        for number, text in enumerate(trust.keys)
    ]


def unproven(stored: Stored, trust: Trust, trusted: Sequence[TrustedKey]) -> str | None:
    """Why an artifact may not be sent, in one line; None: everything that `trust` asks for is proven.

    Compares the binary's bytes, its manifest, SBOM and checksums with the signed statement, and the signature with the
    keys; then the statement's builder with those that may build.
    """
    try:
        info = inspect(stored.path)
    except GofallbackError as error:
        return str(error)
    manifest = stored.manifest
    result = check(Case(stored.path.parent, stored.path, info, manifest), trusted, required=True)
    found = list(result.problems)
    if trust.builders and manifest.builder not in trust.builders:
        allowed = ", ".join(trust.builders)
        found.append(f"was built on {manifest.builder}; trust.builders allows {allowed}: build it again there")
    if not found:
        return None
    more = f" (and {len(found) - _MOST} more: gofallback verify {stored.path.parent})" if len(found) > _MOST else ""
    spec = manifest.spec
    return f"{spec.what} {spec.version} {spec.platform}: {'; '.join(found[:_MOST])}{more}"
