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
    """A host that runs services."""

    services: list[Name] | None = Field(default=None, description="services of this target; default: all")
    sudo: bool = Field(default=True, description="become root with sudo -n; false when logging in as root")
    minimum_free_mb: Annotated[int, Field(ge=0)] = Field(
        default=64, description="MB that have to stay free on the disk of the release folder after the upload"
    )
    labels: dict[Name, Line] = Field(
        default_factory=dict, description="labels for waves, such as `region: eu` and `rack: r1`"
    )
    canary: bool = Field(default=False, description="gets a new release before the others")
    delivery: Literal["push", "pull"] = Field(
        default="push",
        description="push: the controller sends binaries; pull: the target fetches them from a store of `publish`, to "
        "which the controller sends them once (docs/pulling.md)",
    )
    pull_from: Name | None = Field(
        default=None, description="the store of `publish` to pull from; default: `publish.default`, or the only store"
    )
    pull_fallback: Literal["push", "none"] = Field(
        default="push",
        description="when a binary cannot be pulled, for any reason of store or network: push: it is pushed, with a "
        "note in the report; none: this target fails",
    )
    pull_deadline: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=600, description="timeout in seconds for the download"
    )
    pull_proxy: Annotated[str, AfterValidator(_proxy)] | None = Field(
        default=None,
        description="proxy for the download; default: HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the target, which sudo "
        "usually removes",
    )
