"""The header with a store's credential, and the rule that no credential goes over plain http."""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Mapping

from gofallback import credentials
from gofallback.credentials import CredentialError
from gofallback.model.publish import PublishStore
from gofallback.publish.errors import PublishError
from gofallback.publish.request import credential_header, origin
from gofallback.redact import hide


def header(store: PublishStore, environment: Mapping[str, str] = os.environ, *, key: str = "token") -> dict[str, str]:
    """The header with the store's credential; empty when the store has none.

    Args:
        store: its data.
        environment: of this process.
        key: of the store's data that names the credential, for errors.

    Raises:
        PublishError: the credential cannot be read.
    """
    if store.token is None:
        return {}
    try:
        secret = credentials.read(store.token, environment, key)
    except CredentialError as error:
        raise PublishError(str(error)) from None
    name, value = credential_header(store, secret)
    hide([value, value.partition(" ")[2], base64.b64encode(secret.encode()).decode()])
    return {name: value}


def guard_plain(store: PublishStore) -> None:
    """Refuse to send a token over http://, except to this machine.

    Raises:
        PublishError: the store's address is plain http.
    """
    scheme, host, _ = origin(store.url)
    if store.token and scheme == "http" and not store.plain_http and not loopback(host):
        raise PublishError(
            f"{store.url}: the token would go over the wire for everybody to read; use https://, or set "
            "plain_http: true"
        )


def loopback(host: str) -> bool:
    """Whether a host is this machine itself, so that nobody else is on the way."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
