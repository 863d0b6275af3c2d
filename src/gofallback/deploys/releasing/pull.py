"""Targets that pull: the first one publishes the binary to the store, and every one gets its address there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gevent.lock import RLock
from pyinfra.api.host import Host

from gofallback.controller.store import Stored
from gofallback.deploys.releasing.desired import DesiredRelease
from gofallback.deploys.run.context import Key, RunContext
from gofallback.errors import RefusedError
from gofallback.journal.events import ArtifactPublished
from gofallback.model.publish import PublishStore
from gofallback.publish.errors import PublishError
from gofallback.publish.files import Item, public_name
from gofallback.publish.pull import check as check_readable
from gofallback.publish.pull import source
from gofallback.publish.send import Row, open_store, publish
from gofallback.release.upload import Upload

#: Seconds between two progress lines of a file on its way to the store.
_PROGRESS_INTERVAL = 5.0
_MB = 1_000_000


_STORE_PROBLEM: Key[str | None] = Key("problem of a store")
_TURN: Key[Any] = Key("turn at a store")
_PUBLISHED: Key[_Published] = Key("published file")


def check_pull_store(ctx: RunContext, host: Host, desired: DesiredRelease) -> None:
    """While planning: check that the store of a target can be read, so that it does not fail after an hour of building.

    Raises:
        RefusedError: it cannot, and `target.pull_fallback` is none.
    """
    target = ctx.fleet(host).target
    if target.delivery == "push":
        return
    publisher = _Publisher.of(ctx, host)
    name, store = publisher.name, publisher.store
    problem = ctx.once(_STORE_PROBLEM(store.model_dump_json()), lambda: _read_problem(store, desired))
    if problem is None:
        host.log(f"{desired.service.name}: pulls its binary from {name}")
    elif target.pull_fallback == "none":
        raise RefusedError(f"publish.stores.{name}: {problem}; nothing was changed")
    else:
        ctx.run.note(f"cannot pull from {name}, so binaries are pushed: {problem}")


def _read_problem(store: PublishStore, desired: DesiredRelease) -> str | None:
    try:
        check_readable(store, desired.service.name, desired.files.version)
    except PublishError as error:
        return str(error)
    return None


def with_pull_sources(
    ctx: RunContext, host: Host, desired: DesiredRelease, upload: Upload, binaries: Sequence[Stored]
) -> Upload:
    """The upload with a source for each binary, for a target that pulls; otherwise the upload as it is.

    Args:
        ctx: the run.
        host: the target.
        desired: the release.
        upload: what the target is missing.
        binaries: the artifacts of the service, without the agent, which is always sent: it does the fetching.

    Raises:
        PublishError: a binary cannot be published, and `target.pull_fallback` is none.
    """
    target = ctx.fleet(host).target
    missing = {one.local for one in upload.programs if not one.copies}
    to_publish = [stored for stored in binaries if stored.path in missing]
    if target.delivery == "push" or not to_publish:
        return upload
    publisher = _Publisher.of(ctx, host)
    sources = {}
    try:
        for stored in to_publish:
            spec, item = stored.manifest.spec, publisher.publish(stored)
            sources[stored.path] = source(publisher.name, publisher.store, spec.service, spec.version, item, target)
    except PublishError as error:
        if target.pull_fallback == "none":
            raise
        ctx.run.note(f"cannot pull from {publisher.name}, so binaries are pushed: {error}")
        host.log_styled(f"{desired.service.name}: {error}; it is pushed instead", fg="yellow")
        return upload
    return replace(upload, programs=tuple(replace(one, source=sources.get(one.local)) for one in upload.programs))


def push_fallback(ctx: RunContext, host: Host, desired: DesiredRelease) -> Callable[[str], None] | None:
    """Called with the reason when a binary is pushed to a target that pulls; None: it must not be pushed."""
    if ctx.fleet(host).target.pull_fallback == "none":
        return None
    return lambda why: ctx.run.note(f"{host.name}: {desired.service.name} was pushed, as it {why}")


@dataclass(frozen=True)
class _Published:
    """A file in the store, or the problem. The first failure counts for every target."""

    item: Item | None
    problem: str = ""


@dataclass(frozen=True)
class _Publisher:
    """Publishes binaries to the store that one target pulls from."""

    ctx: RunContext
    host: Host
    name: str
    store: PublishStore

    @classmethod
    def of(cls, ctx: RunContext, host: Host) -> _Publisher:
        fleet = ctx.fleet(host)
        name = fleet.publish.store_name(fleet.target.pull_from) if fleet.publish else None
        if fleet.publish is None or name is None:  # parse_fleet has refused this
            raise RefusedError("target.delivery: pull needs a store of `publish`")
        return cls(ctx, host, name, fleet.publish.stores[name])

    def publish(self, stored: Stored) -> Item:
        """The file in the store. The first target sends it; the others wait, and get the same result."""
        turn = self.ctx.once(_TURN(self.store.url), RLock)
        with turn:  # one file after the other: registries require that for the files of one package
            found = self.ctx.once(_PUBLISHED(self.store.url, stored.path), lambda: self._publish_or_problem(stored))
        if found.item is None:
            raise PublishError(found.problem)
        return found.item

    def _publish_or_problem(self, stored: Stored) -> _Published:
        try:
            return _Published(self._publish(stored))
        except PublishError as error:
            return _Published(None, f"cannot be published to {self.name}: {error}")
        except OSError as error:
            return _Published(None, f"{stored.path}: cannot be read ({error.strerror})")

    def _publish(self, stored: Stored) -> Item:
        spec, began = stored.manifest.spec, time.monotonic()
        item = Item.of(stored.path, public_name(stored, stored.path.name))
        if item.sha256 != stored.manifest.sha256:
            raise PublishError(f"{stored.path}: changed since it was verified; build it again")
        opened = open_store(self.store, spec.service, spec.version)
        row = Row(item, opened.address(item))
        publish([row], opened, self.store, _Watcher(self.host))
        took = "was there already" if row.state == "there already" else f"sent in {time.monotonic() - began:.1f} s"
        self.host.log(f"{item.name} {spec.version}: {item.size / _MB:.1f} MB {took}, {self.name} ({row.checked})")
        self.ctx.run.emit(
            ArtifactPublished(
                service=spec.service, store=self.name, file=item.name, sha256=item.sha256, state=row.state
            )
        )
        return item


class _Watcher:
    """Logs the progress of a slow file, on the target that publishes it."""

    def __init__(self, host: Host) -> None:
        self._host, self._logged = host, time.monotonic()

    def started(self, item: Item) -> None:
        self._logged = time.monotonic()

    def progressed(self, item: Item, done: int) -> None:
        if time.monotonic() - self._logged >= _PROGRESS_INTERVAL:
            self._logged = time.monotonic()
            self._host.log(f"{item.name}: {done / _MB:.1f} of {item.size / _MB:.1f} MB to the store")

    def finished(self, row: Row) -> None:
        """The caller logs it."""

    def report(self, line: str) -> None:
        self._host.log(line)
