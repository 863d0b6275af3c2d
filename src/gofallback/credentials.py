"""Reads a secret from the place that group data names, and hides it from every line that is written.

It imports the model (`Credential`), so it belongs to the layer above it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gofallback.errors import GofallbackError
from gofallback.model.publish import Credential
from gofallback.redact import hide


class CredentialError(GofallbackError):
    """The secret cannot be read, or cannot be used; one line without the secret."""


def place(credential: Credential) -> str:
    """Where the secret is, for people."""
    return f"${credential.env}" if credential.env else str(credential.file)


def read(credential: Credential, environment: Mapping[str, str] = os.environ, key: str = "token") -> str:
    """The secret; from now on `redact` takes it out of every line.

    Args:
        credential: where the secret is.
        environment: of this process.
        key: of the group data that names the place, for errors.

    Raises:
        CredentialError: the place holds nothing, or holds what no header may contain.
    """
    if credential.env:
        value = environment.get(credential.env)
        if value is None:
            raise CredentialError(
                f"environment variable {credential.env}, which `{key}` names, is not set; export it first"
            )
    else:
        try:
            value = Path(str(credential.file)).expanduser().read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "is no text"
            raise CredentialError(f"{credential.file}, which `{key}` names: cannot be read ({why})") from None
    hide([value])
    if not value.strip() or not value.isprintable() or not value.isascii():
        raise CredentialError(
            f"{place(credential)}, which `{key}` names, is empty, or holds what no header may (a line end inside?)"
        )
    return value
