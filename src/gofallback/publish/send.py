"""Sends the files of a version: looks first, sends what is missing, looks again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gofallback.model.publish import PublishStore
from gofallback.publish.address import file_root
from gofallback.publish.errors import Again, PublishError
from gofallback.publish.files import Item
from gofallback.publish.folder import FolderStore
from gofallback.publish.retry import persistently
from gofallback.publish.store import Seen, Store
from gofallback.publish.web import WebStore

State = Literal["sent", "there already", "failed", "not sent"]


@dataclass
class Row:
    """What became of one file."""

    item: Item
    address: str
    state: State = "not sent"
    seconds: float = 0.0
    checked: str = ""
    """How its SHA-256 was checked in the store."""


class Watcher(Protocol):
    """Somebody who looks on."""

    def begins(self, item: Item) -> None:
        """A file begins to go."""

    def moved(self, item: Item, done: int) -> None:
        """So many bytes of it have gone; less than before when an attempt begins anew."""

    def ended(self, row: Row) -> None:
        """A file has come to its end."""

    def say(self, line: str) -> None:
        """Something worth a line."""


def open_store(store: PublishStore, service: str, version: str) -> Store:
    """The store that the data describes, with its credentials read. PublishError when one is missing."""
    scheme = store.url.split("://")[0]
    if scheme == "file":
        return FolderStore(file_root(store.url), service, version)
    if scheme == "s3":
        from gofallback.publish.s3 import S3Store  # a second of imports that the others need not pay

        return S3Store(store, service, version)
    return WebStore(store, service, version)


def publish(
    rows: Sequence[Row],
    store: Store,
    data: PublishStore,
    watcher: Watcher,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Bring every row into the store, in their order; the rows tell how far it came.

    Args:
        rows: the files, `not sent`.
        store: where to.
        data: its rules: attempts, overwrite.
        watcher: looks on.
        sleep: waits so many seconds.

    Raises:
        PublishError: a file is there with other content (nothing was sent then), or the store does not take one.
    """

    def look(item: Item) -> Seen | None:
        return persistently(lambda: store.look(item), data.attempts, watcher.say, sleep)

    found = {row.item.name: look(row.item) for row in rows}
    _refuse_others(rows, found, data)
    for row in rows:
        seen, began = found[row.item.name], time.monotonic()
        if seen and seen.same:
            row.state, row.checked = "there already", seen.how
            watcher.ended(row)
            continue
        watcher.begins(row.item)
        row.state = "failed"
        try:
            sending = _Sending(row.item, store, watcher, look, replace=seen is not None)
            persistently(sending, data.attempts, watcher.say, sleep)
            row.checked = persistently(sending.check, data.attempts, watcher.say, sleep).how
            row.state = "sent"
        finally:
            row.seconds = time.monotonic() - began
            watcher.ended(row)


@dataclass
class _Sending:
    """The attempts to send one file. A later one looks first: the answer may be all that was lost."""

    item: Item
    store: Store
    watcher: Watcher
    look: Callable[[Item], Seen | None]
    replace: bool
    doubt: bool = False

    def __call__(self) -> None:
        if self.doubt:
            seen = self.look(self.item)
            if seen and seen.same:
                return
            self.replace = self.replace or seen is not None
            self.doubt = False
        try:
            self.store.send(self.item, lambda done: self.watcher.moved(self.item, done), replace=self.replace)
        except Again as reason:
            self.doubt = not reason.unheard
            raise

    def check(self) -> Seen:
        """What the store has now is what was sent."""
        seen = self.store.look(self.item)
        where = self.store.where(self.item)
        if seen is None:
            raise Again(f"{where}: the store took it and does not have it")
        if not seen.same:
            raise PublishError(
                f"{where}: hash mismatch after the upload: sent sha256 {self.item.sha256}, {self.item.size} bytes; the "
                f"store has {seen.what} ({seen.how}); remove it there, and look what changes files on the way"
            )
        return seen


def _refuse_others(rows: Sequence[Row], found: dict[str, Seen | None], data: PublishStore) -> None:
    others = [(row, seen) for row in rows if (seen := found[row.item.name]) is not None and not seen.same]
    if not others or data.overwrite:
        return
    row, seen = others[0]
    more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
    raise PublishError(
        f"{row.address}: is there with other content: {seen.what}, ours has sha256 {row.item.sha256} and "
        f"{row.item.size} bytes{more}; nothing was sent. Publish it as another version, or replace it (--overwrite)"
    )
