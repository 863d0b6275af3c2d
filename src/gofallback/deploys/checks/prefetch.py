"""Reads the state of every host of a run in parallel, once. Sources are resolved meanwhile.

Without this the builder's plan would read one target after the other, while all others wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import gevent
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.context import ctx_host

from gofallback.deploys.building.specs import services_in_use, source_of
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import GofallbackError
from gofallback.facts.builder import builder_state
from gofallback.model import Service


def prefetch(ctx: RunContext, *, sources: bool) -> None:
    """Read every target that takes part, the builder in use, and the repositories.

    Args:
        ctx: the run and its hosts.
        sources: resolve each service's commit as well.

    Raises:
        GofallbackError, PyinfraError: the first error, in the order of the inventory.
    """
    command = ctx.run.command
    if command.only_builders and command.read_only:
        return  # its stage reads the builders, and no other host
    work: list[Callable[[], object]] = []
    if not command.only_builders:
        work += [_on(host, partial(state_of, ctx, host)) for host in ctx.targets]
    builders = [host for host in ctx.builders if command.all_builders or ctx.builds(host)]
    work += [_on(host, partial(builder_state, host, ctx.fleet(host).builder.root)) for host in builders]
    if sources:
        by_repository: dict[str, list[Service]] = {}
        for service in services_in_use(ctx):
            by_repository.setdefault(service.source.repository, []).append(service)
        # one mirror for each repository: its services take turns
        work += [partial(_resolve_all, ctx, services) for services in by_repository.values()]
    jobs = [gevent.spawn(_error_of, one) for one in work]
    gevent.joinall(jobs)
    errors = [job.value for job in jobs if job.value is not None]
    # status shows a target whose state cannot be read as a row
    if errors and not command.read_only:
        raise errors[0]


def _resolve_all(ctx: RunContext, services: list[Service]) -> None:
    for service in services:
        source_of(ctx, service)


def _on(host: Host, read: Callable[[], object]) -> Callable[[], object]:
    def read_on_host() -> object:
        with ctx_host.use(host):
            return read()

    return read_on_host


def _error_of(work: Callable[[], object]) -> Exception | None:
    try:
        work()
    except (GofallbackError, PyinfraError) as error:
        return error
    return None
