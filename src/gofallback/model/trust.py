"""The proof a binary needs before it goes to a target (docs/provenance.md, docs/twin-build.md)."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gofallback.model.base import Line, Strict

_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


def _pem(value: str) -> str:
    """A public key as openssl writes it; the text between its first and last line is enough.

    `provenance.keys.read_text` finds out whether it is a key: models import no crypto.
    """
    if "PRIVATE KEY" in value:
        raise ValueError("should be a public key; a private one never belongs in group data")
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
    """The proof a binary needs before a byte of it is sent to a target."""

    provenance: Literal["required", "warn", "off"] = Field(
        default="required",
        description="a binary whose provenance is missing, altered, of other bytes or signed by an unknown key is "
        "refused (required) or shipped with a note (warn); off: provenance is not checked",
    )
    keys: list[PublicKey] = Field(
        default_factory=list,
        description="public keys in PEM; only their signatures count; default: this controller's own key and "
        "`trusted_keys/*.pub` of the project",
    )
    builders: list[Line] = Field(
        default_factory=list, description="names of the builders whose binaries may be shipped; default: all"
    )
    twin: Line = Field(
        default="off",
        description="a second builder builds the same, and only equal bytes are shipped: `off`; `required` (any other "
        "builder of the inventory; the run is refused if there is none); or the name of a builder (a note if it is not "
        "available)",
    )

    @model_validator(mode="after")
    def _provenance_checked(self) -> Trust:
        # A twin's attestation is signed like any provenance; with `off` a binary that was exchanged after both builds
        # would be shipped in the name of both builders.
        if self.twin == "required" and self.provenance == "off":
            raise ValueError(
                "twin: required has no effect with provenance: off, for then nothing compares the shipped binary with "
                "the one that two builders signed; set provenance to required or warn"
            )
        return self

    @property
    def twin_name(self) -> str | None:
        """The builder that group data names as the twin, or None."""
        return None if self.twin in ("off", "required") else self.twin
