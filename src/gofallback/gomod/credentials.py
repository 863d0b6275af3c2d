"""Credentials for the go command of this controller: in memory only, and only while that command runs.

git and go call a helper program for them. The helper is `cat` on a file descriptor that go and git inherit: an
anonymous file in memory (memfd_create(2)). So the secret is in no file, no argument and no environment.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gofallback.credentials import CredentialError, read
from gofallback.errors import GofallbackError
from gofallback.model.modules import ModuleLogin
from gofallback.redact import hide


class ModuleSecretError(GofallbackError):
    """A credential of group data cannot be used; one line."""


@dataclass(frozen=True)
class Handles:
    """The access of one command to its credentials."""

    environment: Mapping[str, str]
    """Names the descriptors; holds no secret."""
    descriptors: tuple[int, ...] = ()
    """Descriptors that the command inherits."""


@contextlib.contextmanager
def handles(
    logins: Sequence[ModuleLogin], environment: Mapping[str, str], own: Mapping[str, str] = os.environ
) -> Iterator[Handles]:
    """The credentials of all ``logins`` for one command.

    Args:
        logins: servers, with user and place of the token.
        environment: of the command; its git settings and GOAUTH stay.
        own: environment of this process, which may hold the secrets.

    Raises:
        ModuleSecretError: a credential is not in the place that group data names.
    """
    if not logins:
        yield Handles({})
        return
    if not hasattr(os, "memfd_create"):
        raise ModuleSecretError(
            "build.private.logins need a controller with Linux; give git a credential helper here and remove them"
        )
    secrets = [(login, _secret(login, own)) for login in logins]
    opened: list[int] = []
    try:
        settings: list[tuple[str, str]] = []
        for login, secret in secrets:
            number = _in_memory(f"username={login.user}\npassword={secret}\n", opened)
            name = f"credential.https://{login.host}.helper"
            # An empty value removes all other helpers: a `store` of the user's would write the password to the disk.
            settings += [(name, ""), (name, f"!f() {{ cat >/dev/null; cat /proc/self/fd/{number}; }}; f")]
        headers = _in_memory("".join(_header(login, secret) for login, secret in secrets), opened)
        # go adds the address to a second call: an argument of sh, which does not read it.
        goauth = f"sh -c 'cat /proc/self/fd/{headers}' goauth"
        auth = {"GOAUTH": "; ".join([environment.get("GOAUTH") or "netrc", goauth])}
        yield Handles(auth | _git_settings(settings, environment), tuple(opened))
    finally:
        for number in opened:
            os.close(number)


def _secret(login: ModuleLogin, environment: Mapping[str, str]) -> str:
    try:
        return read(login.token, environment)
    except CredentialError as error:
        raise ModuleSecretError(f"build.private.logins {login.host}: {error}") from None


def _header(login: ModuleLogin, secret: str) -> str:
    basic = base64.b64encode(f"{login.user}:{secret}".encode()).decode()
    hide([basic])
    return f"https://{login.host}\n\nAuthorization: Basic {basic}\n\n"


def _in_memory(text: str, opened: list[int]) -> int:
    number = os.memfd_create("gofallback")
    opened.append(number)
    os.write(number, text.encode())
    return number


def _git_settings(settings: list[tuple[str, str]], environment: Mapping[str, str]) -> dict[str, str]:
    first = int(environment.get("GIT_CONFIG_COUNT") or 0)
    variables = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (name, value) in enumerate(settings, first):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables
