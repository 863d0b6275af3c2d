"""Reads a credential where the data says it is, and makes sure that nobody sees it."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

from gofallback.model.publish import Credential, PublishStore
from gofallback.publish.errors import PublishError
from gofallback.publish.request import credential_header
from gofallback.redact import hide


def place(credential: Credential) -> str:
    """Where it is, for a person."""
    return f"${credential.env}" if credential.env else str(credential.file)


def read(credential: Credential, environment: Mapping[str, str] = os.environ, key: str = "token") -> str:
    """The secret; from now on `redact` takes it out of every line.

    Args:
        credential: where it is.
        environment: of this process.
        key: of the store's data that names the place, for errors.

    Raises:
        PublishError: nothing is there, or what cannot stand in a header.
    """
    if credential.env:
        value = environment.get(credential.env)
        if value is None:
            raise PublishError(
                f"environment variable {credential.env}, which `{key}` names, is not set; export it first"
            )
    else:
        try:
            value = Path(str(credential.file)).expanduser().read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "is no text"
            raise PublishError(f"{credential.file}, which `{key}` names: cannot be read ({why})") from None
    hide([value])
    if not value.strip() or not value.isprintable() or not value.isascii():
        raise PublishError(
            f"{place(credential)}, which `{key}` names, is empty, or holds what no header may (a line end inside?)"
        )
    return value


def header(store: PublishStore, environment: Mapping[str, str] = os.environ, *, key: str = "token") -> dict[str, str]:
    """The header with the store's credential; empty when it has none."""
    if store.token is None:
        return {}
    secret = read(store.token, environment, key)
    name, value = credential_header(store, secret)
    hide([value, value.partition(" ")[2], base64.b64encode(secret.encode()).decode()])
    return {name: value}
