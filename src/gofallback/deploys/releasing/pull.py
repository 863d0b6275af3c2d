"""Targets that pull: the binary goes to the store once, whoever of them comes first, and each is told where it lies."""

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

#: Seconds between two lines about a file on its way to the store.
_TELL = 5.0
_MB = 1_000_000


_STORE_PROBLEM: Key[str | None] = Key("problem of a store")
_TURN: Key[Any] = Key("turn at a store")
_PUBLISHED: Key[_Published] = Key("published file")


def check_pull_store(ctx: RunContext, host: Host, want: DesiredRelease) -> None:
    """While planning: what a target pulls with is there, and not missing an hour later.

    Raises:
        RefusedError: it is not, and `target.pull_fallback` is none.
    """
    target = ctx.fleet(host).target
    if target.delivery == "push":
        return
    name, store = _store(ctx, host)
    problem = ctx.once(_STORE_PROBLEM(store.model_dump_json()), lambda: _unusable(store, want))
    if problem is None:
        host.log(f"{want.service.name}: pulls its binary from {name}")
    elif target.pull_fallback == "none":
        raise RefusedError(f"publish.stores.{name}: {problem}; nothing was changed")
    else:
        ctx.run.note(f"cannot pull from {name}, so binaries are pushed: {problem}")


def _unusable(store: PublishStore, want: DesiredRelease) -> str | None:
    try:
        check_readable(store, want.service.name, want.files.version)
    except PublishError as error:
        return str(error)
    return None


def with_pull_sources(
    ctx: RunContext, host: Host, want: DesiredRelease, upload: Upload, binaries: Sequence[Stored]
) -> Upload:
    """The upload as the target's data wants it to come: with a source for each of its binaries where it pulls.

    Args:
        ctx: the run.
        host: the target.
        want: the release.
        upload: what the target lacks.
        binaries: the artifacts of the service, without the agent's: that one fetches, and is sent.

    Raises:
        PublishError: the store does not take one, and `target.pull_fallback` is none.
    """
    target = ctx.fleet(host).target
    lacking = {one.local for one in upload.programs if not one.copies}
    mine = [stored for stored in binaries if stored.path in lacking]
    if target.delivery == "push" or not mine:
        return upload
    name, store = _store(ctx, host)
    sources = {}
    try:
        for stored in mine:
            spec, item = stored.manifest.spec, _published(ctx, host, name, store, stored)
            sources[stored.path] = source(name, store, spec.service, spec.version, item, target)
    except PublishError as error:
        if target.pull_fallback == "none":
            raise
        ctx.run.note(f"cannot pull from {name}, so binaries are pushed: {error}")
        host.log_styled(f"{want.service.name}: {error}; it is pushed instead", fg="yellow")
        return upload
    return replace(upload, programs=tuple(replace(one, source=sources.get(one.local)) for one in upload.programs))


def push_fallback(ctx: RunContext, host: Host, want: DesiredRelease) -> Callable[[str], None] | None:
    """What hears why a target that pulls was pushed to; None: it is not to be."""
    if ctx.fleet(host).target.pull_fallback == "none":
        return None
    return lambda why: ctx.run.note(f"{host.name}: {want.service.name} was pushed, as it {why}")


def _store(ctx: RunContext, host: Host) -> tuple[str, PublishStore]:
    fleet = ctx.fleet(host)
    name = fleet.publish.store_name(fleet.target.pull_from) if fleet.publish else None
    if fleet.publish is None or name is None:  # parse_fleet has refused this
        raise RefusedError("target.delivery: pull needs a store of `publish`")
    return name, fleet.publish.stores[name]


def _published(ctx: RunContext, host: Host, name: str, store: PublishStore, stored: Stored) -> Item:
    """The file as it lies in the store: the first target that comes sends it, the others wait and hear the same."""
    turn = ctx.once(_TURN(store.url), RLock)
    with turn:  # one file after the other: registries want that of one package
        found = ctx.once(
            _PUBLISHED(store.url, stored.path), lambda: _publish_or_problem(ctx, host, name, store, stored)
        )
    if found.item is None:
        raise PublishError(found.problem)
    return found.item


@dataclass(frozen=True)
class _Published:
    """A file in the store, or why it is not there: the first failure is everybody's."""

    item: Item | None
    problem: str = ""


def _publish_or_problem(ctx: RunContext, host: Host, name: str, store: PublishStore, stored: Stored) -> _Published:
    try:
        return _Published(_publish(ctx, host, name, store, stored))
    except PublishError as error:
        return _Published(None, f"cannot be published to {name}: {error}")
    except OSError as error:
        return _Published(None, f"{stored.path}: cannot be read ({error.strerror})")


def _publish(ctx: RunContext, host: Host, name: str, store: PublishStore, stored: Stored) -> Item:
    spec, began = stored.manifest.spec, time.monotonic()
    item = Item.of(stored.path, public_name(stored, stored.path.name))
    if item.sha256 != stored.manifest.sha256:
        raise PublishError(f"{stored.path}: changed since it was verified; build it again")
    opened = open_store(store, spec.service, spec.version)
    row = Row(item, opened.address(item))
    publish([row], opened, store, _Watcher(host))
    took = "was there already" if row.state == "there already" else f"sent in {time.monotonic() - began:.1f} s"
    host.log(f"{item.name} {spec.version}: {item.size / _MB:.1f} MB {took}, {name} ({row.checked})")
    ctx.run.emit(
        ArtifactPublished(service=spec.service, store=name, file=item.name, sha256=item.sha256, state=row.state)
    )
    return item


class _Watcher:
    """Says how far a slow file is, on behalf of the target that came first."""

    def __init__(self, host: Host) -> None:
        self._host, self._told = host, time.monotonic()

    def started(self, item: Item) -> None:
        self._told = time.monotonic()

    def progressed(self, item: Item, done: int) -> None:
        if time.monotonic() - self._told >= _TELL:
            self._told = time.monotonic()
            self._host.log(f"{item.name}: {done / _MB:.1f} of {item.size / _MB:.1f} MB to the store")

    def finished(self, row: Row) -> None:
        """The run says it."""

    def report(self, line: str) -> None:
        self._host.log(line)
