"""Starts, follows, confirms and reverts an activation on a target, also across broken connections.

The target switches, restarts, checks and goes back on its own (docs/agent.md); the controller watches, and rejoins.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.facts.target import forget
from gofallback.operations.target.channel import BrokenError, SecondConnection, TargetCommand, alive, reconnect, run
from gofallback.operations.target.lease import renew
from gofallback.release import activation
from gofallback.release.activation import ActivationOutcome, Order
from gofallback.runid import same_run

#: Seconds without output after which the target is probed.
_IDLE_TIMEOUT = 5.0
#: Seconds beyond the limit of the agent's `follow` after which the controller stops following.
_GRACE = 5.0


@dataclass(frozen=True)
class TargetHost:
    """One target, and how long its steps wait for it."""

    state: State
    host: Host
    """Its leases are held (`operations.target.lease`)."""
    timeout: float
    """Seconds for one activation, confirmation or way back; the target carries on by itself afterwards."""
    sudo: bool = True
    reconnect_window: float | None = None
    """Seconds for which a target that stopped answering is waited for; None: until `timeout`."""


def activate(
    target: TargetHost,
    order: Order,
    *,
    sha256: str | None = None,
    window: float = 0.0,
    reason: str = "",
    keep_failed: bool = False,
) -> ActivationOutcome:
    """Make a release live on one target, or learn why not. Never raises.

    A rollback is the same with the older release's name and a run id of its own: the agent does nothing twice for the
    same run.

    Args:
        target: where.
        order: the release; its run is the one that activates.
        sha256: of the binary; default: what the release's manifest says.
        window: seconds within which `confirm` has to come, else the target goes back by itself; 0: no confirmation.
        reason: why the run is made; kept in the target's journal.
        keep_failed: a release that fails its gate stays (`rollout.revert: none`).
    """

    def script(left: float) -> str:
        return activation.start(
            order, timeout=left, sha256=sha256, window=window, reason=reason, keep_failed=keep_failed
        )

    began = time.monotonic()
    outcome = _follow_to_end(target, order, script)
    if outcome.state == "provisional" and not same_run(outcome.run_id, order.run_id):
        # An activation of another run was joined. Only that run could confirm it, and it is gone.
        target.host.log(f"{order.service}: run {outcome.run_id} will not confirm it; activated again for this run")
        left = max(_GRACE, target.timeout - (time.monotonic() - began))
        outcome = _follow_to_end(replace(target, timeout=left), order, script)
    _log_outcome(target.host, outcome)
    return outcome


def revert(target: TargetHost, order: Order, *, reason: str) -> ActivationOutcome:
    """Take a provisional release back: `reverted` when the earlier one answers again. Never raises.

    A release that is confirmed already is `refused`.

    Args:
        target: where.
        order: the provisional release, and the run that made it live.
        reason: why; one line.
    """
    outcome = _follow_to_end(target, order, lambda left: activation.revert(order, timeout=left, reason=reason))
    if outcome.state == "confirmed":
        return replace(outcome, state="refused", reason=f"run {order.run_id} is confirmed there; roll back instead")
    return outcome


def confirm(
    target: TargetHost, order: Order, *, head: str = "", via: SecondConnection | None = None
) -> ActivationOutcome:
    """Confirm a provisional release on one target; `unknown` when the target cannot be reached. Never raises.

    Safe to repeat, and repeated here when the connection breaks: the answer is `confirmed` if an earlier attempt
    arrived, `reverted` if all came too late.

    Args:
        target: where.
        order: the provisional release, and the run that made it live.
        head: hash of the last line of the controller's journal, kept in the target's.
        via: a connection made for it; default: the host's own.
    """
    forget(target.host)
    script = activation.confirm(order, head)
    deadline = time.monotonic() + target.timeout
    pause, broken = 0.1, "no time was left"
    while (left := deadline - time.monotonic()) > 0:
        try:
            if via is not None:
                code, lines = via.run(script, sudo=target.sudo, timeout=max(1.0, left))
            else:
                code, lines = run(target.state, target.host, script, sudo=target.sudo, timeout=max(1.0, left))
            return activation.outcome(order, lines, code)
        except BrokenError as error:
            broken = str(error)
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(1.0, pause * 2)
        if via is None:
            reconnect(target.host)
    reason = f"it could not be confirmed: {broken}; the target goes back by itself unless the confirmation reached it"
    return ActivationOutcome("unknown", order.release, reason=reason, run_id=order.run_id)


def _log_outcome(host: Host, outcome: ActivationOutcome) -> None:
    """Log how an activation ended: one line, red and after its evidence when the release is not live and healthy."""
    if outcome.ok:
        until = f", to be confirmed until {outcome.deadline} (its clock)" if outcome.deadline else ""
        host.log_styled(f"{outcome.release} is live and healthy ({outcome.seconds:.1f} s){until}", fg="green")
        return
    for line in outcome.evidence:
        host.log(f"  {line}")
    host.log_styled(describe(outcome), fg="red")


def describe(outcome: ActivationOutcome) -> str:
    """One line for a person: how the activation ended, why, and what runs now."""
    now = f"{outcome.live} runs now" if outcome.live else "nothing runs now"
    if outcome.healthy is False and outcome.live:
        now += ", and is not healthy"
    why = f": {outcome.reason}" if outcome.reason else ""
    if outcome.state in ("refused", "unknown"):
        return f"{outcome.release} {outcome.state}{why}"
    return f"{outcome.release} {outcome.state}{why}; {now}"


def _follow_to_end(target: TargetHost, order: Order, script: Callable[[float], str]) -> ActivationOutcome:
    """Run `script(seconds left)`, which starts or joins an activation, as often as the connection breaks."""
    forget(target.host)
    deadline = time.monotonic() + target.timeout
    broken, silent = "", 0.0
    while (left := deadline - time.monotonic()) > 0:
        try:
            return _follow(target, order, script(left), deadline + _GRACE)
        except BrokenError as error:
            broken = str(error)
        target.host.log_styled(
            f"{order.service}: connection lost ({broken}); the target goes on alone, reconnecting", fg="yellow"
        )
        broke = time.monotonic()
        window = deadline - broke if target.reconnect_window is None else target.reconnect_window
        back = _reconnected(target, min(deadline, broke + window))
        silent = time.monotonic() - broke
        if not back:
            break
    reason = f"the target did not answer any more ({broken})" if broken else "it was still at work"
    return ActivationOutcome(
        "unknown",
        order.release,
        reason=f"{reason}; {silent or target.timeout:.0f} s are over, the target decides alone; "
        "run `status` once it can be reached",
        run_id=order.run_id,
        silent=silent,
    )


def _follow(target: TargetHost, order: Order, script: str, deadline: float) -> ActivationOutcome:
    lines: list[str] = []
    with closing(TargetCommand(target.state, target.host, script, sudo=target.sudo)) as command:
        command.end_input()
        for line in command.lines(idle_timeout=_IDLE_TIMEOUT):
            if line is None:
                if not alive(target.host):
                    raise BrokenError(f"no answer for {2 * _IDLE_TIMEOUT:g} s")
                if time.monotonic() > deadline:
                    raise BrokenError("the watch on the target does not end")
                continue
            lines.append(line)
            stage = activation.stage(line)
            if stage:
                name, seconds, detail = stage
                target.host.log(f"{seconds:6.1f} s  {name}" + (f": {detail}" if detail else ""))
            elif line.startswith("join\t"):
                target.host.log(f"joined the activation of run {line.partition(chr(9))[2]}")
        return activation.outcome(order, lines, command.status())


def _reconnected(target: TargetHost, deadline: float) -> bool:
    """Whether the target is connected again before the deadline."""
    pause = 0.2
    while time.monotonic() < deadline:
        if reconnect(target.host):
            renew(
                target.state, target.host
            )  # without a lease, the name of the activation's unit still keeps others off
            return True
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2.0, pause * 2)
    return False
