"""Makes the files beside an artifact: SBOM, provenance, checksums."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from gofallback.artifact import checksums
from gofallback.artifact.binary import BinaryInfo
from gofallback.artifact.manifest import Manifest
from gofallback.controller.store import MANIFEST
from gofallback.provenance import (
    CHECKSUMS,
    PROVENANCE,
    SBOM,
    TWIN,
    ProvenanceError,
    envelope,
    sbom,
    statement,
)
from gofallback.provenance.statement import Materials

if TYPE_CHECKING:
    from securesystemslib.signer import Signer


def attestations(
    manifest: Manifest, text: bytes, info: BinaryInfo, materials: Materials, signer: Signer, second: bytes | None = None
) -> dict[str, bytes]:
    """File name to content, for the artifact's folder.

    Args:
        manifest: of the artifact, without `artifact.verify.problems`.
        text: the bytes of its manifest.json.
        info: of the binary.
        materials: facts of the run.
        signer: the controller's key.
        second: the attestation of a second builder, where there is one.

    Raises:
        ProvenanceError: the binary is not the manifest's, or Go did not build it.
    """
    if info.sha256 != manifest.sha256:
        raise ProvenanceError(f"{manifest.spec.file_name}: has sha256 {info.sha256}, not {manifest.sha256}")
    if info.build is None:
        raise ProvenanceError(f"{manifest.spec.file_name}: has no Go build info, so its content is unknown")
    files = {MANIFEST: text, SBOM: sbom.make(manifest, info.build)}
    made = statement.make(manifest, info.build, materials, {name: _sha256(data) for name, data in files.items()})
    files[PROVENANCE] = envelope.seal(statement.payload(made), signer)
    if second is not None:
        files[TWIN] = second
    digests = {name: _sha256(data) for name, data in files.items()} | {manifest.spec.file_name: manifest.sha256}
    del files[MANIFEST]  # already in the folder
    return files | {CHECKSUMS: checksums.render(digests).encode()}


def attached_files(folder: Path) -> dict[str, bytes]:
    """The files that go with a binary to a target; files that cannot be read are left out."""
    found = {}
    for name in (PROVENANCE, SBOM, TWIN):
        with contextlib.suppress(OSError):  # `verify` reports a missing file; a release goes on without
            found[name] = (folder / name).read_bytes()
    return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
