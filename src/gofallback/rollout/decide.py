"""When a rollout stops, and what then becomes of every target. Pure.

The rules: no canary may fail. Of the other targets as many may fail as the budget allows over the whole rollout. Past
the budget nothing more is switched, and `rollout.revert` decides on the targets that have the release already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from gofallback.model.rollout import Budget
from gofallback.rollout.phases import USES_BUDGET, TargetPhase
from gofallback.rollout.waves import Wave

Revert = Literal["all", "failed", "none"]


@dataclass(frozen=True)
class Decision:
    """What becomes of the targets that have the release and are not confirmed yet."""

    confirm: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    reason: str = ""
    """Why the rollout stopped; empty: it was not stopped."""


def allowance(budget: Budget, total: int) -> int:
    """How many of all targets may fail: the lower of count and percent, or 0 without either."""
    limits = []
    if budget.count is not None:
        limits.append(budget.count)
    if budget.percent is not None:
        limits.append(int(Fraction(str(budget.percent)) * total / 100))  # 18.4 % of 375 are 69, not 68.99999
    return min(limits, default=0)


def failed_targets(phases: Mapping[str, TargetPhase]) -> list[str]:
    """Targets that use up some of the budget, in order."""
    return [host for host, phase in phases.items() if phase in USES_BUDGET]


def stop(phases: Mapping[str, TargetPhase], waves: Sequence[Wave], budget: Budget) -> str | None:
    """The reason nothing more may be switched, or None.

    Args:
        phases: the phase of every target of the run, over all its services.
        waves: from `waves.plan`.
        budget: group data.
    """
    failed = failed_targets(phases)
    canaries = {host for wave in waves if wave.canary for host in wave.hosts}
    failed_canaries = [host for host in failed if host in canaries]
    if failed_canaries:
        return f"canary {', '.join(failed_canaries)} {phases[failed_canaries[0]]}"
    allowed = allowance(budget, len(phases))
    if len(failed) <= allowed:
        return None
    names = ", ".join(f"{host} {phases[host]}" for host in failed[:3]) + (" and more" if len(failed) > 3 else "")
    return names if not allowed else f"{len(failed)} of {len(phases)} targets failed, the budget is {allowed}: {names}"


def decide(phases: Mapping[str, TargetPhase], stopped: str | None, revert: Revert) -> Decision:
    """What becomes of every provisional target.

    Args:
        phases: the phase of every target of the run, each read once more over a new connection.
        stopped: why the rollout stopped; None: it was not stopped.
        revert: `rollout.revert`.
    """
    provisional = tuple(host for host, phase in phases.items() if phase is TargetPhase.PROVISIONAL)
    if stopped and revert == "all":
        return Decision(back=provisional, reason=stopped)
    return Decision(confirm=provisional, reason=stopped or "")
