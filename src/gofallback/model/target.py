"""A Linux host that runs services."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gofallback.model.base import Line, Name, Strict


class Target(Strict):
    """Where services run."""

    services: list[Name] | None = Field(default=None, description="services of this target; default: all")
    sudo: bool = Field(default=True, description="become root with sudo -n; false when logging in as root")
    minimum_free_mb: Annotated[int, Field(ge=0)] = Field(
        default=64, description="free space below the release folder besides the upload"
    )
    labels: dict[Name, Line] = Field(
        default_factory=dict, description="what waves may go by, such as `region: eu` and `rack: r1`"
    )
    canary: bool = Field(default=False, description="gets a new release before the others")
