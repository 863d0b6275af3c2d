"""What an environment demands before a release goes to it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gofallback.model.base import RelativePath, Strict


class Approval(Strict):
    """Signatures of a release by people other than the one who rolls it out (docs/approvals.md)."""

    required: Annotated[int, Field(ge=1, le=20)] = Field(
        default=2, description="how many different people, the requester not counted, have to approve a release"
    )
    signers: RelativePath = Field(
        default="allowed_signers",
        description="who may approve, by which key: a file as in ssh-keygen(1), ALLOWED SIGNERS; below the project",
    )
    folder: RelativePath = Field(default="approvals", description="where the approvals lie, below the project")
    validity: Annotated[int, Field(ge=1, le=8760)] = Field(
        default=72, description="hours after its signing at which an approval ends, if it does not say an earlier end"
    )
