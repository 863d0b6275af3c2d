"""What goes wrong while publishing."""

from __future__ import annotations

from gofallback.errors import GofallbackError
from gofallback.redact import redact

_MOST = 300


class PublishError(GofallbackError):
    """Something that trying again does not mend; one line without secrets."""

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


class Again(Exception):  # noqa: N818 - no error yet
    """Something that may pass: a broken connection, a busy or a restarting store.

    Args:
        reason: one line.
        after: seconds the store asked to wait (Retry-After).
        unheard: the store has certainly not done what it was asked for.
    """

    def __init__(self, reason: str, after: float | None = None, *, unheard: bool = False) -> None:
        super().__init__(one_line(reason))
        self.after = after
        self.unheard = unheard


def one_line(text: str) -> str:
    """The text without secrets, on one line, whatever a store's answer holds."""
    return "".join(char if char.isprintable() else " " for char in redact(text))


def excerpt(text: str) -> str:
    """The beginning of a store's answer, for the end of a line; nothing of an empty one or an HTML page."""
    plain = " ".join(one_line(text).split())
    return f"; it says: {plain[:_MOST]}" if plain and not plain.startswith("<") else ""
