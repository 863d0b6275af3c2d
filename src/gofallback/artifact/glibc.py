"""Versions of glibc's symbols: the lowest glibc that a dynamic binary needs."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SYMBOL = re.compile(r"GLIBC_(\d+(?:\.\d+)+)")
_IN_BYTES = re.compile(rb"\x00GLIBC_(\d{1,4}(?:\.\d{1,4}){1,2})(?=\x00)")


def version_tuple(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``2.36-9+deb12`` is (2, 36); empty without any."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part[:9]) for part in match.group().split(".")) if match else ()


def highest(symbols: Iterable[str]) -> str | None:
    """The highest ``GLIBC_x.y`` among version names, as ``x.y``; GLIBC_PRIVATE and others do not count."""
    found = [match.group(1) for name in symbols if (match := _SYMBOL.fullmatch(name))]
    return max(found, key=version_tuple, default=None)


def highest_in(data: bytes) -> str | None:
    """The same from the bytes of a file without section headers (``sstrip``)."""
    return highest(f"GLIBC_{match.group(1).decode()}" for match in _IN_BYTES.finditer(data))
