"""What stays on a builder when it has done its work (docs/wipe.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from gofallback.model.base import Strict

#: What may stay: it makes the next run shorter and holds nothing of a service but what Go has compiled of it.
Kept = Literal["toolchains", "downloads", "mirrors", "tools", "cache", "gocache", "gomodcache", "modproxy", "sysroots"]


class Wipe(Strict):
    """When a builder is wiped, and what stays there."""

    after: Literal["never", "run"] = Field(
        default="never",
        description="run: after every fallback.py, drill.py and faithful.py, however it ended; never: only by "
        "deploys/wipe.py",
    )
    keep: list[Kept] = Field(
        default_factory=list,
        description="folders below root that stay: toolchains, downloads (their archives), mirrors (git objects of "
        "the services), tools, cache (all of it) or of it gocache, gomodcache, modproxy, sysroots; default: nothing",
    )

    @field_validator("keep")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        if "cache" in value and len({"gocache", "gomodcache", "modproxy", "sysroots"} & set(value)):
            raise ValueError("cache is all of it; leave out the folders in it")
        return list(dict.fromkeys(value))
