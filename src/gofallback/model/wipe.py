"""The data that stays on a builder after its work (docs/wipe.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from gofallback.model.base import Strict

#: Data that may stay: it makes the next run shorter, and holds nothing of a service but compiled code.
Keepable = Literal[
    "toolchains", "downloads", "mirrors", "tools", "cache", "gocache", "gomodcache", "modproxy", "sysroots"
]


class Wipe(Strict):
    """When a builder is wiped, and the data that stays."""

    after: Literal["never", "run"] = Field(
        default="never",
        description="run: after every fallback.py, drill.py and faithful.py, also a failed one; never: only by "
        "deploys/wipe.py",
    )
    keep: list[Keepable] = Field(
        default_factory=list,
        description="folders below root that stay: toolchains, downloads (their archives), mirrors (git objects of the "
        "services), tools, cache or single folders of it: gocache, gomodcache, modproxy, sysroots; default: nothing",
    )

    @field_validator("keep")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        if "cache" in value and len({"gocache", "gomodcache", "modproxy", "sysroots"} & set(value)):
            raise ValueError("cache includes its single folders; remove one or the other")
        return list(dict.fromkeys(value))
