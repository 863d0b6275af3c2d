"""``gofallback pins``: looks up the SHA-256 that a vendor publishes, and prints pins for a person to review."""

from __future__ import annotations

import itertools
import re
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Literal

from gofallback.controller.downloads import DownloadError, open_url
from gofallback.model import ToolchainPin

Arch = Literal["amd64", "arm64"]
Os = Literal["windows", "linux"]
GO_URL = "https://dl.google.com/go/go{version}.{os}-{arch}.{ending}"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LARGEST = 4096
"""Bytes; a .sha256 file has about 100."""


def look_up(version: str, arch: Arch = "amd64", os: Os = "windows", url: str | None = None) -> ToolchainPin:
    """The pin of a Go release, its SHA-256 read from ``<url>.sha256`` beside the archive.

    Args:
        version: such as ``1.27.0``.
        arch: architecture of the builder.
        os: operating system of the builder.
        url: where the archive is; default: Go's own download site.

    Raises:
        DownloadError: not https, not reachable, or the answer is not a SHA-256.
    """
    kind: Literal["zip", "tar"] = "tar" if os == "linux" else "zip"
    ending = "tar.gz" if kind == "tar" else kind
    address = url or GO_URL.format(version=version, os=os, arch=arch, ending=ending)
    sha256 = published_sha256(address)
    return ToolchainPin(tool="go", version=version, os=os, kind=kind, arch=arch, url=address, sha256=sha256)


def published_sha256(url: str, *, allow_loopback: bool = False) -> str:
    """What ``<url>.sha256`` says: the bare digits, or a line of ``sha256sum``.

    Args:
        url: address of the archive; https only, since nothing else vouches for the answer.
        allow_loopback: also take http:// from this machine itself (a mirror under test).

    Raises:
        DownloadError: see `look_up`.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (allow_loopback and parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise DownloadError(f"{url}: should be https://, since the pin is only as good as the connection it came over")
    with open_url(url + ".sha256") as answer:
        text = answer.read(_LARGEST).decode("ascii", "replace").strip()
    match = re.fullmatch(r"([0-9a-fA-F]{64})(?:\s+\*?\S+)?", text)
    if not match:
        raise DownloadError(
            f"{url}.sha256: should hold 64 hex digits, got {text[:60]!r}; the vendor publishes none there"
        )
    return match.group(1).lower()


def as_python(pins: Sequence[ToolchainPin]) -> str:
    """Pins as lines to paste into ``group_data/builders.py``."""
    lines = []
    for pin in pins:
        fields = pin.model_dump(exclude_defaults=True)
        lines.append("        {" + ", ".join(f'"{key}": "{value}"' for key, value in fields.items()) + "},")
    return "\n".join(lines)


def pins_command(
    versions: Sequence[str], arches: Sequence[Arch], say: Callable[[str], None], systems: Sequence[Os] = ("windows",)
) -> int:
    """What ``gofallback pins go VERSION...`` does: one pin a version, system and architecture; exit status.

    Git for Windows publishes no file beside its archives: its figures stand in the notes of each release, and are
    copied from there by hand.
    """
    found: list[ToolchainPin] = []
    failed = False
    for version in versions:
        for system, arch in itertools.product(systems, arches):
            try:
                found.append(look_up(version, arch, system))
            except DownloadError as error:
                failed = True
                say(f"error: {error}")
    if found:
        say("# review, then paste into toolchain.pins of group_data/builders.py")
        say(as_python(found))
    return 1 if failed else 0
