"""The commit that a service is built from."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gofallback.model.base import Strict, one_line


def _ref(value: str) -> str:
    one_line(value)
    if not value or value.startswith("-") or re.search(r"[\s~^:?*\[\\]|\.\.|@\{", value):
        raise ValueError("should be a branch, a tag or a commit SHA (git-check-ref-format(1))")
    return value


def _repository(value: str) -> str:
    one_line(value)
    if re.match(r"^(https?|ssh|git|file)://", value):
        if re.match(r"^https?://[^/@]*:[^/@]*@", value):
            raise ValueError("should not hold a password; use an ssh key or a git credential helper on the controller")
        return value
    if value.startswith("/") or re.match(r"^[\w.-]+@[\w.-]+:[^:]+$", value):
        return value
    raise ValueError("should be ssh://, https://, file://, user@host:path or an absolute path")


class Source(Strict):
    """The commit."""

    repository: Annotated[str, AfterValidator(_repository)] = Field(
        description="ssh://, https://, file://, user@host:path or an absolute path; read by the controller"
    )
    ref: Annotated[str, AfterValidator(_ref)] = Field(default="main", description="branch, tag or commit SHA")
    submodules: bool = Field(default=False, description="fetch submodules too, at all levels")
    delivery: Literal["bundle", "clone"] = Field(
        default="bundle",
        description="bundle: the controller sends the commit, so the builder needs no git server and no credential; "
        "clone: the builder clones the repository",
    )
