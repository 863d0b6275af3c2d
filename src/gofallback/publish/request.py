"""The requests of each registry, from its own documentation. Pure; docs/publishing.md shows them line by line."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from gofallback.model.publish import PublishStore
from gofallback.publish.address import filled, replaced
from gofallback.publish.files import Item


@dataclass(frozen=True)
class Upload:
    """The request that sends one file, and the address to read it back. Holds no credential."""

    method: str
    url: str
    read_url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Without Content-Type and Content-Length, which depend on the body."""
    form: tuple[tuple[str, str], ...] = ()
    """Fields of a multipart form, before the file."""
    file_field: str | None = None
    """The form's field of the file; None: the body is the file."""
    checksum_header: str | None = None
    """Header of the answer to HEAD with the file's SHA-256."""
    remove_first: bool = False
    """The registry refuses an existing name: DELETE before a file is replaced."""


def upload(store: PublishStore, service: str, version: str, item: Item) -> Upload:
    """The request for one file."""
    if store.preset:
        return _PRESETS[store.preset](store.url.rstrip("/"), service, version, item)
    url = filled(store.url, service, version, item.name)
    if store.method == "put":
        return Upload("PUT", url, url)
    values = {"service": service, "version": version, "file": item.name}
    plain = store.url if "{" not in store.url else url
    return Upload(
        "POST",
        plain,  # a form goes to one address, and holds the name
        filled(store.read_url or store.url, service, version, item.name),
        form=tuple((name, replaced(text, values)) for name, text in store.form.items()),
        file_field=store.file_field,
    )


def _gitlab(url: str, service: str, version: str, item: Item) -> Upload:
    # docs.gitlab.com/user/packages/generic_packages: files of one package one after the other, never in parallel.
    address = f"{url}/packages/generic/{quote(service)}/{quote(version)}/{quote(item.name)}"
    return Upload("PUT", address, address)


def _gitea(url: str, service: str, version: str, item: Item) -> Upload:
    # docs.gitea.com/usage/packages/generic: 201; 409 when the file is there already.
    address = f"{url}/generic/{quote(service)}/{quote(version)}/{quote(item.name)}"
    return Upload("PUT", address, address, remove_first=True)


def _nexus(url: str, service: str, version: str, item: Item) -> Upload:
    # help.sonatype.com, "Raw Repositories": PUT below /repository/NAME/.
    address = f"{url}/{quote(service)}/{quote(version)}/{quote(item.name)}"
    return Upload("PUT", address, address)


def _nexus_components(url: str, service: str, version: str, item: Item) -> Upload:
    # help.sonatype.com, "Components API", upload to a raw repository: 204.
    base, _, rest = url.partition("/repository/")
    repository, _, prefix = rest.partition("/")
    folder = "/" + "/".join(part for part in (prefix, service, version) if part)
    return Upload(
        "POST",
        f"{base}/service/rest/v1/components?repository={quote(repository)}",
        f"{url}/{quote(service)}/{quote(version)}/{quote(item.name)}",
        form=(("raw.directory", folder), ("raw.asset1.filename", item.name)),
        file_field="raw.asset1",
    )


def _artifactory(url: str, service: str, version: str, item: Item) -> Upload:
    # docs.jfrog.com, "Deploy Artifact": it refuses the file when the sum it gets is another (409).
    address = f"{url}/{quote(service)}/{quote(version)}/{quote(item.name)}"
    sums = {"X-Checksum-Sha256": item.sha256}
    return Upload("PUT", address, address, headers=sums, checksum_header="X-Checksum-Sha256")


_PRESETS = {
    "gitlab": _gitlab,
    "gitea": _gitea,
    "nexus": _nexus,
    "nexus-components": _nexus_components,
    "artifactory": _artifactory,
}
_TOKEN_HEADERS = {"gitlab": "PRIVATE-TOKEN"}


def credential_header(store: PublishStore, token: str) -> tuple[str, str]:
    """Name and value of the header with a credential."""
    if store.user:
        pair = base64.b64encode(f"{store.user}:{token}".encode()).decode()
        return "Authorization", f"Basic {pair}"
    named = store.header or _TOKEN_HEADERS.get(store.preset or "")
    if named and named.lower() != "authorization":
        return named, token
    scheme = "token" if store.preset == "gitea" else "Bearer"  # docs.gitea.com/development/api-usage
    return "Authorization", f"{scheme} {token}"


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: a credential is for one origin (RFC 6454, 4)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
