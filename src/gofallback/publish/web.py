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
from gofallback.publish import request as requested
from gofallback.publish.body import Body, form
from gofallback.publish.credential import guard_plain, header
from gofallback.publish.errors import Again, PublishError, excerpt
from gofallback.publish.files import Item
from gofallback.publish.request import Upload, origin
from gofallback.publish.retry import PASSING, UNHEARD
from gofallback.publish.store import STORES_SUM, Seen, by_sum, compared

_CHUNK = 1 << 18
_CONNECT = 10.0
"""Seconds for a connection."""
_HOPS = 5
_EXCERPT = 2000
"""Bytes of an answer that are read for what a store says."""
_PATIENCE = 5.0
"""Seconds for them."""
_MOVED = frozenset({301, 302, 303, 307, 308})
#: What a server means that says "it is not there, and will not be".
_ABSENT = frozenset({404, 410})


class _Credential(AuthBase):
    """Puts the header on. As it is an auth object, requests does not look into ~/.netrc for another one."""

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

    def where(self, item: Item) -> str:
        """Address that it is read from."""
        return self._upload(item).read_url

    def look(self, item: Item) -> Seen | None:
        """The store's own sum where it tells one, else the content."""
        upload = self._upload(item)
        if upload.checksum_header and not self._store.read_back:
            with closing(self._ask("HEAD", upload.read_url)) as answer:
                if answer.status_code in _ABSENT:
                    return None
                known = answer.headers.get(upload.checksum_header, "")
                if answer.status_code == 200 and known:
                    return by_sum(item, known.lower(), STORES_SUM)
        with closing(self._ask("GET", upload.read_url)) as answer:
            if answer.status_code in _ABSENT:
                return None
            if answer.status_code != 200:
                raise self._refused(answer, upload.read_url)
            try:
                return compared(item, answer.iter_content(_CHUNK))
            except requests.RequestException as error:
                raise Again(f"{self._host}: {_cause(error)} while {item.name} was read back") from None

    def send(self, item: Item, moved: Callable[[int], None], *, replace: bool) -> None:
        """One request; from its beginning, however often."""
        upload = self._upload(item)
        if replace and upload.remove_first:
            with closing(self._ask("DELETE", upload.url)) as answer:
                if not answer.ok and answer.status_code not in _ABSENT:
                    raise self._refused(answer, upload.url)
        with closing(self._ask(upload.method, upload.url, lambda: self._body(item, upload, moved), upload)) as answer:
            if not answer.ok:
                raise self._refused(answer, upload.url)

    def _upload(self, item: Item) -> Upload:
        return requested.upload(self._store, self._service, self._version, item)

    def _body(self, item: Item, upload: Upload, moved: Callable[[int], None]) -> tuple[Body, str]:
        if upload.file_field:
            return form(item.path, item.size, item.name, upload.form, upload.file_field, moved)
        return Body(item.path, item.size, moved=moved), "application/octet-stream"

    def _ask(
        self,
        method: str,
        url: str,
        body: Callable[[], tuple[Body, str]] | None = None,
        upload: Upload | None = None,
    ) -> requests.Response:
        """An answer that is no redirect and no passing failure."""
        first = url
        for _ in range(_HOPS):
            answer = self._once(method, url, body, upload)
            target = answer.headers.get("Location")
            if answer.status_code in _MOVED and target:
                answer.close()
                url = self._next(method, answer.status_code, first, url, target)
                continue
            if answer.status_code in PASSING:
                with closing(answer):
                    said = f"{answer.status_code} {answer.reason or ''}".strip()
                    unheard = answer.status_code in UNHEARD
                    raise Again(
                        f"{self._host} says {said} to {method} {first}", _asked(answer.headers), unheard=unheard
                    )
            return answer
        raise PublishError(f"{first}: {_HOPS} redirects one after the other; correct the url")

    def _next(self, method: str, status: int, first: str, url: str, target: str) -> str:
        try:
            return followed(method, status, first, urljoin(url, target), self._own)
        except ValueError:  # not shown: whatever it is, it may hold a signature
            raise PublishError(f"{first}: {status} leads to what is no address; is that a store?") from None

    def _once(
        self, method: str, url: str, body: Callable[[], tuple[Body, str]] | None, upload: Upload | None
    ) -> requests.Response:
        headers = dict(upload.headers) if upload else {}
        # Content-Encoding would change what is hashed.
        headers["Accept-Encoding"] = "identity"
        auth = _Credential(self._secret if origin(url) == self._own else {})
        ask = functools.partial(
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
                return ask(headers=headers)
            opened, kind = body()
            with opened as data:
                return ask(headers={**headers, "Content-Type": kind}, data=data if len(data) else b"")
        except requests.exceptions.SSLError as error:
            raise PublishError(
                f"{self._host}: TLS: {_cause(error)}; is it the right host? `ca` names the authority of a private one"
            ) from None
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise Again(f"{self._host}: {_cause(error)}") from None
        except requests.RequestException as error:
            raise PublishError(f"{self._host}: {_cause(error)}") from None
        except ValueError:  # a host that a redirect named and no name server could be asked for
            raise PublishError(f"{self._host}: leads to what is no address; is that a store?") from None
        except OSError as error:  # requests checks the file of `ca` by itself
            raise PublishError(f"{self._host}: {error}") from None

    def _refused(self, answer: requests.Response, url: str) -> PublishError:
        return refused(answer.status_code, answer.reason or "", _text(answer), url, self._asker())

    def _asker(self) -> str:
        return f"the token of {place(self._store.token)}" if self._store.token else "nobody in particular (no `token`)"


def followed(method: str, status: int, url: str, target: str, own: tuple[str, str, int]) -> str:
    """Where to go on after a redirect. Reading goes on elsewhere without the token; what is sent goes nowhere else.

    The address that it leads to may hold a signature behind its '?', so that is never shown.

    Args:
        method: of the request.
        status: of the answer.
        url: that was asked for.
        target: where it leads.
        own: origin that the data names.

    Raises:
        PublishError: it would lead what is sent, or the token, to another host, or off TLS.
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


def refused(status: int, reason: str, text: str, url: str, asker: str) -> PublishError:
    """What a status means for a person (RFC 9110, RFC 4918 for 507)."""
    said, more = f"{status} {reason}".strip(), excerpt(text)
    if status in (401, 403):
        why = f"the store refuses {asker}; is it right, not expired, and allowed to write?"
    elif status in _ABSENT:
        why = f"no such repository or project, or one that {asker} may not see; correct the url"
    elif status == 507:
        why = "the store is full; make room, then run the same command again"
    elif status == 413:
        why = "larger than the server takes (nginx: client_max_body_size)"
    elif status in (400, 409):
        why = "the store refuses this file: a name that is taken, or a sum that differs"
    else:
        why = "the store does not take it; is that the right url and preset?"
    return PublishError(f"{url}: {said}: {why}{more}")


def _text(answer: requests.Response) -> str:
    """The beginning of what the store says: as much as comes soon.

    Where more would have come, its last word is left out: it may be a part of the token, which nobody would recognize.
    """
    said, end = bytearray(), time.monotonic() + _PATIENCE
    try:
        for byte in answer.iter_content(1):
            said += byte
            if len(said) >= _EXCERPT or time.monotonic() > end:
                return said.decode("utf-8", "replace").rpartition(" ")[0]
    except requests.RequestException:
        return said.decode("utf-8", "replace").rpartition(" ")[0]
    return said.decode("utf-8", "replace")


def _cause(error: BaseException) -> str:
    """The innermost reason: requests and urllib3 wrap it several times, with the whole URL in each."""
    seen: BaseException = error
    for _ in range(8):
        inner = getattr(seen, "reason", None) or next((a for a in seen.args if isinstance(a, BaseException)), None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    strerror = getattr(seen, "verify_message", None) or getattr(seen, "strerror", None)
    text = str(strerror or seen)
    return text.rpartition(">: ")[2] or type(seen).__name__


def _asked(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After; its other form, a date, is left alone."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None
