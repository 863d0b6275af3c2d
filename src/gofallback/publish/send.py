"""Sends the files of a version: finds those that are there, sends the others, and checks them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from gofallback.model.publish import PublishStore
from gofallback.publish.address import file_root
from gofallback.publish.errors import PublishError, TransientError
from gofallback.publish.files import Item
from gofallback.publish.folder import FolderStore
from gofallback.publish.retry import with_retries
from gofallback.publish.store import Store, StoredFile
from gofallback.publish.web import WebStore

T = TypeVar("T")

State = Literal["sent", "there already", "failed", "not sent"]


@dataclass
class Row:
    """The state of one file."""

    item: Item
    address: str
    state: State = "not sent"
    seconds: float = 0.0
    checked: str = ""
    """How its SHA-256 was checked in the store."""


class Watcher(Protocol):
    """Shows progress."""

    def started(self, item: Item) -> None:
        """The upload of a file starts."""

    def progressed(self, item: Item, done: int) -> None:
        """So many bytes are sent; fewer than before when another attempt starts."""

    def finished(self, row: Row) -> None:
        """A file is sent, was there already, or failed."""

    def report(self, line: str) -> None:
        """A line about an event."""


def open_store(store: PublishStore, service: str, version: str) -> Store:
    """The store of some group data, with its credentials read.

    Raises:
        PublishError: a credential is missing, or the address is wrong.
    """
    scheme = store.url.split("://")[0]
    if scheme == "file":
        return FolderStore(file_root(store.url), service, version)
    if scheme == "s3":
        from gofallback.publish.s3 import S3Store  # here: its imports take a second

        return S3Store(store, service, version)
    return WebStore(store, service, version)


def publish(
    rows: Sequence[Row],
    store: Store,
    data: PublishStore,
    watcher: Watcher,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send every row to the store, in their order, and set the state of each.

    Args:
        rows: the files, `not sent`.
        store: the target.
        data: its rules: attempts, overwrite.
        watcher: shows progress.
        sleep: waits so many seconds.

    Raises:
        PublishError: a file is there with other content (nothing was sent then), or the store refuses one.
    """

    def retry(action: Callable[[], T]) -> T:
        return with_retries(action, data.attempts, watcher.report, sleep)

    def find(item: Item) -> StoredFile | None:
        return retry(lambda: store.find(item))

    found = {row.item.name: find(row.item) for row in rows}
    _refuse_others(rows, found, data)
    for row in rows:
        stored, began = found[row.item.name], time.monotonic()
        upload = _Upload(row.item, store, watcher, find, replace=stored is not None)
        try:
            if stored and stored.same:
                row.state, row.checked = "there already", stored.checked_by
                continue
            watcher.started(row.item)
            row.state = "failed"
            retry(upload.send)
            row.state, row.checked = "sent", retry(upload.check).checked_by
        finally:
            row.seconds = time.monotonic() - began if row.state != "there already" else 0.0
            watcher.finished(row)


@dataclass
class _Upload:
    """The attempts to send one file. A later one checks the store first: only the answer may have been lost."""

    item: Item
    store: Store
    watcher: Watcher
    find: Callable[[Item], StoredFile | None]
    replace: bool
    maybe_sent: bool = False

    def send(self) -> None:
        """One attempt."""
        if self.maybe_sent:
            stored = self.find(self.item)
            if stored and stored.same:
                return
            self.replace = self.replace or stored is not None
            self.maybe_sent = False
        try:
            self.store.send(self.item, lambda done: self.watcher.progressed(self.item, done), replace=self.replace)
        except TransientError as reason:
            self.maybe_sent = not reason.not_executed
            raise

    def check(self) -> StoredFile:
        """The file in the store, which has to be the item."""
        stored = self.store.find(self.item)
        address = self.store.address(self.item)
        if stored is None:
            raise TransientError(f"{address}: the store took it and does not have it")
        if not stored.same:
            raise PublishError(
                f"{address}: hash mismatch after the upload: sent sha256 {self.item.sha256}, {self.item.size} bytes; "
                f"the store has {stored.description} ({stored.checked_by}); remove it there, and find out what changes "
                "files on the way"
            )
        return stored


def _refuse_others(rows: Sequence[Row], found: dict[str, StoredFile | None], data: PublishStore) -> None:
    others = [(row, stored) for row in rows if (stored := found[row.item.name]) is not None and not stored.same]
    if not others or data.overwrite:
        return
    row, stored = others[0]
    more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
    raise PublishError(
        f"{row.address}: is there with other content: {stored.description}, ours has sha256 {row.item.sha256} and "
        f"{row.item.size} bytes{more}; nothing was sent. Publish it as another version, or replace it (--overwrite)"
    )
