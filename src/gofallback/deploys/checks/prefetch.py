"""Asks every host of a run at the same time, once: what it has. Sources are resolved meanwhile.

Without this the builder's own plan would ask one target after the other while all others wait.
"""

from __future__ import annotations

from collections.abc import Callable

import gevent
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.context import ctx_host

from gofallback.deploys.building.specs import resolve, services_in_use
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.target_state import state_of
from gofallback.errors import GofallbackError
from gofallback.facts.builder import builder_state
from gofallback.model import Service


def prefetch(ctx: RunContext, *, sources: bool) -> None:
    """Ask every target that takes part, the builder in use, and the repositories.

    Args:
        ctx: the run and its hosts.
        sources: resolve each service's commit as well.

    Raises:
        GofallbackError, PyinfraError: the first that failed, by the order of the inventory.
    """
    work: list[Callable[[], object]] = []
    command = ctx.run.command
    if command == "builds":
        return  # that stage asks the builders itself, and nobody else
    if command not in ("standby", "wipe"):
        work += [_on(host, lambda host=host: state_of(ctx, host)) for host in ctx.targets]  # type: ignore[misc]
    asked = [host for host in ctx.builders if command in ("standby", "wipe") or ctx.builds(host)]
    work += [
        _on(host, lambda host=host: builder_state(host, ctx.fleet(host).builder.root))  # type: ignore[misc]
        for host in asked
    ]
    if sources:
        shared: dict[str, list[Service]] = {}
        for service in services_in_use(ctx):
            shared.setdefault(service.source.repository, []).append(service)
        # one mirror a repository: its services take turns
        work += [lambda group=group: [resolve(ctx, one) for one in group] for group in shared.values()]  # type: ignore[misc]
    jobs = [gevent.spawn(_caught, one) for one in work]
    gevent.joinall(jobs)
    errors = [job.value for job in jobs if job.value is not None]
    # status shows a target that does not tell its state as a row
    if errors and command != "status":
        raise errors[0]


def _on(host: Host, ask: Callable[[], object]) -> Callable[[], object]:
    def asked() -> object:
        with ctx_host.use(host):
            return ask()

    return asked


def _caught(work: Callable[[], object]) -> Exception | None:
    try:
        work()
    except (GofallbackError, PyinfraError) as error:
        return error
    return None
