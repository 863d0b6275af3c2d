"""The run's lease in etcd, for controllers whose targets differ; with `rollout.lease: targets` there is none."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

import click

from gofallback.deploys.building.specs import services_in_use
from gofallback.deploys.rollout.waves import strategy
from gofallback.deploys.run.context import Site
from gofallback.errors import GofallbackError

if TYPE_CHECKING:
    from gofallback.etcd.lease import EtcdLease


def check(here: Site) -> None:
    """Refuse a run whose lease in etcd a living run has, or whose etcd does not answer.

    Raises:
        LeaseError, EtcdUrlError: one line.
    """
    lease = _lease(here)
    if lease is not None:
        lease.check()


def take(here: Site) -> str | None:
    """Take the lease, once for all targets; why there is none, or None. It is watched, and given back at the end."""
    with here.lock:
        if "etcd" not in here.memo:
            here.memo["etcd"] = _take(here)
        problem: str | None = here.memo["etcd"]
        return problem


def _take(here: Site) -> str | None:
    lease = _lease(here)
    if lease is None:
        return None
    try:
        lease.acquire()
    except GofallbackError as error:
        return str(error)
    atexit.register(lease.release)  # runs before what was registered earlier: the end of the run, which may take long
    here.memo.setdefault("watch", []).append(lease.lost)
    for taken in lease.takeovers:
        click.secho(f"    {lease.where}: {taken}", fg="red", err=True)
        said = {"from_run": taken.run_id, "from_who": taken.who, "since": taken.since}
        here.run.tell("takeover", service=taken.service, where=str(lease.where), **said)
    for service in lease.services:
        here.run.tell("lease", service=service, where=str(lease.where), ttl=lease.ttl)
    return None


def _lease(here: Site) -> EtcdLease | None:
    url = strategy(here).lease
    if url == "targets":
        return None

    from gofallback.etcd.lease import EtcdLease  # a client that few runs need, and all would load

    def say(line: str) -> None:
        click.secho(f"    {line}", fg="yellow", err=True)
        here.run.note(line)

    return EtcdLease(
        url,
        here.run.environment,
        [service.name for service in services_in_use(here)],
        strategy(here).lease_ttl,
        here.run.id,
        here.run.who,
        here.run.options.takeover,
        say,
    )
