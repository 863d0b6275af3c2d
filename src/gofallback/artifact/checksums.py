"""checksums.txt in the format of sha256sum: ``sha256sum -c checksums.txt`` reads it too. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

CHECKSUMS = "checksums.txt"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def render(digests: Mapping[str, str]) -> str:
    """The file's content.

    Args:
        digests: file name to SHA-256.
    """
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def parse_line(line: str) -> tuple[str, str] | None:
    """Name and SHA-256 of one line; None for any other line."""
    match = _LINE.fullmatch(line)
    return (match[2], match[1]) if match else None
