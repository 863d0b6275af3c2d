"""The states of a run's targets, as read last."""

from __future__ import annotations

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from gofallback.deploys.run.context import RunContext
from gofallback.facts.target import target_state
from gofallback.model import Service
from gofallback.release.state import TargetState

#: Bytes; record, history and journal of a run take about ten KiB.
_LEAST_FREE = 256 * 1024


def state_of(ctx: RunContext, host: Host, *, refresh: bool = False) -> TargetState:
    """The state of a target as it was read last, or with ``refresh`` read now.

    A target that stops answering during the run does not end the run: its last state is used.

    Raises:
        FactError: the target does not answer.
    """
    known = ctx.target_states
    try:
        sudo = ctx.fleet(host).target.sudo
        known[host.name] = target_state(host, ctx.services(host), sudo=sudo, refresh=refresh)
    except PyinfraError:
        if refresh or host.name not in known:
            raise
    return known[host.name]


def health_problem(found: TargetState, service: Service, release: str | None) -> str | None:
    """The reason a target's release cannot stay, by its report now, or None.

    A target with a full disk cannot record the confirmation: it would go back although the others stay.
    """
    reason = found.services[service.name].health_problem(release)
    free = found.free.get(service.home)
    if reason is None and free is not None and free < _LEAST_FREE:
        reason = f"disk full: {free >> 10} KiB free below {service.home}, it cannot write down how this run ends"
    return reason
