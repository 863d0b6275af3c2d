"""The manifest: everything that a build hands to a release."""

from __future__ import annotations

from gofallback.artifact.spec import BuildSpec
from gofallback.model.base import Sha256, Strict


class Manifest(Strict):
    """The spec of a binary, its builder, and the hash of its bytes. Kept as JSON beside the binary, everywhere."""

    schema_version: int = 1
    spec: BuildSpec
    key: Sha256
    sha256: Sha256
    size: int
    """Bytes."""
    builder: str
    """Name of the builder."""
    built_at: str
    """RFC 3339, UTC."""
    seconds: float
    """Seconds the build took."""

    @property
    def platform(self) -> str:
        """GOOS/GOARCH."""
        return self.spec.platform
