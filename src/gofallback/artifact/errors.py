"""The error of everything that looks into a binary."""

from gofallback.errors import GofallbackError


class ArtifactError(GofallbackError):
    """A file that is not a binary we can judge; one line."""
