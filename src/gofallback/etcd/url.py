"""The URL of an etcd cluster: `etcd://user:password@host:2379,host2:2379`. Pure. Its text never has the password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from gofallback.errors import GofallbackError

PORT = 2379
_FORM = "expected etcd://[user[:password]@]host[:port][,host[:port]...], or etcds:// with ?ca=FILE"
_MEMBER = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


class EtcdUrlError(GofallbackError):
    """The URL cannot be used; one line, without the password."""


@dataclass(frozen=True)
class EtcdUrl:
    """One etcd cluster."""

    members: tuple[tuple[str, int], ...]
    """Host and port of every member."""
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    password_file: str = ""
    """File with the password in its first line, in place of a password in group data."""
    ca: str = ""
    """PEM file of the authorities to trust; empty: the system's."""

    @classmethod
    def parse(cls, text: str) -> EtcdUrl:
        """Read a URL. User and password may be percent-encoded.

        Raises:
            EtcdUrlError: the URL is wrong.
        """
        scheme, _, rest = text.partition("://")
        if scheme not in ("etcd", "etcds"):
            raise EtcdUrlError(f"rollout.lease: {_FORM}")
        rest, _, query = rest.partition("?")
        login, _, addresses = rest.rstrip("/").rpartition("@")
        user, _, password = login.partition(":")
        options = dict(parse_qsl(query, keep_blank_values=True))
        unknown = sorted(options.keys() - {"ca", "password_file"})
        if unknown:
            raise EtcdUrlError(f"rollout.lease: unknown option {unknown[0]}; known are ca and password_file")
        members = []
        for address in addresses.split(","):
            match = _MEMBER.fullmatch(address)
            if match is None or not 0 < int(match["port"] or PORT) < 65536:
                raise EtcdUrlError(f"rollout.lease: one of its hosts cannot be read; {_FORM}")
            members.append((match["host"].strip("[]"), int(match["port"] or PORT)))
        tls = scheme == "etcds"
        if options.get("ca") and not tls:
            raise EtcdUrlError("rollout.lease: ca is for etcds://")
        return cls(
            tuple(members),
            tls,
            unquote(user),
            unquote(password),
            options.get("password_file", ""),
            options.get("ca", ""),
        )

    def secret(self) -> str:
        """The password.

        Raises:
            EtcdUrlError: the password's file cannot be read.
        """
        if not self.password_file:
            return self.password
        try:
            return (Path(self.password_file).read_text(encoding="utf-8").splitlines() or [""])[0]
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8"
            raise EtcdUrlError(
                f"rollout.lease: password_file {self.password_file}: {why}; expected the password in its first line"
            ) from None

    def __str__(self) -> str:
        members = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.members)
        login = f"{self.user}@" if self.user else ""
        return f"{'etcds' if self.tls else 'etcd'}://{login}{members}"
