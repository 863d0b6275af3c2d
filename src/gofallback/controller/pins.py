"""Pins of Go releases, with the SHA-256 that the vendor publishes."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence
from typing import Literal

from gofallback.controller.downloads import DownloadError, open_url
from gofallback.model import ToolchainPin

Arch = Literal["amd64", "arm64"]
Os = Literal["windows", "linux"]
GO_URL = "https://dl.google.com/go/go{version}.{os}-{arch}.{ending}"
_LARGEST = 4096
"""Bytes; a .sha256 file has about 100."""


def look_up(version: str, arch: Arch, os: Os) -> ToolchainPin:
    """The pin of a Go release, its SHA-256 read from Go's download site.

    Args:
        version: such as ``1.27.0``.
        arch: architecture of the builder.
        os: operating system of the builder.

    Raises:
        DownloadError: not https, not reachable, or the answer is not a SHA-256.
    """
    kind: Literal["zip", "tar"] = "tar" if os == "linux" else "zip"
    ending = "tar.gz" if kind == "tar" else kind
    url = GO_URL.format(version=version, os=os, arch=arch, ending=ending)
    sha256 = published_sha256(url)
    return ToolchainPin(tool="go", version=version, os=os, kind=kind, arch=arch, url=url, sha256=sha256)


def published_sha256(url: str) -> str:
    """The SHA-256 in ``<url>.sha256``; https only, since nothing else vouches for the answer.

    Raises:
        DownloadError: see `look_up`.
    """
    if urllib.parse.urlsplit(url).scheme != "https":
        raise DownloadError(f"{url}: should be https://, since the pin is only as good as the connection it came over")
    return read_sha256(f"{url}.sha256")


def read_sha256(url: str) -> str:
    """The SHA-256 in a file of a vendor: the bare digits, or a line of ``sha256sum``.

    Raises:
        DownloadError: not reachable, or something else.
    """
    with open_url(url) as answer:
        text = answer.read(_LARGEST).decode("ascii", "replace").strip()
    match = re.fullmatch(r"([0-9a-fA-F]{64})(?:\s+\*?\S+)?", text)
    if not match:
        raise DownloadError(f"{url}: should hold 64 hex digits, got {text[:60]!r}; the vendor publishes none there")
    return match.group(1).lower()


def as_python(pins: Sequence[ToolchainPin]) -> str:
    """Pins as lines to paste into ``group_data/builders.py``."""
    lines = []
    for pin in pins:
        fields = pin.model_dump(exclude_defaults=True)
        lines.append("        {" + ", ".join(f'"{key}": "{value}"' for key, value in fields.items()) + "},")
    return "\n".join(lines)
