"""Credentials for the go command of this controller: in memory only, and only while that command runs.

git and go ask a helper program. The helper is `cat` on a file descriptor that go and git inherit: an anonymous file in
memory (memfd_create(2)). So the secret is in no file, no argument and no environment, and gone with the descriptor.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gofallback.credentials import CredentialError, place, read
from gofallback.errors import GofallbackError
from gofallback.model.modules import ModuleLogin
from gofallback.redact import hide


class ModuleSecretError(GofallbackError):
    """A credential that data names cannot be had; one line."""


@dataclass(frozen=True)
class Handles:
    """What a command needs to be given."""

    environment: Mapping[str, str]
    """Names the descriptors; holds no secret."""
    descriptors: tuple[int, ...] = ()
    """To be inherited."""


@contextlib.contextmanager
def handles(
    logins: Sequence[ModuleLogin], environment: Mapping[str, str], own: Mapping[str, str] = os.environ
) -> Iterator[Handles]:
    """The credentials of all ``logins`` for one command.

    Args:
        logins: who logs in where.
        environment: of the command, to whose git settings and GOAUTH these are added.
        own: this process's environment, where secrets may be.

    Raises:
        ModuleSecretError: a credential is not where data says.
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
            # The empty one forgets all others: a `store` of the user's would write the password to the disk.
            settings += [(name, ""), (name, f"!f() {{ cat >/dev/null; cat /proc/self/fd/{number}; }}; f")]
        headers = _in_memory("".join(_header(login, secret) for login, secret in secrets), opened)
        # go adds the address when it asks again: an argument of sh, which does not read it.
        goauth = f"sh -c 'cat /proc/self/fd/{headers}' goauth"
        more = {"GOAUTH": "; ".join([environment.get("GOAUTH") or "netrc", goauth])}
        yield Handles(more | _git_settings(settings, environment), tuple(opened))
    finally:
        for number in opened:
            os.close(number)


def _secret(login: ModuleLogin, environment: Mapping[str, str]) -> str:
    try:
        secret = read(login.token, environment)
    except CredentialError as error:
        raise ModuleSecretError(f"build.private.logins {login.host}: {error}") from None
    if "\n" in secret:
        raise ModuleSecretError(f"build.private.logins {login.host}: {place(login.token)} has a line end inside")
    return secret


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
    found = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (name, value) in enumerate(settings, first):
        found |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return found
