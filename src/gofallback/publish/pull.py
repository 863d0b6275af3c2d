"""Everything a target needs to read from a store: an address, and the credential for reading."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from gofallback.credentials import place
from gofallback.model.publish import PublishStore
from gofallback.model.target import Target
from gofallback.publish.credential import guard_plain, header, loopback
from gofallback.publish.errors import PublishError
from gofallback.publish.files import Item
from gofallback.publish.request import upload
from gofallback.publish.send import open_store
from gofallback.redact import hide
from gofallback.release.pull import PullSource

#: Seconds that a signed address is valid beyond the deadline of the download: clocks differ.
_SPARE = 900


def reader(store: PublishStore) -> PublishStore:
    """The store with the credential for reading in place of the one for writing."""
    return store.model_copy(
        update={
            "token": store.read_token,
            "user": store.read_user if store.read_token else None,
            "header": store.read_header if store.read_token else None,
        }
    )


def reading_header(store: PublishStore) -> dict[str, str]:
    """The header that targets send; empty where the store needs no credential.

    Raises:
        PublishError: the credential cannot be read, or would go over http:// to the address for reading.
    """
    theirs = reader(store)
    guard_plain(theirs.model_copy(update={"url": store.read_url or store.url}))
    return header(theirs, key="read_token")


def check(store: PublishStore, service: str, version: str) -> None:
    """Check that targets can read from a store: their credential is there, and stays secret.

    Raises:
        PublishError: a credential is missing, or would go over http://.
    """
    opened = open_store(store, service, version)
    if store.url.startswith("s3://"):
        _guard_signed(store, str(getattr(opened, "endpoint", "")))
    else:
        reading_header(store)


def _guard_signed(store: PublishStore, address: str) -> None:
    """Refuse a signed address over http://: while it is valid, it is a credential like a token.

    The message has scheme and host only.

    Raises:
        PublishError: the address is plain http.
    """
    parts = urlsplit(address)
    if parts.scheme == "http" and not store.plain_http and not loopback(parts.hostname or ""):
        raise PublishError(
            f"http://{parts.netloc}: the signed address would go over the wire for everybody to read, and whoever "
            "has it may fetch the file too; use an endpoint with https://, or set plain_http: true"
        )


def source(name: str, store: PublishStore, service: str, version: str, item: Item, target: Target) -> PullSource:
    """The source from which a target downloads one published file.

    Args:
        name: of the store in group data.
        store: its data; not a folder.
        service, version: of the published file.
        item: the file.
        target: the target's clock and proxy.

    Raises:
        PublishError: the credential or the file of `ca` cannot be read, or the token, or the signed address,
            would go over http://.
    """
    ca = _pem(store.ca) if store.ca else ""
    asker = "an anonymous request (no `read_token`)"
    headers: dict[str, str] = {}
    if store.url.startswith("s3://"):
        url = _signed_url(store, service, version, item, target.pull_deadline + _SPARE)
    else:
        theirs, headers = reader(store), reading_header(store)
        url = upload(theirs, service, version, item).read_url
        if theirs.token:
            asker = f"the token of {place(theirs.token)}"
    return PullSource(
        store=name,
        host=urlsplit(url).netloc,
        url=url,
        headers=headers,
        identity=asker,
        signed=store.url.startswith("s3://"),
        ca=ca,
        timeout=store.timeout,
        attempts=store.attempts,
        deadline=target.pull_deadline,
        proxy=target.pull_proxy or "",
    )


def _signed_url(store: PublishStore, service: str, version: str, item: Item, seconds: int) -> str:
    from gofallback.publish.s3 import S3Store  # here: its imports take a second

    bucket = S3Store(store, service, version)
    _guard_signed(store, bucket.endpoint)
    url = bucket.signed_url(item, seconds)
    secret = ("X-Amz-Signature", "X-Amz-Security-Token")
    hide(value for key, value in parse_qsl(urlsplit(url).query) if key in secret)
    return url


def _pem(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        raise PublishError(f"{path}, which `ca` names: cannot be read ({why})") from None
