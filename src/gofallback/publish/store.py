"""What every store can do, and the comparison of a stored file with the item."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from gofallback.publish.files import Item

READ_BACK = "read back, SHA-256"
STORES_SUM = "store's SHA-256"


@dataclass(frozen=True)
class StoredFile:
    """The file that a store has under a name."""

    same: bool
    """It is the item."""
    description: str
    """For people: its SHA-256, or its size when that is enough."""
    checked_by: str
    """`READ_BACK` or `STORES_SUM`."""


class Store(Protocol):
    """A place for the files of one version. Raises PublishError, or TransientError for failures that may pass."""

    def address(self, item: Item) -> str:
        """Address of a file; holds no secret."""

    def find(self, item: Item) -> StoredFile | None:
        """The file under the item's name, or None."""

    def send(self, item: Item, progress: Callable[[int], None], *, replace: bool) -> None:
        """Send the item. ``progress`` is called with the bytes sent; ``replace``: another file has its name."""


def compare_content(item: Item, chunks: Iterable[bytes]) -> StoredFile:
    """Compare an item with content that was read back, until that is longer."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if size > item.size:
            return StoredFile(False, f"more than {item.size} bytes", READ_BACK)
    return compare_sum(item, digest.hexdigest(), READ_BACK)


def compare_sum(item: Item, sha256: str, checked_by: str) -> StoredFile:
    """Compare an item with a SHA-256 in hex."""
    return StoredFile(sha256 == item.sha256, f"sha256 {sha256}", checked_by)
