"""``gofallback attest``: provenance, SBOM and checksums for artifacts that were stored without them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gofallback.artifact.binary import inspect
from gofallback.artifact.verify import problems
from gofallback.controller.paths import Home
from gofallback.controller.store import MANIFEST, ArtifactStore, Stored
from gofallback.errors import GofallbackError
from gofallback.provenance import CHECKSUMS, PROVENANCE, TWIN, ProvenanceError, checksums, twin
from gofallback.provenance.attest import attestations
from gofallback.provenance.keys import TrustedKey, controller_key, trusted_keys
from gofallback.provenance.statement import Materials

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

STATUSES = "exit status: 0 all is well, 1 a problem was found (one line says which), 2 the command line is wrong"


class AttestCommandError(GofallbackError):
    """The store has nothing to attest, or what it has is not as it should be."""


def register(commands: Commands) -> None:
    """Add the command to those of ``gofallback``."""
    attest = commands.add_parser(
        "attest",
        help="sign provenance, SBOM and checksums of a version that was stored without them",
        description="Checks every artifact of a version in the artifact store as it was checked when it was built, "
        "and puts provenance.json, sbom.json and checksums.txt beside it. Such provenance says `attestedAfterwards`, "
        "and nothing of run and repository. See docs/provenance.md.",
        epilog=STATUSES,
    )
    attest.add_argument("version", metavar="VERSION", help="a version of the artifact store, such as v1.2.3")
    attest.add_argument("--service", metavar="NAME", help="default: every one that has this version")
    attest.add_argument("--again", action="store_true", help="also what is attested already, with the key of today")
    attest.set_defaults(run=_attest)


def _attest(given: argparse.Namespace) -> int:
    home = Home.default()
    store = ArtifactStore(home.artifacts, say=lambda line: print(line, file=sys.stderr))
    found = [
        one
        for name in _services(store)
        if given.service in (None, name)
        for one in store.by_version(name, given.version)
    ]
    if not found:
        having = "; ".join(f"{name}: {', '.join(store.versions(name)[:5])}" for name in _services(store)) or "nothing"
        whose = f" of {given.service}" if given.service else ""
        raise AttestCommandError(f"{given.version}{whose}: not in the artifact store ({having})")
    signer = controller_key(home.keys)
    trusted = trusted_keys(home.keys, Path.cwd())
    for one in found:
        spec = one.manifest.spec
        name = f"{spec.what} {spec.version} {spec.platform}"
        if (one.path.parent / PROVENANCE).exists() and not given.again:
            print(f"{name}: attested already")
            continue
        word = _sign(store, one, name, signer, trusted)
        print(f"{name}: attested with key {signer.public_key.keyid}: {one.path.parent}{word}")
    return 0


def _services(store: ArtifactStore) -> list[str]:
    entries = store.root.iterdir() if store.root.is_dir() else ()
    return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _sign(store: ArtifactStore, stored: Stored, name: str, signer: CryptoSigner, trusted: list[TrustedKey]) -> str:
    """Attest one artifact; what became of its twin's word, for the end of the line."""
    manifest = stored.manifest
    info = inspect(stored.path)
    wrong = problems(info, manifest.spec, sha256=manifest.sha256, size=manifest.size)
    if wrong:
        raise AttestCommandError(f"{'; '.join(wrong)}; not signed")
    try:
        text = (stored.path.parent / MANIFEST).read_bytes()
    except OSError as error:
        raise AttestCommandError(f"{name}: {MANIFEST} cannot be read ({error.strerror})") from None
    try:
        files = attestations(manifest, text, info, Materials(), signer)
    except ProvenanceError as error:
        raise AttestCommandError(f"{name}: {error}; not signed") from None
    word, told = _twin(stored, signer, trusted)
    if word is not None:
        files[TWIN] = word
        files[CHECKSUMS] = checksums.of(files | {MANIFEST: text}, manifest)
    store.attach(stored, files, without=() if word else (TWIN,))
    return told


def _twin(stored: Stored, signer: CryptoSigner, trusted: list[TrustedKey]) -> tuple[bytes | None, str]:
    """The second builder's word with the signature of today, where one that counts signed it; and what to say of it.

    One that does not count would make the whole artifact unproven, and must not become good by being signed again.
    """
    try:
        content = (stored.path.parent / TWIN).read_bytes()
        return twin.again(content, stored.manifest, trusted, signer), f"; {TWIN} was signed again too"
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise AttestCommandError(f"{error.filename}: cannot be read ({error.strerror}); not signed") from None
    except ProvenanceError as error:
        version = stored.manifest.spec.version
        return None, (
            f"; {TWIN} was removed, as it {error}: have a second builder say it again with deploys/drill.py "
            f"--data ref={version} --data twin=true"
        )
