"""The run's lease in etcd, for controllers whose targets differ. With `rollout.lease: targets` there is none."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

import click

from gofallback.deploys.building.specs import services_in_use
from gofallback.deploys.rollout.waves import strategy
from gofallback.deploys.run.context import Key, RunContext
from gofallback.errors import GofallbackError
from gofallback.journal.events import LeaseTaken, LeaseTakenOver

if TYPE_CHECKING:
    from gofallback.etcd.lease import EtcdLease


_PROBLEM: Key[str | None] = Key("problem with the lease in etcd")


def check(ctx: RunContext) -> None:
    """Refuse a run whose lease in etcd belongs to a living run, or whose etcd does not answer.

    Raises:
        LeaseError, EtcdUrlError: one line.
    """
    lease = _lease(ctx)
    if lease is not None:
        lease.check()


def take(ctx: RunContext) -> str | None:
    """Take the lease, once for all targets; the problem, or None. It is watched, and given back at the end."""
    return ctx.once(_PROBLEM, lambda: _take(ctx))


def _take(ctx: RunContext) -> str | None:
    lease = _lease(ctx)
    if lease is None:
        return None
    try:
        lease.acquire()
    except GofallbackError as error:
        return str(error)
    atexit.register(lease.release)  # runs before the end of the run (registered earlier), which may take long
    ctx.watchers.append(lease.lost_reason)
    for taken in lease.takeovers:
        click.secho(f"    {lease.where}: {taken}", fg="red", err=True)
        ctx.run.emit(
            LeaseTakenOver(
                service=taken.service,
                where=str(lease.where),
                from_run=taken.run_id,
                from_who=taken.who,
                since=taken.since,
            )
        )
    for service in lease.services:
        ctx.run.emit(LeaseTaken(service=service, where=str(lease.where), ttl=lease.ttl))
    return None


def _lease(ctx: RunContext) -> EtcdLease | None:
    url = strategy(ctx).lease
    if url == "targets":
        return None

    from gofallback.etcd.lease import EtcdLease  # few runs need this client, and all would load it

    def say(line: str) -> None:
        click.secho(f"    {line}", fg="yellow", err=True)
        ctx.run.note(line)

    return EtcdLease(
        url,
        ctx.run.environment,
        [service.name for service in services_in_use(ctx)],
        strategy(ctx).lease_ttl,
        ctx.run.id,
        ctx.run.who,
        ctx.run.options.takeover,
        say,
    )
