"""``http://`` and ``https://``: PUT or a form, with the token for its own host only."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase

from gofallback.credentials import place
from gofallback.model.publish import PublishStore
from gofallback.publish.body import Body, form
from gofallback.publish.credential import guard_plain, header
from gofallback.publish.errors import PublishError, TransientError, excerpt
from gofallback.publish.files import Item
from gofallback.publish.request import Upload, origin, upload
from gofallback.publish.retry import NOT_EXECUTED, TRANSIENT
from gofallback.publish.store import STORES_SUM, StoredFile, compare_content, compare_sum

_CHUNK = 1 << 18
_CONNECT = 10.0
"""Seconds for a connection."""
_HOPS = 5
_EXCERPT = 2000
"""Bytes of an answer that are read for its message."""
_EXCERPT_TIMEOUT = 5.0
"""Seconds to read them."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Statuses for a file that is not there.
_ABSENT = frozenset({404, 410})


class _Credential(AuthBase):
    """Adds the header. With an auth object requests does not read ~/.netrc."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers.update(self._headers)
        return r


class WebStore:
    """Files of one version in a registry or on a server that takes PUT."""

    def __init__(self, store: PublishStore, service: str, version: str) -> None:
        self._store, self._service, self._version = store, service, version
        self._own = origin(store.url)
        guard_plain(store)
        self._secret = header(store)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "gofallback"
        self._host = urlsplit(store.url).netloc

    def address(self, item: Item) -> str:
        """Address for reading."""
        return self._upload(item).read_url

    def find(self, item: Item) -> StoredFile | None:
        """The file by the store's own sum where there is one, else by its content."""
        request = self._upload(item)
        if request.checksum_header and not self._store.read_back:
            with closing(self._request("HEAD", request.read_url)) as answer:
                if answer.status_code in _ABSENT:
                    return None
                known = answer.headers.get(request.checksum_header, "")
                if answer.status_code == 200 and known:
                    return compare_sum(item, known.lower(), STORES_SUM)
        with closing(self._request("GET", request.read_url)) as answer:
            if answer.status_code in _ABSENT:
                return None
            if answer.status_code != 200:
                raise self._refusal(answer, request.read_url)
            try:
                return compare_content(item, answer.iter_content(_CHUNK))
            except requests.RequestException as error:
                raise TransientError(f"{self._host}: {_cause(error)} while {item.name} was read back") from None

    def send(self, item: Item, progress: Callable[[int], None], *, replace: bool) -> None:
        """One request; every attempt starts from the beginning."""
        request = self._upload(item)
        if replace and request.remove_first:
            with closing(self._request("DELETE", request.url)) as answer:
                if not answer.ok and answer.status_code not in _ABSENT:
                    raise self._refusal(answer, request.url)

        def body() -> tuple[Body, str]:
            return self._body(item, request, progress)

        with closing(self._request(request.method, request.url, body, request.headers)) as answer:
            if not answer.ok:
                raise self._refusal(answer, request.url)

    def _upload(self, item: Item) -> Upload:
        return upload(self._store, self._service, self._version, item)

    def _body(self, item: Item, request: Upload, progress: Callable[[int], None]) -> tuple[Body, str]:
        if request.file_field:
            return form(item.path, item.size, item.name, request.form, request.file_field, progress)
        return Body(item.path, item.size, progress=progress), "application/octet-stream"

    def _request(
        self,
        method: str,
        url: str,
        body: Callable[[], tuple[Body, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """An answer that is no redirect and no transient failure."""
        first = url
        for _ in range(_HOPS):
            answer = self._once(method, url, body, headers or {})
            target = answer.headers.get("Location")
            if answer.status_code in _REDIRECTS and target:
                answer.close()
                url = self._next(method, answer.status_code, first, url, target)
                continue
            if answer.status_code in TRANSIENT:
                with closing(answer):
                    status = f"{answer.status_code} {answer.reason or ''}".strip()
                    raise TransientError(
                        f"{self._host} says {status} to {method} {first}",
                        _retry_after(answer.headers),
                        not_executed=answer.status_code in NOT_EXECUTED,
                    )
            return answer
        raise PublishError(f"{first}: {_HOPS} redirects one after the other; correct the url")

    def _next(self, method: str, status: int, first: str, url: str, target: str) -> str:
        try:
            return followed(method, status, first, urljoin(url, target), self._own)
        except ValueError:  # not shown: the address may hold a signature
            raise PublishError(f"{first}: {status} leads to an invalid address; is that a store?") from None

    def _once(
        self, method: str, url: str, body: Callable[[], tuple[Body, str]] | None, headers: Mapping[str, str]
    ) -> requests.Response:
        # Content-Encoding would change the bytes that are hashed.
        headers = {**headers, "Accept-Encoding": "identity"}
        auth = _Credential(self._secret if origin(url) == self._own else {})
        send = functools.partial(
            self._session.request,
            method,
            url,
            auth=auth,
            timeout=(min(_CONNECT, self._store.timeout), self._store.timeout),
            verify=self._store.ca,  # None: as the environment says (REQUESTS_CA_BUNDLE)
            allow_redirects=False,
            stream=True,
        )
        try:
            if body is None:
                return send(headers=headers)
            opened, kind = body()
            with opened as data:
                return send(headers={**headers, "Content-Type": kind}, data=data if len(data) else b"")
        except requests.exceptions.SSLError as error:
            raise PublishError(
                f"{self._host}: TLS: {_cause(error)}; is it the right host? `ca` names the authority of a private one"
            ) from None
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise TransientError(f"{self._host}: {_cause(error)}") from None
        except requests.RequestException as error:
            raise PublishError(f"{self._host}: {_cause(error)}") from None
        except ValueError:  # a redirect to a host whose name cannot be resolved at all
            raise PublishError(f"{self._host}: leads to an invalid address; is that a store?") from None
        except OSError as error:  # the file of `ca`
            raise PublishError(f"{self._host}: {error}") from None

    def _refusal(self, answer: requests.Response, url: str) -> PublishError:
        return refusal(answer.status_code, answer.reason or "", _text(answer), url, self._identity())

    def _identity(self) -> str:
        return f"the token of {place(self._store.token)}" if self._store.token else "an anonymous request (no `token`)"


def followed(method: str, status: int, url: str, target: str, own: tuple[str, str, int]) -> str:
    """The address to follow after a redirect: to other hosts only for reading, and without the token.

    The redirect's address may hold a signature behind its '?', so that part is never shown.

    Args:
        method: of the request.
        status: of the answer.
        url: of the request.
        target: address of the redirect.
        own: origin by group data.

    Raises:
        PublishError: the redirect leads the file or the token to another host, or off TLS.
    """
    scheme, host, port = origin(target)
    there = f"{scheme}://{host}:{port}"
    if scheme not in ("http", "https") or (own[0] == "https" and scheme != "https"):
        raise PublishError(f"{url}: redirect to {there} refused: it leaves TLS; correct the url")
    if method in ("GET", "HEAD"):
        return target
    if origin(target) != own:
        raise PublishError(
            f"{url}: redirect to another host refused ({there}): neither the file nor the token goes there; correct "
            "the url if that is the store"
        )
    if status not in (307, 308):
        raise PublishError(
            f"{url}: answers {method} with {status} to {target.partition('?')[0]}: not a place to publish to; correct "
            "the url"
        )
    return target


def refusal(status: int, reason: str, text: str, url: str, identity: str) -> PublishError:
    """The error for a status, with its remedy (RFC 9110, RFC 4918 for 507)."""
    if status in (401, 403):
        why = f"the store refuses {identity}; is it right, not expired, and allowed to write?"
    elif status in _ABSENT:
        why = f"no such repository or project, or one that {identity} may not see; correct the url"
    elif status == 507:
        why = "the store is full; make room, then run the same command again"
    elif status == 413:
        why = "larger than the server takes (nginx: client_max_body_size)"
    elif status in (400, 409):
        why = "the store refuses this file: a name that is taken, or a sum that differs"
    else:
        why = "the store does not take it; is that the right url and preset?"
    return PublishError(f"{url}: {f'{status} {reason}'.strip()}: {why}{excerpt(text)}")


def _text(answer: requests.Response) -> str:
    """The beginning of the store's message: as much as comes soon.

    An incomplete text loses its last word: it may be part of the token, which `redact` would not recognize.
    """
    content, end = bytearray(), time.monotonic() + _EXCERPT_TIMEOUT
    try:
        for byte in answer.iter_content(1):
            content += byte
            if len(content) >= _EXCERPT or time.monotonic() > end:
                return content.decode("utf-8", "replace").rpartition(" ")[0]
    except requests.RequestException:
        return content.decode("utf-8", "replace").rpartition(" ")[0]
    return content.decode("utf-8", "replace")


def _cause(error: BaseException) -> str:
    """The innermost reason: requests and urllib3 wrap it several times, each time with the whole URL."""
    inner: BaseException = error
    for _ in range(8):
        wrapped = getattr(inner, "reason", None) or next((a for a in inner.args if isinstance(a, BaseException)), None)
        if not isinstance(wrapped, BaseException):
            break
        inner = wrapped
    strerror = getattr(inner, "verify_message", None) or getattr(inner, "strerror", None)
    text = str(strerror or inner)
    return text.rpartition(">: ")[2] or type(inner).__name__


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After; its other form, a date, does not count."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None
