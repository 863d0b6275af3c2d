"""Starts an activation on a target and follows it to its end, whatever becomes of the connection; confirms it, or takes
it back.

The target switches, restarts, checks and goes back by itself (docs/agent.md); this only watches, and joins again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.facts.target import forget
from gofallback.operations.target.channel import BrokenError, SecondConnection, TargetCommand, alive, reconnect, run
from gofallback.operations.target.lease import renew
from gofallback.release import activation
from gofallback.release.activation import ActivationOutcome, Order
from gofallback.runid import same_run

#: Seconds of silence after which it is asked whether the target is still there.
SILENCE = 5.0
#: Seconds beyond `follow`'s own limit that the controller still listens.
GRACE = 5.0


def activate(
    state: State,
    host: Host,
    order: Order,
    *,
    timeout: float,
    sha256: str | None = None,
    sudo: bool = True,
    window: float = 0.0,
    reason: str = "",
    keep_failed: bool = False,
    silence: float | None = None,
) -> ActivationOutcome:
    """Make a release live on one target, or learn why not. Never raises.

    Going back is the same with the older release's name, and a run id of its own: the agent does nothing twice for
    the same run.

    Args:
        state: pyinfra's.
        host: the target; the service's lease is held (`operations.lease`).
        order: which release, which is there; its run is the one that activates.
        timeout: `rollout.activate_timeout`, seconds.
        sha256: of the binary; default: what the release's manifest says.
        sudo: `target.sudo`.
        window: seconds within which `confirm` has to come, else the target goes back by itself; 0: no confirmation.
        reason: why the run is made; kept in the target's journal.
        keep_failed: a release that fails its gate stays (`rollout.revert: none`).
        silence: seconds a target that does not answer any more is waited for; default: until `timeout`.
    """

    def script(left: float) -> str:
        return activation.start(
            order, timeout=left, sha256=sha256, window=window, reason=reason, keep_failed=keep_failed
        )

    began = time.monotonic()
    outcome = _watched(state, host, order, script, timeout, sudo, silence)
    if outcome.state == "provisional" and not same_run(outcome.run_id, order.run_id):
        # Joined: the release is well, but only its own run could confirm it, and that one is gone. Now it is ours.
        host.log(f"{order.service}: run {outcome.run_id} will not confirm it; activated again for this run")
        left = max(GRACE, timeout - (time.monotonic() - began))
        outcome = _watched(state, host, order, script, left, sudo, silence)
    return outcome


def revert(
    state: State,
    host: Host,
    order: Order,
    *,
    timeout: float,
    sudo: bool = True,
    reason: str,
    silence: float | None = None,
) -> ActivationOutcome:
    """Take a provisional release back on one target: `reverted` when the earlier one answers again. Never raises.

    One that is confirmed already is `refused`.

    Args:
        state: pyinfra's.
        host: the target.
        order: the provisional release, and the run that made it live.
        timeout: seconds to wait; the target goes on by itself.
        sudo: `target.sudo`.
        reason: why; one line.
        silence: as for `activate`.
    """

    def script(left: float) -> str:
        return activation.revert(order, timeout=left, reason=reason)

    outcome = _watched(state, host, order, script, timeout, sudo, silence)
    if outcome.state == "confirmed":
        return replace(outcome, state="refused", reason=f"run {order.run_id} is confirmed there; roll back instead")
    return outcome


def confirm(
    state: State,
    host: Host,
    order: Order,
    *,
    timeout: float,
    sudo: bool = True,
    head: str = "",
    via: SecondConnection | None = None,
) -> ActivationOutcome:
    """Confirm a provisional release on one target; `unknown` when the target cannot be reached. Never raises.

    Safe to repeat, and repeated here when the connection breaks: who confirmed already is told so, who was too late
    learns that the release was taken back.

    Args:
        state: pyinfra's.
        host: the target.
        order: the provisional release, and the run that made it live.
        timeout: seconds to try.
        sudo: `target.sudo`.
        head: hash of the last line of the controller's journal, kept in the target's.
        via: a connection made for it; default: the host's own.
    """
    forget(host)
    script = activation.confirm(order, head)
    deadline = time.monotonic() + timeout
    pause, lost = 0.1, "no time was left"
    while (left := deadline - time.monotonic()) > 0:
        try:
            if via is not None:
                code, lines = via.run(script, sudo=sudo, timeout=max(1.0, left))
            else:
                code, lines = run(state, host, script, sudo=sudo, timeout=max(1.0, left))
            return activation.outcome(order, lines, code)
        except BrokenError as error:
            lost = str(error)
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(1.0, pause * 2)
        if via is None:
            reconnect(host)
    reason = f"it could not be confirmed: {lost}; the target goes back by itself unless it was heard"
    return ActivationOutcome("unknown", order.release, reason=reason, run_id=order.run_id)


def activate_step(
    state: State, host: Host, start: Callable[[], ActivationOutcome], keep: Callable[[ActivationOutcome], None]
) -> bool:
    """Step: run an activation and keep its outcome; one red line, and the evidence, when it is not live and healthy.

    Args:
        state: pyinfra's; not used, every step has it.
        host: the target.
        start: calls `activate`.
        keep: gets the outcome, whatever it is.
    """
    outcome = start()
    keep(outcome)
    if outcome.ok:
        until = f", to be confirmed until {outcome.deadline} (its clock)" if outcome.deadline else ""
        host.log_styled(f"{outcome.release} is live and healthy ({outcome.seconds:.1f} s){until}", fg="green")
        return True
    for line in outcome.evidence:
        host.log(f"  {line}")
    host.log_styled(describe(outcome), fg="red")
    return False


def describe(outcome: ActivationOutcome) -> str:
    """One line for a person: what became of it, why, and what runs now."""
    now = f"{outcome.live} runs now" if outcome.live else "nothing runs now"
    if outcome.healthy is False and outcome.live:
        now += ", and is not healthy"
    why = f": {outcome.reason}" if outcome.reason else ""
    if outcome.state in ("refused", "unknown"):
        return f"{outcome.release} {outcome.state}{why}"
    return f"{outcome.release} {outcome.state}{why}; {now}"


def _watched(
    state: State,
    host: Host,
    order: Order,
    script: Callable[[float], str],
    timeout: float,
    sudo: bool,
    silence: float | None,
) -> ActivationOutcome:
    """Run a script that starts or joins, `script(seconds left)`, as often as the connection breaks."""
    forget(host)
    deadline = time.monotonic() + timeout
    lost, gone = "", 0.0
    while (left := deadline - time.monotonic()) > 0:
        try:
            return _follow(state, host, order, script(left), deadline + GRACE, sudo)
        except BrokenError as error:
            lost = str(error)
        host.log_styled(
            f"{order.service}: connection lost ({lost}); the target goes on alone, reconnecting", fg="yellow"
        )
        broke = time.monotonic()
        back = _wait_for(state, host, deadline if silence is None else min(deadline, broke + silence))
        gone = time.monotonic() - broke
        if not back:
            break
    reason = f"the target did not answer any more ({lost})" if lost else "it was still at work"
    return ActivationOutcome(
        "unknown",
        order.release,
        reason=f"{reason}; {gone or timeout:.0f} s are over, the target decides alone; "
        "run `status` once it can be reached",
        run_id=order.run_id,
        silent=gone,
    )


def _follow(state: State, host: Host, order: Order, script: str, deadline: float, sudo: bool) -> ActivationOutcome:
    lines: list[str] = []
    with closing(TargetCommand(state, host, script, sudo=sudo)) as remote:
        remote.end_input()
        for line in remote.lines(idle_timeout=SILENCE):
            if line is None:
                if not alive(host):
                    raise BrokenError(f"no answer for {2 * SILENCE:g} s")
                if time.monotonic() > deadline:
                    raise BrokenError("the watch on the target does not end")
                continue
            lines.append(line)
            seen = activation.stage(line)
            if seen:
                name, seconds, detail = seen
                host.log(f"{seconds:6.1f} s  {name}" + (f": {detail}" if detail else ""))
            elif line.startswith("join\t"):
                host.log(f"joined the activation of run {line.partition(chr(9))[2]}")
        return activation.outcome(order, lines, remote.status())


def _wait_for(state: State, host: Host, deadline: float) -> bool:
    """Whether the target is connected again before then."""
    pause = 0.2
    while time.monotonic() < deadline:
        if reconnect(host):
            renew(state, host)  # the unit's name keeps others from this activation should it not work
            return True
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2.0, pause * 2)
    return False
