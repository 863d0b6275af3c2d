"""The requests of a lease to etcd, sent to one member after the other until one answers.

etcd3gw knows the paths and forms of etcd's HTTP gateway, but one member only and no login; both are added here.
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

#: Errors of a member that is down or has no leader: the next member gets the request.
_UNAVAILABLE = ("no leader", "request timed out", "leader changed", "transport is closing", "server stopped")
_EXPIRED = "invalid auth token"
#: Part of a library's long sentence, and what is shown instead.
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
    """etcd does not answer, or refuses a request; one line."""


@dataclass(frozen=True)
class KeyValue:
    """An existing key."""

    value: str
    lease: str
    """Id of the etcd lease the key is bound to; 0: none."""
    revision: str
    """Revision of its last change."""


class Cluster:
    """An etcd cluster.

    Args:
        url: of the cluster.
        timeout: seconds for one member's answer.
    """

    def __init__(self, url: EtcdUrl, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._secret = url.secret()
        hide([self._secret])
        self._clients = [self._client(host, port) for host, port in url.members]

    def get(self, keys: Iterable[str]) -> dict[str, KeyValue | None]:
        """Each key as it is now, all at one moment."""
        names = list(keys)
        ranges = [{"request_range": {"key": _encode(name)}} for name in names]
        answer = self._request(lambda client: client.transaction({"compare": [], "success": ranges, "failure": []}))
        found: dict[str, KeyValue | None] = {}
        for name, response in zip(names, answer.get("responses", []), strict=True):
            rows = response.get("response_range", {}).get("kvs", [])
            found[name] = _key_value(rows[0]) if rows else None
        return found

    def put_if(self, before: Mapping[str, KeyValue | None], values: Mapping[str, str], lease: str) -> bool:
        """Put every value, bound to a lease, if no key has changed; False: a key has changed, and nothing was put."""
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
        answer = self._request(lambda client: client.transaction({"compare": compare, "success": puts, "failure": []}))
        return bool(answer.get("succeeded"))

    def grant(self, ttl: int) -> str:
        """Id of a new lease of so many seconds."""
        return str(self._request(lambda client: client.lease(ttl)).id)

    def keep_alive(self, lease: str) -> bool:
        """Renew a lease; False: it does not exist any more."""
        return self._request(lambda client: GatewayLease(int(lease), client).refresh()) > 0

    def time_left(self, lease: str) -> float:
        """Seconds a lease has left; 0: it has expired."""
        if lease == "0":
            return float("inf")
        try:
            return max(0.0, float(self._request(lambda client: GatewayLease(int(lease), client).ttl())))
        except KeyError:  # the gateway leaves out a number that is 0
            return 0.0

    def revoke(self, lease: str) -> None:
        """End a lease, and delete every key bound to it."""
        self._request(lambda client: GatewayLease(int(lease), client).revoke())

    def _client(self, host: str, port: int) -> Etcd3Client:
        session = requests.Session()
        session.trust_env = False  # no proxy, and no ~/.netrc in place of the login
        if self._url.tls:
            paths = ssl.get_default_verify_paths()
            session.verify = self._url.ca or paths.cafile or paths.capath or True
        protocol = "https" if self._url.tls else "http"
        return Etcd3Client(host, port, protocol, timeout=self._timeout, session=session)

    def _request(self, request: Callable[[Etcd3Client], T]) -> T:
        """The first answer. A member that does not answer becomes the last one."""
        why = ""
        for _ in self._clients:
            client = self._clients[0]
            try:
                return self._logged_in(client, request)
            except (Etcd3Exception, requests.RequestException, OSError) as error:
                why = _message(error)
                if not _is_unavailable(error, why):
                    raise EtcdError(f"{self._url}: {_advice(why)}") from None
            self._clients.append(self._clients.pop(0))
        raise EtcdError(f"{self._url}: {'no member answers' if len(self._clients) > 1 else 'does not answer'} ({why})")

    def _logged_in(self, client: Etcd3Client, request: Callable[[Etcd3Client], T]) -> T:
        if not self._url.user:
            return request(client)
        if "Authorization" not in client.session.headers:
            self._login(client)
        try:
            return request(client)
        except Etcd3Exception as error:
            if _EXPIRED not in _message(error):
                raise
        self._login(client)  # tokens expire after minutes, and when their member ends
        return request(client)

    def _login(self, client: Etcd3Client) -> None:
        client.session.headers.pop("Authorization", None)
        answer = client.post(
            client.get_url("/auth/authenticate"), json={"name": self._url.user, "password": self._secret}
        )
        client.session.headers["Authorization"] = str(answer["token"])


def _key_value(row: Mapping[str, Any]) -> KeyValue:
    value = base64.b64decode(row.get("value", "")).decode(errors="replace")
    return KeyValue(value, str(row.get("lease", "0")), str(row["mod_revision"]))


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _message(error: Exception) -> str:
    """etcd's own message, in one line; never a request's body, which may hold the password."""
    text = str((error.detail_text if isinstance(error, Etcd3Exception) else None) or error)
    for part, plain in _PLAIN.items():
        if part in text:
            return plain
    with contextlib.suppress(ValueError, AttributeError):
        text = str(json.loads(text).get("error") or text)
    return redact(" ".join(text.split()))[:200] or type(error).__name__


def _is_unavailable(error: Exception, message: str) -> bool:
    if isinstance(error, (requests.ConnectionError, requests.Timeout, OSError)):
        return True
    name = type(error).__name__
    return name in ("ConnectionFailedError", "ConnectionTimeoutError") or any(part in message for part in _UNAVAILABLE)


def _advice(message: str) -> str:
    if "authentication failed" in message or "authentication is not enabled" in message:
        return f"{message}; correct user and password in rollout.lease"
    if "permission denied" in message or "user name is empty" in message:
        return f"{message}; expected a user who may read and write below /gofallback/ (docs/leases.md)"
    return message
