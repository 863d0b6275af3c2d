"""Retries of requests that failed with a transient error, with growing pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from gofallback.publish.errors import PublishError, TransientError

T = TypeVar("T")

#: Statuses after which a request may be repeated: RFC 9110 15.5.9 (408), RFC 8470 (425), RFC 6585 (429), and those of a
#: restarting server or its proxy. 501, 505 and 507 (store full) are permanent.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Those of them after which the request was certainly not executed.
NOT_EXECUTED = frozenset({408, 425, 429})
_LONGEST = 30.0
"""Seconds between two attempts."""
_LONGEST_RETRY_AFTER = 120.0
"""Seconds that a store may demand (Retry-After)."""
_backoff = wait_exponential(multiplier=0.5, max=_LONGEST) + wait_random(0, 0.5)


def with_retries(
    action: Callable[[], T], attempts: int, report: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> T:
    """The result of ``action``, which is repeated while it raises `TransientError`.

    Args:
        action: has to be safe to repeat.
        attempts: at least 1.
        report: called with one line about each failed attempt that is followed by another.
        sleep: waits so many seconds.

    Raises:
        PublishError: the last attempt failed too.
    """

    def before_sleep(state: RetryCallState) -> None:
        wait = state.next_action.sleep if state.next_action else 0.0
        report(f"{_reason(state)}; again in {wait:.1f} s (attempt {state.attempt_number} of {attempts})")

    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(attempts),
        wait=_wait,
        before_sleep=before_sleep,
        sleep=sleep,
        reraise=True,
    )
    try:
        return retrying(action)
    except TransientError as reason:
        times = "once" if attempts == 1 else f"{attempts} times"
        raise PublishError(
            f"{reason}; tried {times}. Run the same command again: what is there is not sent again"
        ) from None


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    demanded = error.after if isinstance(error, TransientError) and error.after else 0.0
    return max(_backoff(state), min(demanded, _LONGEST_RETRY_AFTER))


def _reason(state: RetryCallState) -> str:
    return str(state.outcome.exception()) if state.outcome else ""
