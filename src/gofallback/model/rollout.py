"""How a release goes over the fleet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gofallback.model.base import Strict


class Rollout(Strict):
    """Canary first, then the rest; one failure puts the whole fleet back (`revert: all`)."""

    revert: Literal["all", "failed"] = Field(
        default="all",
        description="all: after a failure every target goes back to the release it had; failed: only the failed ones",
    )
    activate_timeout: Annotated[int, Field(ge=5, le=7200)] = Field(
        default=300, description="seconds after which the controller stops waiting for one target's activation"
    )
    parallel: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=50, description="targets that are activated at the same time, after the canaries"
    )
