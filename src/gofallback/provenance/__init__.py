"""Signed provenance, SBOM and checksums of an artifact: made, and checked (docs/provenance.md).

It may import `controller`, `artifact` and everything below. `attest` makes the files, `check` compares them with a
binary, `verify_folder` finds both for ``gofallback verify``, `policy` applies ``trust`` of group data. A new fact about
a build is a parameter in `statement`; a new check is one generator in `check`.
"""

from __future__ import annotations

from gofallback.artifact.checksums import CHECKSUMS
from gofallback.errors import GofallbackError

__all__ = ["CHECKSUMS", "PROVENANCE", "SBOM", "TWIN", "ProvenanceError"]

PROVENANCE = "provenance.json"
SBOM = "sbom.json"
TWIN = "twin.json"


class ProvenanceError(GofallbackError):
    """A key, an envelope or an SBOM that cannot be made or read; one line."""
