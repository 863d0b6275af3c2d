"""The controller's cache of toolchain archives: fetched once, never used without the pinned SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import secrets
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from gofallback.disk import file_sha256
from gofallback.errors import GofallbackError
from gofallback.model import ToolchainPin

Log = Callable[[str], None]

_CHUNK = 1 << 20
_TIMEOUT = 60.0
"""Seconds without a byte after which a server counts as unreachable."""
_PROGRESS_INTERVAL = 5.0
"""Seconds between two lines of progress."""
_LOCKS: dict[Path, threading.Lock] = {}
_LOCKS_GUARD = threading.Lock()


class DownloadError(GofallbackError):
    """An archive that cannot be downloaded, or is not the pinned one; one line with the remedy."""


def fetch(pin: ToolchainPin, cache: Path, log: Log) -> Path:
    """The archive of a pin, verified: from the cache, else from its URL (``https://`` or ``file://``).

    Concurrent calls for one archive share one download. The final name exists only with the right bytes.

    Args:
        pin: the archive, and the SHA-256 it must have.
        cache: folder of the archives; made when missing.
        log: receives one line of progress every few seconds.

    Raises:
        DownloadError: not reachable, or another SHA-256 (the message has both).
    """
    final = cache / pin.sha256[:16] / pin.file_name
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
    with _lock(final):
        try:
            if final.is_file():
                found = file_sha256(final)
                if found == pin.sha256:
                    return final
                log(f"{final} is damaged (sha256 {found}, pinned {pin.sha256}): fetching it again")
                final.unlink()
            final.parent.mkdir(parents=True, exist_ok=True)
            found = _copy(pin, temporary, log)
            if found != pin.sha256:
                raise DownloadError(
                    f"{pin.url}: sha256 is {found}, but {pin.tool} {pin.version} is pinned to {pin.sha256}; "
                    "nothing was installed. Compare with the vendor's figure (`gofallback pins`), then correct the pin"
                )
            temporary.replace(final)
        except OSError as error:
            raise DownloadError(
                f"{final}: {error.strerror or error}; free space or permission of the folder?"
            ) from None
        finally:
            with contextlib.suppress(OSError):  # the error above has the cause
                temporary.unlink(missing_ok=True)
    return final


def _lock(path: Path) -> threading.Lock:
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(path, threading.Lock())


def open_url(url: str) -> http.client.HTTPResponse | IO[bytes]:
    """Open a URL for reading.

    Raises:
        DownloadError: not reachable, refused, or not there.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "gofallback"})
    try:
        opened: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{url}: the server says {error.code} {error.reason}; check the pin's url") from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        reason = getattr(reason, "strerror", None) or reason
        if url.startswith("file:"):
            raise DownloadError(f"{url}: {reason}; put the archive there, or correct the pin's url") from None
        raise DownloadError(
            f"{url}: {reason}; check the network and the proxy (HTTPS_PROXY), or put the archive on this machine and "
            "pin a file:// url"
        ) from None
    return opened


def _copy(pin: ToolchainPin, target: Path, log: Log) -> str:
    """Stream the archive into ``target``; returns its SHA-256."""
    digest = hashlib.sha256()
    done, began = 0, time.monotonic()
    logged = began
    with open_url(pin.url) as source:
        total = _length(source)
        log(f"fetching {pin.file_name}{f' ({total / 1e6:.0f} MB)' if total else ''} from {pin.url}")
        with target.open("wb") as file:
            while chunk := _read(source, pin.url):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if time.monotonic() - logged >= _PROGRESS_INTERVAL:
                    logged = time.monotonic()
                    of = f" of {total / 1e6:.0f}" if total else ""
                    rate = done / 1e6 / (logged - began)
                    log(f"fetching {pin.file_name}: {done / 1e6:.0f}{of} MB, {rate:.1f} MB/s")
    if total is not None and done != total:
        raise DownloadError(f"{pin.url}: ended after {done} of {total} bytes; run the same command again")
    log(f"fetched {pin.file_name}: {done / 1e6:.0f} MB in {time.monotonic() - began:.1f} s")
    return digest.hexdigest()


def _read(source: http.client.HTTPResponse | IO[bytes], url: str) -> bytes:
    try:
        return source.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: the connection broke ({error}); run the same command again") from None


def _length(source: http.client.HTTPResponse | IO[bytes]) -> int | None:
    headers = getattr(source, "headers", None)
    text = headers.get("Content-Length") if headers is not None else None
    return int(text) if text and text.isdigit() else None
