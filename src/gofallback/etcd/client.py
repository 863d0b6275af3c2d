"""The few questions a lease asks etcd, asked of one member after the other until one answers.

etcd3gw brings the paths and forms of etcd's HTTP gateway; it has one member and no login, which are added here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import Etcd3Exception
from etcd3gw.lease import Lease as GatewayLease

from gofallback.errors import GofallbackError
from gofallback.etcd.url import EtcdUrl
from gofallback.redact import hide, redact

T = TypeVar("T")

#: What a member that is away, or has no leader, brings about: the next one is asked.
_AWAY = ("no leader", "request timed out", "leader changed", "transport is closing", "server stopped")
_STALE = "invalid auth token"
#: What is said in place of a library's long sentence.
_PLAIN = {
    "refused": "connection refused",
    "timed out": "no answer in time",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted: name its authority with ?ca=FILE",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "Name or service not known": "no host of that name",
    "No route to host": "no route to host",
    "Network is unreachable": "the network is unreachable",
    "closed connection without response": "the connection was closed; if it speaks TLS, write etcds://",
    "Connection reset by peer": "the connection was closed; if it speaks TLS, write etcds://",
}


class EtcdError(GofallbackError):
    """etcd does not answer, or refuses; one line."""


@dataclass(frozen=True)
class Found:
    """A key that is there."""

    value: str
    lease: str
    """Id of the etcd lease it is bound to; 0: none."""
    revision: str
    """Of its last change."""


class Cluster:
    """An etcd cluster.

    Args:
        url: where it is.
        timeout: seconds one member has for one answer.
    """

    def __init__(self, url: EtcdUrl, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._secret = url.secret()
        hide([self._secret])
        self._clients = [self._client(host, port) for host, port in url.members]

    def get(self, keys: Iterable[str]) -> dict[str, Found | None]:
        """Each key as it is now, all at one moment."""
        names = list(keys)
        asked = [{"request_range": {"key": _encode(name)}} for name in names]
        said = self._ask(lambda client: client.transaction({"compare": [], "success": asked, "failure": []}))
        found: dict[str, Found | None] = {}
        for name, response in zip(names, said.get("responses", []), strict=True):
            rows = response.get("response_range", {}).get("kvs", [])
            found[name] = _found(rows[0]) if rows else None
        return found

    def put_if(self, before: Mapping[str, Found | None], values: Mapping[str, str], lease: str) -> bool:
        """Put every value, bound to a lease, if no key has changed; False: one has, and none was put."""
        compare: list[dict[str, Any]] = []
        for key, found in before.items():
            if found is None:
                compare.append({"key": _encode(key), "result": "EQUAL", "target": "CREATE", "create_revision": 0})
            else:
                same = {"result": "EQUAL", "target": "MOD", "mod_revision": found.revision}
                compare.append({"key": _encode(key), **same})
        puts = [
            {"request_put": {"key": _encode(key), "value": _encode(value), "lease": lease}}
            for key, value in values.items()
        ]
        said = self._ask(lambda client: client.transaction({"compare": compare, "success": puts, "failure": []}))
        return bool(said.get("succeeded"))

    def grant(self, ttl: int) -> str:
        """A new lease of so many seconds; its id."""
        return str(self._ask(lambda client: client.lease(ttl)).id)

    def keep_alive(self, lease: str) -> bool:
        """Renew a lease; False: there is none of that id any more."""
        return self._ask(lambda client: GatewayLease(int(lease), client).refresh()) > 0

    def time_left(self, lease: str) -> float:
        """Seconds a lease has left; 0: it is over."""
        if lease == "0":
            return float("inf")
        try:
            return max(0.0, float(self._ask(lambda client: GatewayLease(int(lease), client).ttl())))
        except KeyError:  # the gateway leaves a number out that is 0
            return 0.0

    def revoke(self, lease: str) -> None:
        """End a lease, and every key bound to it."""
        self._ask(lambda client: GatewayLease(int(lease), client).revoke())

    def _client(self, host: str, port: int) -> Etcd3Client:
        session = requests.Session()
        session.trust_env = False  # no proxy, and no ~/.netrc in the place of the login
        if self._url.tls:
            paths = ssl.get_default_verify_paths()
            session.verify = self._url.ca or paths.cafile or paths.capath or True
        protocol = "https" if self._url.tls else "http"
        return Etcd3Client(host, port, protocol, timeout=self._timeout, session=session)

    def _ask(self, question: Callable[[Etcd3Client], T]) -> T:
        """The first answer. A member that does not answer goes to the end of the row."""
        why = ""
        for _ in self._clients:
            client = self._clients[0]
            try:
                return self._logged_in(client, question)
            except (Etcd3Exception, requests.RequestException, OSError) as error:
                why = _words(error)
                if not _is_away(error, why):
                    raise EtcdError(f"{self._url}: {_advice(why)}") from None
            self._clients.append(self._clients.pop(0))
        raise EtcdError(f"{self._url}: {'no member answers' if len(self._clients) > 1 else 'does not answer'} ({why})")

    def _logged_in(self, client: Etcd3Client, question: Callable[[Etcd3Client], T]) -> T:
        if not self._url.user:
            return question(client)
        if "Authorization" not in client.session.headers:
            self._login(client)
        try:
            return question(client)
        except Etcd3Exception as error:
            if _STALE not in _words(error):
                raise
        self._login(client)  # tokens end after minutes, and with the member that gave them
        return question(client)

    def _login(self, client: Etcd3Client) -> None:
        client.session.headers.pop("Authorization", None)
        said = client.post(
            client.get_url("/auth/authenticate"), json={"name": self._url.user, "password": self._secret}
        )
        client.session.headers["Authorization"] = str(said["token"])


def _found(row: Mapping[str, Any]) -> Found:
    value = base64.b64decode(row.get("value", "")).decode(errors="replace")
    return Found(value, str(row.get("lease", "0")), str(row["mod_revision"]))


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _words(error: Exception) -> str:
    """etcd's own words, in one line; never a request's body, which may hold the password."""
    text = str((error.detail_text if isinstance(error, Etcd3Exception) else None) or error)
    for sign, words in _PLAIN.items():
        if sign in text:
            return words
    with contextlib.suppress(ValueError, AttributeError):
        text = str(json.loads(text).get("error") or text)
    return redact(" ".join(text.split()))[:200] or type(error).__name__


def _is_away(error: Exception, words: str) -> bool:
    if isinstance(error, (requests.ConnectionError, requests.Timeout, OSError)):
        return True
    name = type(error).__name__
    return name in ("ConnectionFailedError", "ConnectionTimeoutError") or any(part in words for part in _AWAY)


def _advice(words: str) -> str:
    if "authentication failed" in words or "authentication is not enabled" in words:
        return f"{words}; correct user and password in rollout.lease"
    if "permission denied" in words or "user name is empty" in words:
        return f"{words}; expected a user who may read and write below /gofallback/ (docs/leases.md)"
    return words
