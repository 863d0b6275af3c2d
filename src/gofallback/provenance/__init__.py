"""Who built a binary, from what, and how anyone can check it: provenance, SBOM, checksums (docs/provenance.md)."""

from __future__ import annotations

from gofallback.errors import GofallbackError

PROVENANCE = "provenance.json"
SBOM = "sbom.json"
TWIN = "twin.json"
CHECKSUMS = "checksums.txt"


class ProvenanceError(GofallbackError):
    """A key, an envelope or an SBOM that cannot be made or read; one line."""
