"""Errors of publishing."""

from __future__ import annotations

from gofallback.errors import GofallbackError
from gofallback.redact import redact

_MOST = 300


class PublishError(GofallbackError):
    """A failure that no further attempt mends; one line without secrets."""

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


class TransientError(Exception):
    """A failure that may pass: a broken connection, a busy or a restarting store.

    Args:
        reason: one line.
        after: seconds to wait, by the store (Retry-After).
        not_executed: the store has certainly not executed the request.
    """

    def __init__(self, reason: str, after: float | None = None, *, not_executed: bool = False) -> None:
        super().__init__(one_line(reason))
        self.after = after
        self.not_executed = not_executed


def one_line(text: str) -> str:
    """The text without secrets, on one line."""
    return "".join(char if char.isprintable() else " " for char in redact(text))


def excerpt(text: str) -> str:
    """The beginning of a store's answer, for the end of a line; empty for an empty answer or an HTML page."""
    plain = " ".join(one_line(text).split())
    return f"; it says: {plain[:_MOST]}" if plain and not plain.startswith("<") else ""
