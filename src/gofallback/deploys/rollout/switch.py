"""Makes one release live on one target and keeps what became of it; and the way back for a target that was well."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.state import Run, TargetOutcome
from gofallback.deploys.run.target_state import state_of
from gofallback.model import Service
from gofallback.operations.target import activate as target
from gofallback.operations.target import lease
from gofallback.operations.target.channel import SecondConnection
from gofallback.release.activation import ActivationOutcome, Order
from gofallback.rollout.phases import GOOD, TargetPhase, after_activation

#: Seconds beyond all that a target does alone, for connecting and for a busy machine.
_MARGIN = 30.0

#: Seconds a target is waited for although the deadline is over: what it did is asked, not guessed.
_LEAST = 5.0


@dataclass(frozen=True)
class Switch:
    """What a run does with one service of one target."""

    service: Service
    release: str
    """Folder name of the release that is to be live at the end."""
    sha256: str | None
    how: Literal["nothing", "activate", "confirm", "revert"]
    """`confirm`: it is live and provisional already; `revert`: what is provisional there goes back to it."""
    run_id: str = ""
    """The run whose release is provisional there, if it is not this one."""
    of: str = ""
    """Folder of that release. Its agent can take it back; the one it goes back to may be older, or not there at all."""

    @property
    def needed(self) -> bool:
        """Whether anything changes on the target."""
        return self.how != "nothing"


def start(state: State, host: Host, ctx: RunContext, switch: Switch) -> bool:
    """Step: start an activation, follow it, and record the target's phase.

    Returns:
        False when the target failed. A target that is lost in the middle did not fail yet: it decides alone, and is
        read again at the end.
    """
    run, name = ctx.run, switch.service.name
    outcome = run.outcome(host.name, name)
    outcome.release = switch.release or None
    run.set_phase(outcome, TargetPhase.SWITCHING, _unfollowed(confirm_window(ctx, host)))
    if switch.how == "revert":
        record_outcome(run, outcome, _take_back(state, host, ctx, switch), taking_back=True)
        good = outcome.phase is TargetPhase.TAKEN_BACK
        text = f"back at {outcome.live or 'nothing'}" if good else str(outcome.reason)
        host.log_styled(f"{name}: {text}", fg="green" if good else "red")
    else:
        found = _activate(state, host, ctx, switch)
        record_outcome(run, outcome, found)
        good = target.log_outcome(host, found)
    if not good and not outcome.lost:
        run.blame(host.name, name, outcome.reason or outcome.phase)
    return good or outcome.lost


def _unfollowed(window: float) -> str:
    """Why a target is still `switching` when the run ends; for a confirm window of so many seconds."""
    begun = "its activation was begun and not followed to the end; the target ends it alone"
    if not window:
        return f"{begun}, deploys/status.py says how"
    return f"{begun}, and goes back {window:g} s after it was well, as nobody confirms it"


def _target(state: State, host: Host, ctx: RunContext, service: Service) -> target.TargetHost:
    return target.TargetHost(
        state,
        host,
        activation_timeout(ctx, host),
        ctx.fleet(host).target.sudo,
        reconnect_window(ctx, host, service),
    )


def _order(ctx: RunContext, host: Host, service: Service, release: str | None, run_id: str) -> Order:
    number = lease.number(host, service.name)
    return Order(service.name, service.home, release or "", run_id, ctx.run.who, number)


def _take_back(state: State, host: Host, ctx: RunContext, switch: Switch) -> ActivationOutcome:
    service, run = switch.service, ctx.run
    return target.revert(
        _target(state, host, ctx, service),
        _order(ctx, host, service, switch.of or switch.release, switch.run_id),
        reason=run.why or f"taken back by run {run.id}",
    )


def _activate(state: State, host: Host, ctx: RunContext, switch: Switch) -> ActivationOutcome:
    service, run = switch.service, ctx.run
    return target.activate(
        _target(state, host, ctx, service),
        _order(ctx, host, service, switch.release, run.id),
        sha256=switch.sha256,
        window=confirm_window(ctx, host),
        reason=run.why,
        keep_failed=ctx.fleet(host).rollout.revert == "none",
    )


def activation_timeout(ctx: RunContext, host: Host) -> float:
    """Seconds one target is waited for: a rollback has one deadline for all of it."""
    rollout = ctx.fleet(host).rollout
    if not ctx.run.command.all_at_once:
        return rollout.activate_timeout
    left = rollout.rollback_deadline - (ctx.run.elapsed - ctx.run.executing_since)
    return max(_LEAST, min(left, rollout.activate_timeout))


def confirm_window(ctx: RunContext, host: Host) -> float:
    """Seconds a release stays provisional without news; 0 on the way back, where nothing is taken back."""
    return 0.0 if ctx.run.goes_back else float(ctx.fleet(host).rollout.confirm_window)


def reconnect_window(ctx: RunContext, host: Host, service: Service) -> float:
    """Seconds after which a target that does not answer has decided alone: its gate, its window, the way back."""
    return confirm_window(ctx, host) + 2 * service.health.start_deadline + _MARGIN


def record_outcome(run: Run, outcome: TargetOutcome, found: ActivationOutcome, *, taking_back: bool = False) -> None:
    """Take over what the target reported. Where it refused, what ran before runs on.

    Args:
        run: the run.
        outcome: the service on the target.
        found: the report of the target's agent.
        taking_back: the run wanted an earlier release back.
    """
    if found.state not in ("refused", "unknown"):
        outcome.live, outcome.healthy = found.live, found.healthy
    outcome.seconds += found.seconds
    outcome.evidence = tuple(found.evidence)
    phase = after_activation(found.state, taking_back=taking_back, ends_alone=found.ends_alone)
    if phase is TargetPhase.PROVISIONAL:
        outcome.deadline, outcome.deadline_read = found.deadline, run.elapsed
    if phase is TargetPhase.LOST:
        outcome.live = None
        run.set_lost(outcome, f"{_LOST_BECAUSE[found.state]}: {found.reason}", unheard=found.silent)
    elif phase in GOOD or phase is TargetPhase.PROVISIONAL:
        run.set_phase(outcome, phase)
    elif taking_back and found.state == "confirmed":
        run.set_phase(
            outcome, phase, f"{found.release} was confirmed meanwhile and stays; deploys/rollback.py goes back"
        )
    else:
        plain = found.state in ("failed", "reverted")
        run.set_phase(outcome, phase, found.reason if plain else f"{found.state}: {found.reason}")


_LOST_BECAUSE = {"unknown": "lost", "interrupted": "interrupted, and ended by its dead-man's switch"}


def confirm(state: State, host: Host, ctx: RunContext, service: Service, via: SecondConnection) -> bool:
    """Step: tell a target, over a new connection, that its release stays."""
    outcome, reached = ctx.run.outcome(host.name, service.name), _target(state, host, ctx, service)
    found = target.confirm(
        replace(reached, timeout=min(reached.timeout, reconnect_window(ctx, host, service))),
        _order(ctx, host, service, outcome.release, outcome.run_id or ctx.run.id),
        head=ctx.run.journal.head,
        via=via,
    )
    if found.state == "confirmed":
        outcome.live, outcome.healthy = found.live or outcome.release, True
        ctx.run.set_phase(outcome, TargetPhase.CONFIRMED)
        return True
    outcome.live = found.live or outcome.live
    outcome.healthy = found.healthy
    phase = after_activation(found.state)
    if phase is TargetPhase.LOST:
        ctx.run.set_lost(outcome, f"the confirmation did not reach it: {found.reason}")
    else:
        ctx.run.set_phase(outcome, phase, found.reason)
    host.log_styled(f"{service.name}: not confirmed: {found.reason}", fg="red")
    ctx.run.blame(host.name, service.name, outcome.reason or "not confirmed")
    return False


def roll_back(state: State, host: Host, ctx: RunContext, services: Iterable[Service], reason: str) -> bool:
    """Back to what was live before this run, where that is not confirmed yet.

    Args:
        state: pyinfra's.
        host: the target.
        ctx: the run and its hosts.
        services: which of its services.
        reason: what failed, and where.

    Returns:
        True when there was nothing to take back, or when the target was lost on the way: it is waited for at the end.
    """
    taken = []
    for service in services:
        outcome = ctx.run.outcome(host.name, service.name)
        if outcome.phase is TargetPhase.PROVISIONAL:
            _roll_back_service(state, host, ctx, service, reason)
            taken.append(outcome)
    return not taken or any(outcome.lost for outcome in taken)


def _roll_back_service(state: State, host: Host, ctx: RunContext, service: Service, reason: str) -> None:
    outcome = ctx.run.outcome(host.name, service.name)
    host.log_styled(f"{service.name}: back to {outcome.previous or 'nothing'}, because of {reason}", fg="yellow")
    found = target.revert(
        _target(state, host, ctx, service),
        _order(ctx, host, service, outcome.release, outcome.run_id or ctx.run.id),
        reason=reason,
    )
    phase = after_activation(found.state, ends_alone=found.ends_alone)
    if phase is TargetPhase.LOST:
        ctx.run.set_lost(outcome, f"lost on the way back: {found.reason}", unheard=found.silent)
        return
    if found.state == "refused":  # fenced: what runs there now is another run's doing
        _read_back(ctx, host, outcome)
    else:
        outcome.live, outcome.healthy = found.live, found.healthy
    if phase is TargetPhase.REVERTED:
        ctx.run.set_phase(outcome, phase, f"went back, because of {reason}")
    else:
        text = f"could not go back to {outcome.previous or 'nothing'}: {found.reason}"
        ctx.run.set_phase(outcome, TargetPhase.FAILED, text)
        host.log_styled(f"{service.name}: {outcome.reason}", fg="red")


def _read_back(ctx: RunContext, host: Host, outcome: TargetOutcome) -> None:
    outcome.healthy = None
    try:
        found = state_of(ctx, host, refresh=True).services[outcome.service]
    except PyinfraError:
        return  # the reason says enough
    outcome.live, outcome.healthy = found.current, found.health.healthy if found.health else None
