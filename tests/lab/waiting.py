"""Waiting for what another process or another host does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait(
    condition: Callable[[], Found], seconds: float = 10.0, *, every: float = 0.1, message: Callable[[], str] | str = ""
) -> Found:
    """Wait until a condition gives something; the test fails when it has not within ``seconds``.

    Args:
        condition: asked again and again.
        seconds: at most.
        every: seconds between two questions.
        message: of the failure.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, _text(message) or f"not so within {seconds:g} s"
        time.sleep(every)
    return found


def _text(message: Callable[[], str] | str) -> str:
    return message if isinstance(message, str) else message()
