"""The controller's own signing key, and the trusted keys.

A key is named by its fingerprint, the SHA-256 of its public half in DER (SubjectPublicKeyInfo), as openssl computes it:
``openssl pkey -pubin -in KEY -outform DER | sha256sum``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gofallback.provenance import ProvenanceError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from securesystemslib.signer import CryptoSigner, SSlibKey

PRIVATE = "provenance.pem"
PUBLIC = "provenance.pub"
#: Folder of a project whose public keys are trusted.
TRUSTED = "trusted_keys"
_LARGEST = 1 << 16


@dataclass(frozen=True)
class TrustedKey:
    """A public key whose signatures count."""

    name: str
    """Its file, for a person."""
    key: SSlibKey

    @property
    def fingerprint(self) -> str:
        """64 hex digits."""
        return self.key.keyid


def controller_key(folder: Path) -> CryptoSigner:
    """The controller's key; a missing key is made (ed25519, PKCS#8, 0600), its public half beside it.

    Args:
        folder: ``$GOFALLBACK_HOME/keys``.

    Raises:
        ProvenanceError: the key cannot be read or written, is no ed25519 key, or other users may read it.
    """
    path = folder / PRIVATE
    try:
        if not path.exists():
            _make(path)
        signer = _load(path)
        if not (folder / PUBLIC).exists():
            with contextlib.suppress(FileExistsError):
                _create(folder / PUBLIC, _public_pem(signer), 0o644)
    except OSError as error:
        raise ProvenanceError(f"{error.filename or path}: cannot be read or written ({error.strerror})") from None
    return signer


def read_public(path: Path) -> TrustedKey:
    """A public key in a PEM file, as openssl and cosign write it.

    Raises:
        ProvenanceError: the file cannot be read, or holds no public key.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST)
    except OSError as error:
        raise ProvenanceError(f"{path}: cannot be read ({error.strerror})") from None
    return parse_public(content, path.name, str(path))


def parse_public(content: bytes, name: str, where: str = "") -> TrustedKey:
    """A public key in PEM.

    Args:
        content: the PEM.
        name: for people.
        where: file or key path that holds it, for the error; default: ``name``.

    Raises:
        ProvenanceError: the content is no public key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return TrustedKey(name, _named(load_pem_public_key(content)))
    except (ValueError, UnsupportedAlgorithm):
        what = "is a private key; never hand it out" if b"PRIVATE KEY" in content else "is no public key in PEM"
        raise ProvenanceError(
            f"{where or name}: {what}; expected -----BEGIN PUBLIC KEY-----, such as {PUBLIC}"
        ) from None


def trusted_keys(home: Path, project: Path, given: Iterable[Path] = ()) -> list[TrustedKey]:
    """The keys whose signatures count.

    Args:
        home: ``$GOFALLBACK_HOME/keys``: every ``*.pub`` there is, or was, this controller's.
        project: folder whose ``trusted_keys/*.pub`` count.
        given: files that the user named; then only these count.

    Raises:
        ProvenanceError: a key cannot be read.
    """
    paths = list(given) or [*sorted(home.glob("*.pub")), *sorted((project / TRUSTED).glob("*.pub"))]
    keys: dict[str, TrustedKey] = {}
    for path in paths:
        key = read_public(path)
        keys.setdefault(key.fingerprint, key)
    return list(keys.values())


def _named(public: PublicKeyTypes) -> SSlibKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from securesystemslib.signer import SSlibKey

    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SSlibKey.from_crypto(public, keyid=hashlib.sha256(der).hexdigest())


def _public_pem(signer: CryptoSigner) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    public = load_pem_private_key(signer.private_bytes, None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _make(path: Path) -> None:
    from securesystemslib.signer import CryptoSigner

    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    # Two runs may do this at the same time: the second one takes the first one's key.
    with contextlib.suppress(FileExistsError):
        _create(path, CryptoSigner.generate_ed25519().private_bytes, 0o600)


def _create(path: Path, content: bytes, mode: int) -> None:
    """Make a file with its whole content at once; an existing file stays.

    Raises:
        FileExistsError: the file exists.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask is
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)


def _load(path: Path) -> CryptoSigner:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ProvenanceError(f"{path}: has mode {mode:o}, should be 600, since every reader of it can sign: chmod 600")
    try:
        private = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise ProvenanceError(
            f"{path}: is no ed25519 key in PEM without a passphrase; restore it, or move it away to have a new one made"
        )
    return CryptoSigner(private, _named(private.public_key()))
