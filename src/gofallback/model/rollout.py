"""How a release goes over the fleet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gofallback.model.base import Line, Name, Strict

Count = Annotated[int, Field(ge=1, le=100_000)]
Percent = Annotated[
    str, Field(pattern=r"^(100|[1-9][0-9]?)%$", description="percentage of all targets, cumulative: `50%`")
]


class LabelWave(Strict):
    """The targets with a label, such as those of one region or rack."""

    label: Name = Field(description="key of `target.labels`")
    value: Line | None = Field(
        default=None, description="only targets with this value; default: a wave for each value, in inventory order"
    )


class Budget(Strict):
    """Failed targets that the whole rollout tolerates before it stops. The smaller of the two limits applies."""

    count: Annotated[int, Field(ge=0)] | None = Field(default=None, description="targets")
    percent: Annotated[float, Field(ge=0, le=100)] | None = Field(default=None, description="percent of all targets")


class Rollout(Strict):
    """Canaries first, then wave after wave, each after a gate; past the budget the whole fleet goes back."""

    canary: Annotated[int, Field(ge=0)] | Annotated[list[Line], Field(min_length=1)] | None = Field(
        default=None,
        description="number of targets that get a release first, or their names in order; default: those with "
        "`target.canary`, or the first of several; 0: none",
    )
    waves: list[Count | Percent | LabelWave] = Field(
        default_factory=list,
        description="waves after the canaries: a number of targets, all up to a percentage of the targets, or the "
        "targets with a label; the rest is the last wave",
    )
    pause: Annotated[float, Field(ge=0, le=86_400)] | Literal["ask"] = Field(
        default=0.0, description="between two waves: seconds, or `ask` to wait for a person (`gofallback continue RUN`)"
    )
    pause_timeout: Annotated[int, Field(ge=1, le=604_800)] = Field(
        default=3600, description="seconds after which a rollout that waits for a person stops"
    )
    budget: Budget = Field(
        default=Budget(), description="failed targets to tolerate; default: none. A canary may never fail"
    )
    revert: Literal["all", "failed", "none"] = Field(
        default="all",
        description="past the budget: all: every target goes back to its previous release; failed: only failed "
        "targets; none: no target, a person decides",
    )
    confirm_window: Annotated[int, Field(ge=5, le=3600)] = Field(
        default=60,
        description="seconds after which a switched target goes back by itself, unless the run confirms the release or "
        "renews its lease",
    )
    activate_timeout: Annotated[int, Field(ge=5, le=7200)] = Field(
        default=300, description="timeout in seconds for the activation on one target"
    )
    rollback_deadline: Annotated[int, Field(ge=5, le=7200)] = Field(
        default=120, description="timeout in seconds for a rollback of all targets together"
    )
    parallel: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=50, description="targets of a wave that are switched at the same time"
    )
    lease: Annotated[str, Field(pattern=r"^(targets|etcds?://\S+)$")] = Field(
        default="targets",
        description="the lock against concurrent rollouts: leases on the targets, or also a lease in etcd "
        "(`etcd://host:2379`, `etcds://` for TLS) for controllers with different targets",
    )
    lease_ttl: Annotated[int, Field(ge=5, le=600)] = Field(
        default=30, description="seconds after which a lease expires if it is not renewed"
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
            raise ValueError("waves: percentages are cumulative, so each should be more than the one before")
        return self
