"""The one base of every error a person can cause or mend."""

from __future__ import annotations


class GofallbackError(Exception):
    """``str(error)`` is for a person: what, where, what was expected, what to do next. One line each, no traceback."""


class RefusedError(GofallbackError):
    """The run must not begin: nothing has been changed anywhere."""
