"""How a release goes over the fleet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gofallback.model.base import Line, Name, Strict

Count = Annotated[int, Field(ge=1, le=100_000)]
Percent = Annotated[str, Field(pattern=r"^(100|[1-9][0-9]?)%$", description="part of all targets, cumulative: `50%`")]


class LabelWave(Strict):
    """The targets that have a label, such as those of one region or rack."""

    label: Name = Field(description="key of `target.labels`")
    value: Line | None = Field(
        default=None, description="only targets with this value; default: one wave for each value, in inventory order"
    )


class Budget(Strict):
    """How many targets may fail, over the whole rollout, before it stops. The tighter of the two counts."""

    count: Annotated[int, Field(ge=0)] | None = Field(default=None, description="targets")
    percent: Annotated[float, Field(ge=0, le=100)] | None = Field(default=None, description="percent of all targets")


class Rollout(Strict):
    """Canaries first, then wave after wave, each behind a gate; past the budget the whole fleet goes back."""

    canary: Annotated[int, Field(ge=0)] | Annotated[list[Line], Field(min_length=1)] | None = Field(
        default=None,
        description="how many targets, or which in this order, get a release first; default: those with "
        "`target.canary`, else the first of several; 0: none",
    )
    waves: list[Count | Percent | LabelWave] = Field(
        default_factory=list,
        description="what follows the canaries: so many targets more, up to so much of all targets, or those with a "
        "label; whatever is left is the last wave",
    )
    pause: Annotated[float, Field(ge=0, le=86_400)] | Literal["ask"] = Field(
        default=0.0, description="between two waves: seconds, or `ask` for a person's word (`gofallback continue RUN`)"
    )
    pause_timeout: Annotated[int, Field(ge=1, le=604_800)] = Field(
        default=3600, description="seconds a pause waits for a person's word before the rollout stops"
    )
    budget: Budget = Field(default=Budget(), description="targets that may fail; default none. A canary may never fail")
    revert: Literal["all", "failed", "none"] = Field(
        default="all",
        description="past the budget: all: every target goes back to the release it had; failed: only the failed ones; "
        "none: not even those, a person looks at them",
    )
    confirm_window: Annotated[int, Field(ge=5, le=3600)] = Field(
        default=60,
        description="seconds after which a switched target that is not confirmed and hears nothing of the run goes "
        "back by itself",
    )
    activate_timeout: Annotated[int, Field(ge=5, le=7200)] = Field(
        default=300, description="seconds after which the controller stops waiting for one target's activation"
    )
    rollback_deadline: Annotated[int, Field(ge=5, le=7200)] = Field(
        default=120, description="seconds a rollback may take on all targets together"
    )
    parallel: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=50, description="targets of one wave that are switched at the same time"
    )
    lease: Annotated[str, Field(pattern=r"^(targets|etcds?://\S+)$")] = Field(
        default="targets",
        description="what sees to it that one rollout runs at a time: leases on the targets, or besides them one in "
        "etcd (`etcd://host:2379`, `etcds://` for TLS) for controllers whose targets differ",
    )
    lease_ttl: Annotated[int, Field(ge=5, le=600)] = Field(
        default=30, description="seconds after which a lease that is not renewed is free"
    )

    @field_validator("canary")
    @classmethod
    def _once(cls, value: int | list[str] | None) -> int | list[str] | None:
        if isinstance(value, list) and len(set(value)) < len(value):
            raise ValueError("should name each target once")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Rollout:
        shares = [int(wave[:-1]) for wave in self.waves if isinstance(wave, str)]
        if shares != sorted(set(shares)):
            raise ValueError("waves: percents are cumulative, so each should be more than the one before")
        return self
