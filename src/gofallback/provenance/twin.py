"""The twin's attestation: provenance of the same bytes, built by another builder (docs/twin-build.md).

It is SLSA v1 provenance about the same subject, with another builder. It lies beside the artifact as ``twin.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gofallback.artifact.buildinfo import BuildInfo
from gofallback.artifact.manifest import Manifest
from gofallback.provenance import ProvenanceError, envelope, statement
from gofallback.provenance.keys import TrustedKey
from gofallback.provenance.statement import BUILDER, Materials

if TYPE_CHECKING:
    from securesystemslib.signer import Signer


def make(theirs: Manifest, build: BuildInfo, materials: Materials, signer: Signer) -> bytes:
    """The twin's provenance, signed.

    Args:
        theirs: the twin's manifest; its SHA-256 is the artifact's.
        build: of the binary.
        materials: facts of the twin's build.
        signer: the controller's key.
    """
    return envelope.seal(statement.payload(statement.make(theirs, build, materials, {})), signer)


def re_sign(content: bytes, manifest: Manifest, trusted: Sequence[TrustedKey], signer: Signer) -> bytes:
    """The same attestation signed with another key: it counts only as long as the key that signed it.

    Args:
        content: of twin.json.
        manifest: the artifact's.
        trusted: keys whose signatures count.
        signer: the controller's current key.

    Raises:
        ProvenanceError: the content says something else, or no trusted key signed it.
    """
    read(content, manifest, trusted)
    return envelope.seal(envelope.unseal(content).payload, signer)


def read(content: bytes, manifest: Manifest, trusted: Sequence[TrustedKey]) -> str:
    """Name of the builder that made the same bytes as the artifact's own.

    Args:
        content: of twin.json.
        manifest: the artifact's.
        trusted: keys whose signatures count.

    Raises:
        ProvenanceError: the content says something else, or no trusted key signed it.
    """
    sealed = envelope.unseal(content)
    if not envelope.signers(sealed, trusted):
        raise ProvenanceError("is not signed with a trusted key")
    made = statement.read(sealed.payload)
    if manifest.sha256 not in made.digests():
        raise ProvenanceError(f"is about other bytes than those of the artifact, sha256 {manifest.sha256}")
    details = made.predicate.run_details
    if not details.builder.id.startswith(BUILDER):
        raise ProvenanceError(f"names no builder of ours: {details.builder.id!r:.80}")
    name = unquote(details.builder.id.removeprefix(BUILDER))
    if name == manifest.builder:
        raise ProvenanceError(f"is of {name} itself, which built the artifact; a twin is another builder")
    theirs = manifest.model_copy(update={"builder": name, "built_at": details.metadata.finished_on})
    for line in statement.differences(made, theirs):
        raise ProvenanceError(line)
    return name
