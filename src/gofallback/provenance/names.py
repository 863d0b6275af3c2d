"""Names of repositories and modules in provenance and SBOM: addresses without secrets, hashes in hex. Pure."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from gofallback.artifact.buildinfo import Module
from gofallback.provenance import ProvenanceError
from gofallback.redact import redact

if TYPE_CHECKING:
    from packageurl import PackageURL

#: golang.org/x/mod/module.CheckImportPath, but for its rules about dots.
_PATH = re.compile(r"[A-Za-z0-9._~+-]+(/[A-Za-z0-9._~+-]+)*")
#: A version of a module, of Go, or (devel).
_VERSION = re.compile(r"[A-Za-z0-9._+()-]*")


@dataclass(frozen=True)
class Checkout:
    """A repository at a commit."""

    url: str
    commit: str
    path: str = ""
    """Folder of a submodule."""


def public_url(url: str) -> str:
    """An address without user, password and token."""
    parts = urlsplit(url) if "://" in url else None
    if parts is None:
        return redact(url)  # a path, or git@host:path
    host = parts.netloc.rpartition("@")[2]
    user = parts.username if parts.scheme == "ssh" and parts.username else ""
    query = "" if parts.scheme in ("http", "https") else parts.query
    return redact(urlunsplit((parts.scheme, f"{user}@{host}" if user else host, parts.path, query, "")))


def git_uri(checkout: Checkout) -> str:
    """``git+https://host/path@commit``, as SPDX and pip write it."""
    url = public_url(checkout.url)
    scp = re.fullmatch(r"([^/:]+@)?([^/:]{2,}):(?!//)(.+)", url)
    if scp:  # git@host:path (git-clone(1))
        url = f"ssh://{scp[1] or ''}{scp[2]}/{scp[3].lstrip('/')}"
    elif "://" not in url:
        url = f"file://{quote(url)}"
    return f"git+{url}@{checkout.commit}"


def package(path: str, version: str, inside: str = "") -> PackageURL:
    """``pkg:golang/path@version#inside`` (https://github.com/package-url/purl-spec).

    Raises:
        ProvenanceError: Go would not write such a path or version.
    """
    from packageurl import PackageURL

    for what, text, form in (
        ("module", path, _PATH),
        ("package", inside or "-", _PATH),
        ("version", version, _VERSION),
    ):
        if not form.fullmatch(text):
            raise ProvenanceError(f"names the {what} {text!r:.80}, which Go would not")
    namespace, _, name = path.rpartition("/")
    return PackageURL("golang", namespace or None, name, version or None, None, inside or None)


def purl(module: Module) -> str:
    """The package URL of a module, as text.

    Raises:
        ProvenanceError: see `package`.
    """
    return package(module.path, module.version).to_string()


def h1(module: Module) -> str:
    """go.sum's ``h1:`` hash in hex; empty for a module without one.

    The hash is the SHA-256 of the module's list of files and their hashes, in-toto's ``dirHash``
    (https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md).
    """
    if not module.sum.startswith("h1:"):
        return ""
    try:
        found = base64.b64decode(module.sum.removeprefix("h1:"), validate=True)
    except ValueError:  # not base64, or not even ASCII
        return ""
    return found.hex() if len(found) == 32 else ""
