"""How many examples Hypothesis generates: all in `make test`, a quarter in `make check` (the profile ``quick``)."""

from __future__ import annotations

from hypothesis import settings

QUICK = "quick"
_SHARE = 4


def examples(number: int) -> int:
    """The number in this session.

    Args:
        number: in `make test`.
    """
    return max(1, number // _SHARE) if settings.get_current_profile_name() == QUICK else number


def register_profile() -> None:
    """Let pytest know ``--hypothesis-profile=quick``; tests that name no number get a quarter of the default too."""
    settings.register_profile(QUICK, max_examples=settings.default.max_examples // _SHARE)
