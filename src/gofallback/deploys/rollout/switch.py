"""Makes one release live on one target, records the target's phase, confirms the release or takes it back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.outcome import TargetOutcome
from gofallback.deploys.run.state import Run
from gofallback.deploys.run.target_state import state_of
from gofallback.model import Service
from gofallback.operations.target import activate as target
from gofallback.operations.target import lease
from gofallback.operations.target.channel import SecondConnection
from gofallback.release.activation import ActivationOutcome, Order
from gofallback.rollout.phases import GOOD, TargetPhase, after_activation

#: Seconds on top of all that a target does alone, for connecting and for a busy machine.
_MARGIN = 30.0

#: Seconds for which a target is followed although the deadline is over: its own report counts, not a guess.
_LEAST = 5.0


@dataclass(frozen=True)
class Switch:
    """What a run does with one service of one target."""

    service: Service
    release: str
    """Folder name of the release that is to be live at the end."""
    sha256: str | None
    how: Literal["nothing", "activate", "confirm", "revert"]
    """`confirm`: the release is live and provisional already; `revert`: another one is provisional, and goes back to
    it."""
    run_id: str = ""
    """The run that made a release provisional there, if it is not this one."""
    of: str = ""
    """Folder of the provisional release. Its agent takes it back: that of the earlier one may be older, or missing."""

    @property
    def needed(self) -> bool:
        """Whether anything changes on the target."""
        return self.how != "nothing"


@dataclass(frozen=True)
class ServiceOnTarget:
    """One service on one target, as its agent gets orders for it."""

    ctx: RunContext
    host: Host
    service: Service

    @property
    def outcome(self) -> TargetOutcome:
        """What the run knows of it."""
        return self.ctx.run.outcome(self.host.name, self.service.name)

    @property
    def reconnect_window(self) -> float:
        """Seconds after which a target that does not answer has decided alone: its gate, its window, the way back."""
        return confirm_window(self.ctx, self.host) + 2 * self.service.health.start_deadline + _MARGIN

    def target(self) -> target.TargetHost:
        """The target, and how long it is waited for."""
        sudo = self.ctx.fleet(self.host).target.sudo
        timeout = activation_timeout(self.ctx, self.host)
        return target.TargetHost(self.ctx.state, self.host, timeout, sudo, self.reconnect_window)

    def order(self, release: str | None, run_id: str | None = None) -> Order:
        """An order about a release.

        Args:
            release: its folder; None: none.
            run_id: the run whose activation it is; default: this run.
        """
        run, number = self.ctx.run, lease.number(self.host, self.service.name)
        return Order(self.service.name, self.service.home, release or "", run_id or run.id, run.who, number)


def start(ctx: RunContext, host: Host, switch: Switch) -> bool:
    """Start an activation, follow it, and record the target's phase.

    When it fails, the target's other services that this run switched go back too.

    Returns:
        False when the target failed. A target that is lost in the middle did not fail yet: it decides alone, and is
        read again at the end.
    """
    run, on = ctx.run, ServiceOnTarget(ctx, host, switch.service)
    name, outcome = switch.service.name, on.outcome
    outcome.release = switch.release or None
    run.set_phase(outcome, TargetPhase.SWITCHING)
    outcome.reason = _unfollowed(confirm_window(ctx, host))  # for the report, should the run end meanwhile
    if switch.how == "revert":
        record_outcome(run, outcome, _take_back(on, switch), taking_back=True)
        good = outcome.phase is TargetPhase.TAKEN_BACK
        text = f"back at {outcome.live or 'nothing'}" if good else str(outcome.reason)
        host.log_styled(f"{name}: {text}", fg="green" if good else "red")
    else:
        found = _activate(on, switch)
        record_outcome(run, outcome, found)
        good = found.ok
    if not good and not outcome.lost:
        run.set_first_cause(outcome.reason or outcome.phase, host=host.name, service=name)
        # Later operations leave this host out, so the other services that this run switched here go back now.
        roll_back(ctx, host, f"{name} on {host.name}")
    return good or bool(ctx.services_in(host, TargetPhase.LOST))


def _unfollowed(window: float) -> str:
    """Why a target is still `switching` when the run ends; for a confirm window of so many seconds."""
    begun = "its activation was begun and not followed to the end; the target ends it alone"
    if not window:
        return f"{begun}, deploys/status.py says how"
    return f"{begun}, and goes back {window:g} s after it was healthy, as this run cannot confirm it"


def _take_back(on: ServiceOnTarget, switch: Switch) -> ActivationOutcome:
    run, order = on.ctx.run, on.order(switch.of or switch.release, switch.run_id)
    return target.revert(on.target(), order, reason=run.why or f"taken back by run {run.id}")


def _activate(on: ServiceOnTarget, switch: Switch) -> ActivationOutcome:
    return target.activate(
        on.target(),
        on.order(switch.release),
        sha256=switch.sha256,
        window=confirm_window(on.ctx, on.host),
        reason=on.ctx.run.why,
        keep_failed=on.ctx.fleet(on.host).rollout.revert == "none",
    )


def activation_timeout(ctx: RunContext, host: Host) -> float:
    """Seconds for which one target is waited for; a rollback has one deadline for the whole fleet."""
    rollout = ctx.fleet(host).rollout
    if not ctx.run.command.all_at_once:
        return rollout.activate_timeout
    left = rollout.rollback_deadline - (ctx.run.elapsed - ctx.run.executing_since)
    return max(_LEAST, min(left, rollout.activate_timeout))


def confirm_window(ctx: RunContext, host: Host) -> float:
    """Seconds a release stays provisional without a confirmation; 0 in a rollback or abort: nothing is provisional."""
    return 0.0 if ctx.run.goes_back else float(ctx.fleet(host).rollout.confirm_window)


def record_outcome(run: Run, outcome: TargetOutcome, found: ActivationOutcome, *, taking_back: bool = False) -> None:
    """Record what the target reported. A target that refused keeps the release that ran before.

    Args:
        run: the run.
        outcome: the service on the target.
        found: the report of the target's agent.
        taking_back: the run takes a release back.
    """
    if found.state not in ("refused", "unknown"):
        outcome.live, outcome.healthy = found.live, found.healthy
    outcome.seconds += found.seconds
    outcome.evidence = tuple(found.evidence)
    # The way back is `interrupted` only when no dead-man's switch is armed either: follow -final waits for that one.
    ends_alone = found.ends_alone and not taking_back
    phase = after_activation(found.state, taking_back=taking_back, ends_alone=ends_alone)
    if phase is TargetPhase.PROVISIONAL:
        outcome.deadline, outcome.deadline_read = found.deadline, run.elapsed
    if phase is TargetPhase.LOST:
        outcome.live = None
        run.set_lost(outcome, f"{_LOST_BECAUSE[found.state]}: {found.reason}", silent_for=found.silent)
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


def confirm(ctx: RunContext, host: Host, service: Service, via: SecondConnection) -> bool:
    """Order a target, over a new connection, to keep its release."""
    on = ServiceOnTarget(ctx, host, service)
    outcome, reached = on.outcome, on.target()
    found = target.confirm(
        replace(reached, timeout=min(reached.timeout, on.reconnect_window)),
        on.order(outcome.release, outcome.run_id),
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
    ctx.run.set_first_cause(outcome.reason or "not confirmed", host=host.name, service=service.name)
    return False


def roll_back(ctx: RunContext, host: Host, reason: str) -> bool:
    """Take every provisional release of this run on a target back to the release before.

    Args:
        ctx: the run.
        host: the target.
        reason: what failed, and where.

    Returns:
        True when nothing was provisional, or when the target was lost on the way: it is waited for at the end.
    """
    switched = [
        on
        for service in ctx.services(host)
        if (on := ServiceOnTarget(ctx, host, service)).outcome.phase is TargetPhase.PROVISIONAL
    ]
    for on in switched:
        _roll_back_service(on, reason)
    return not switched or any(on.outcome.lost for on in switched)


def _roll_back_service(on: ServiceOnTarget, reason: str) -> None:
    run, name, outcome = on.ctx.run, on.service.name, on.outcome
    before = outcome.previous or "nothing"
    on.host.log_styled(f"{name}: back to {before}, because of {reason}", fg="yellow")
    found = target.revert(on.target(), on.order(outcome.release, outcome.run_id), reason=reason)
    phase = after_activation(found.state, ends_alone=False)  # as in `record_outcome`, while taking back
    if phase is TargetPhase.LOST:
        run.set_lost(outcome, f"lost on the way back: {found.reason}", silent_for=found.silent)
        return
    if found.state == "refused":  # fenced: another run decides what runs there now
        _read_live(on)
    else:
        outcome.live, outcome.healthy = found.live, found.healthy
    if phase is TargetPhase.REVERTED:
        run.set_phase(outcome, phase, f"went back, because of {reason}")
    else:
        run.set_phase(outcome, TargetPhase.FAILED, f"could not go back to {before}: {found.reason}")
        on.host.log_styled(f"{name}: {outcome.reason}", fg="red")


def _read_live(on: ServiceOnTarget) -> None:
    """Read from the target what is live there now."""
    outcome = on.outcome
    outcome.healthy = None
    try:
        found = state_of(on.ctx, on.host, refresh=True).services[on.service.name]
    except PyinfraError:
        return  # the reason says enough
    outcome.live, outcome.healthy = found.current, found.health.healthy if found.health else None
