"""Whose word counts about a binary before it goes to a target (docs/provenance.md, docs/twin-build.md)."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gofallback.model.base import Line, Strict

_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


def _pem(value: str) -> str:
    """A public key as openssl writes it; what stands between its first and last line is enough.

    Whether it is a key at all is found out by who reads it (`provenance.keys.read_text`): models import no crypto.
    """
    if "PRIVATE KEY" in value:
        raise ValueError("should be a public key; a private one never belongs into group data")
    inside = "".join(value.replace(_BEGIN, "").replace(_END, "").split())
    try:
        base64.b64decode(inside, validate=True)
    except binascii.Error:
        inside = ""
    if not inside:
        raise ValueError(f"should be a public key in PEM ({_BEGIN} ...), such as keys/provenance.pub of a controller")
    lines = [inside[at : at + 64] for at in range(0, len(inside), 64)]
    return "\n".join([_BEGIN, *lines, _END, ""])


PublicKey = Annotated[str, AfterValidator(_pem)]


class Trust(Strict):
    """What has to be proven of a binary before a byte of it is sent to a target."""

    provenance: Literal["required", "warn", "off"] = Field(
        default="required",
        description="what becomes of a binary whose provenance is missing, altered, of other bytes or signed by an "
        "unknown key: refused, shipped with a note, or not looked at",
    )
    keys: list[PublicKey] = Field(
        default_factory=list,
        description="public keys in PEM whose signatures count, and no others; default: this controller's own and "
        "`trusted_keys/*.pub` of the project",
    )
    builders: list[Line] = Field(
        default_factory=list, description="names of the builders whose binaries may be shipped; default: all"
    )
    twin: Line = Field(
        default="off",
        description="a second builder builds the same, and only equal bytes are shipped: `off`; `required` (any other "
        "builder of the inventory; without one the run is refused); or the name of a builder (without it a note)",
    )

    @model_validator(mode="after")
    def _looked_at(self) -> Trust:
        # A twin's word is signed like any provenance; with `off` a binary that was exchanged after both had built it
        # would be shipped in their names.
        if self.twin == "required" and self.provenance == "off":
            raise ValueError(
                "twin: required has no meaning with provenance: off, for then nothing compares what is shipped with "
                "what two builders were signed for; set provenance to required or warn"
            )
        return self

    @property
    def twin_name(self) -> str | None:
        """The builder that group data names as the twin."""
        return None if self.twin in ("off", "required") else self.twin
