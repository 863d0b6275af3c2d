"""Keeps noise off the screen: no line for a host that skips an operation, no heading without lines below it.

With ten targets and one builder, pyinfra 3.10 prints eleven "Skipped" or "No changes" for each of a dozen operations
(pyinfra/api/operations.py, `run_ops`); its table of results has the same in one line each. With `-v` everything is
printed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import gevent
from pyinfra import logger
from pyinfra.api.state import State

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NOTHING = re.compile(r"\[[^\]]+\]\s+(Skipped|No changes)$")
_HEADING = "--> Starting operation:"
_NOISE = frozenset({"--> Skipping change detection"})
#: Seconds after which the heading of an operation is printed even without a line below it.
HEADING_DELAY = 1.0


class Quiet(logging.Filter):
    """Holds the heading of an operation back until a line below it is worth reading."""

    def __init__(self) -> None:
        super().__init__()
        self._heading: logging.LogRecord | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is printed now; prints the heading before it."""
        text = _COLOUR.sub("", record.getMessage()).strip()
        if text.startswith(_HEADING):
            self._heading = record
            gevent.spawn_later(HEADING_DELAY, self._announce, record)
            return False
        if text in _NOISE or _NOTHING.match(text):
            return False
        if text.startswith("-->"):
            self._heading = None
        elif self._heading is not None:
            self._announce(self._heading)
        return True

    def _announce(self, heading: logging.LogRecord) -> None:
        if self._heading is heading:
            self._heading = None
            for handler in logger.handlers:
                handler.handle(heading)


def quiet(state: State, flags: Mapping[str, Any]) -> None:
    """Filter pyinfra's output, once a process.

    Args:
        state: pyinfra's; with `-v` nothing is filtered.
        flags: of the command line; with --no-wait and --serial headings do not belong to the lines that follow them.
    """
    verbose = state.print_noop_info or logger.isEnabledFor(logging.DEBUG)
    known = any(isinstance(found, Quiet) for found in logger.filters)
    if not (verbose or known or flags.get("no_wait") or flags.get("serial")):
        logger.addFilter(Quiet())
