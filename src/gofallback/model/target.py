"""A Linux host that runs services."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gofallback.model.base import Line, Name, Strict


def _proxy(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+/?", value):
        raise ValueError("should be an address such as http://proxy.example.com:3128, without a user")
    return value


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
    delivery: Literal["push", "pull"] = Field(
        default="push",
        description="how binaries come: sent by the controller, or fetched by the target itself from a store of "
        "`publish`, which the controller sends them to once (docs/pulling.md)",
    )
    pull_from: Name | None = Field(
        default=None, description="the store of `publish` that is pulled from; default: `publish.default`, or its only"
    )
    pull_fallback: Literal["push", "none"] = Field(
        default="push",
        description="what follows when a binary cannot be pulled, whatever of the store or the way to it is to blame: "
        "it is pushed, with a note in the report; or this target failed",
    )
    pull_deadline: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=600, description="seconds after which a download that is still under way counts as failed"
    )
    pull_proxy: Annotated[str, AfterValidator(_proxy)] | None = Field(
        default=None,
        description="proxy for the download; default: as HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the target say, "
        "which sudo mostly takes away",
    )
