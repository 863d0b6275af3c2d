"""DSSE envelopes (https://github.com/secure-systems-lab/dsse): a payload, its type, and signatures over both."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gofallback.provenance import ProvenanceError
from gofallback.provenance.keys import TrustedKey

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import Signer

#: https://github.com/in-toto/attestation/blob/main/spec/v1/envelope.md
IN_TOTO = "application/vnd.in-toto+json"


def seal(payload: bytes, signer: Signer) -> bytes:
    """An in-toto payload, signed; JSON, one line."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(payload, IN_TOTO, {})
    envelope.sign(signer)
    return (json.dumps(envelope.to_dict()) + "\n").encode()


def unseal(content: bytes) -> Envelope:
    """Read an envelope. Its payload counts only when `signers` returns a key.

    Raises:
        ProvenanceError: the content is no envelope, or its payload no in-toto statement.
    """
    from securesystemslib.dsse import Envelope

    try:
        envelope = Envelope.from_dict(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProvenanceError(f"is no DSSE envelope ({type(error).__name__})") from None
    if envelope.payload_type != IN_TOTO:
        raise ProvenanceError(f"holds {envelope.payload_type!r:.80}, should hold {IN_TOTO}")
    return envelope


def signers(envelope: Envelope, trusted: Iterable[TrustedKey]) -> list[TrustedKey]:
    """The trusted keys that signed it. The envelope's key id is only a hint (DSSE protocol), so every key is tried."""
    from securesystemslib.exceptions import UnverifiedSignatureError
    from securesystemslib.signer import Signature

    signed, found = envelope.pae(), []
    for key in trusted:
        for signature in envelope.signatures.values():
            try:
                key.key.verify_signature(Signature(key.fingerprint, signature.signature), signed)
            except UnverifiedSignatureError:
                continue
            found.append(key)
            break
    return found
