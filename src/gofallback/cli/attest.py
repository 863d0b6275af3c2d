"""``gofallback attest``: provenance, SBOM and checksums for artifacts that were stored without them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gofallback.artifact.binary import inspect
from gofallback.artifact.verify import problems
from gofallback.cli.command import CliError, add_command, add_version, artifact_store, newest_versions
from gofallback.controller.paths import Home
from gofallback.controller.store import MANIFEST, ArtifactStore, Stored
from gofallback.provenance import PROVENANCE, TWIN, ProvenanceError, twin
from gofallback.provenance.attest import attestations
from gofallback.provenance.keys import TrustedKey, controller_key, trusted_keys
from gofallback.provenance.statement import Materials

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    from gofallback.cli.command import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    attest = add_command(
        commands,
        "attest",
        _attest,
        "sign provenance, SBOM and checksums of a version that was stored without them",
        "Verifies every artifact of a version in the artifact store as after its build, and puts provenance.json, "
        "sbom.json and checksums.txt beside it. Such provenance has `attestedAfterwards`, but no run and no "
        "repository. See docs/provenance.md.",
    )
    add_version(attest, "default: every one that has this version")
    attest.add_argument("--again", action="store_true", help="also artifacts with provenance, with the current key")


def _attest(given: argparse.Namespace) -> int:
    home = Home.default()
    store = artifact_store()
    services = store.services()
    found = [one for name in services if given.service in (None, name) for one in store.by_version(name, given.version)]
    if not found:
        of_service = f" of {given.service}" if given.service else ""
        newest = newest_versions(store, services)
        raise CliError(f"{given.version}{of_service}: not in the artifact store ({newest})")
    signer = controller_key(home.keys)
    trusted = trusted_keys(home.keys, Path.cwd())
    for one in found:
        spec = one.manifest.spec
        name = f"{spec.what} {spec.version} {spec.platform}"
        if (one.path.parent / PROVENANCE).exists() and not given.again:
            print(f"{name}: attested already")
            continue
        twin_note = _sign(store, one, name, signer, trusted)
        print(f"{name}: attested with key {signer.public_key.keyid}: {one.path.parent}{twin_note}")
    return 0


def _sign(store: ArtifactStore, stored: Stored, name: str, signer: CryptoSigner, trusted: list[TrustedKey]) -> str:
    """Attest one artifact; a note about its twin's attestation, for the end of the line."""
    manifest = stored.manifest
    info = inspect(stored.path)
    wrong = problems(info, manifest.spec, sha256=manifest.sha256, size=manifest.size)
    if wrong:
        raise CliError(f"{'; '.join(wrong)}; not signed")
    try:
        text = (stored.path.parent / MANIFEST).read_bytes()
    except OSError as error:
        raise CliError(f"{name}: {MANIFEST} cannot be read ({error.strerror})") from None
    second, note = _twin(stored, signer, trusted)
    try:
        files = attestations(manifest, text, info, Materials(), signer, second)
    except ProvenanceError as error:
        raise CliError(f"{name}: {error}; not signed") from None
    store.attach(stored, files, without=() if second else (TWIN,))
    return note


def _twin(stored: Stored, signer: CryptoSigner, trusted: list[TrustedKey]) -> tuple[bytes | None, str]:
    """The second builder's attestation, signed with the current key; and a note.

    One without a trusted signature is dropped: it would leave the whole artifact unproven, and a new signature must not
    make it good.
    """
    try:
        content = (stored.path.parent / TWIN).read_bytes()
        return twin.re_sign(content, stored.manifest, trusted, signer), f"; {TWIN} was signed again too"
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise CliError(f"{error.filename}: cannot be read ({error.strerror}); not signed") from None
    except ProvenanceError as error:
        version = stored.manifest.spec.version
        return None, (
            f"; {TWIN} was removed, as it {error}: have a second builder build it again with deploys/drill.py "
            f"--data ref={version} --data twin=true"
        )
