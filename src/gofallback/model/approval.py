"""The approvals that an environment requires of a release."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gofallback.model.base import RelativePath, Strict


class Approval(Strict):
    """Signatures of a release by people other than its requester (docs/approvals.md)."""

    required: Annotated[int, Field(ge=1, le=20)] = Field(
        default=2, description="how many different people, the requester not counted, have to approve a release"
    )
    signers: RelativePath = Field(
        default="allowed_signers",
        description="the people who may approve, and their keys: a file as in ssh-keygen(1), ALLOWED SIGNERS; below "
        "the project",
    )
    folder: RelativePath = Field(default="approvals", description="folder of the approvals, below the project")
    validity: Annotated[int, Field(ge=1, le=8760)] = Field(
        default=72, description="hours after its signing at which an approval ends, unless it has an earlier end itself"
    )
