"""What every store can do, and the one that a URL means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from gofallback.publish.files import Item

READ_BACK = "read back, SHA-256"
STORES_SUM = "store's SHA-256"


@dataclass(frozen=True)
class Seen:
    """What a store has under a name."""

    same: bool
    """It is the item."""
    what: str
    """For a person: its SHA-256, or its size when that says enough."""
    how: str
    """How that was found: `READ_BACK` or `STORES_SUM`."""


class Store(Protocol):
    """A place for the files of one version. Raises PublishError, or Again where another attempt may do."""

    def where(self, item: Item) -> str:
        """Address of a file; holds no secret."""

    def look(self, item: Item) -> Seen | None:
        """What is there under the item's name; None: nothing."""

    def send(self, item: Item, moved: Callable[[int], None], *, replace: bool) -> None:
        """Put it there; ``moved`` hears how many bytes have gone, ``replace``: something else is there."""


def compared(item: Item, chunks: Iterable[bytes]) -> Seen:
    """An item beside what was read back; reading ends where it is longer."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if size > item.size:
            return Seen(False, f"more than {item.size} bytes", READ_BACK)
    return by_sum(item, digest.hexdigest(), READ_BACK)


def by_sum(item: Item, sha256: str, how: str) -> Seen:
    """An item beside a SHA-256 in hex."""
    return Seen(sha256 == item.sha256, f"sha256 {sha256}", how)
