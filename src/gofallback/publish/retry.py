"""Again, a little later each time: what may pass is not an error yet."""

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

from gofallback.publish.errors import Again, PublishError

T = TypeVar("T")

#: Answers after which a request may be made again: RFC 9110 15.5.9 (408), RFC 8470 (425), RFC 6585 (429), and what a
#: restarting server or its proxy says. 501, 505 and 507 (store full) stay as they are.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Those of them that say that nothing was done.
UNHEARD = frozenset({408, 425, 429})
_LONGEST = 30.0
"""Seconds between two attempts."""
_MOST_ASKED = 120.0
"""Seconds that a store may ask for (Retry-After)."""
_backoff = wait_exponential(multiplier=0.5, max=_LONGEST) + wait_random(0, 0.5)


def persistently(
    action: Callable[[], T], attempts: int, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> T:
    """The result of ``action``, tried so many times while it raises `Again`.

    Args:
        action: has to be safe to do twice.
        attempts: at least 1.
        say: hears one line about each failed attempt that is followed by another.
        sleep: waits so many seconds.

    Raises:
        PublishError: the last attempt failed too.
    """

    def tell(state: RetryCallState) -> None:
        wait = state.next_action.sleep if state.next_action else 0.0
        say(f"{_reason(state)}; again in {wait:.1f} s (attempt {state.attempt_number} of {attempts})")

    retrying = Retrying(
        retry=retry_if_exception_type(Again),
        stop=stop_after_attempt(attempts),
        wait=_wait,
        before_sleep=tell,
        sleep=sleep,
        reraise=True,
    )
    try:
        return retrying(action)
    except Again as reason:
        times = "once" if attempts == 1 else f"{attempts} times"
        raise PublishError(
            f"{reason}; tried {times}. Run the same command again: what is there is not sent anew"
        ) from None


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.after if isinstance(error, Again) and error.after else 0.0
    return max(_backoff(state), min(asked, _MOST_ASKED))


def _reason(state: RetryCallState) -> str:
    return str(state.outcome.exception()) if state.outcome else ""
