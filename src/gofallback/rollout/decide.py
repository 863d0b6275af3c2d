"""When a rollout stops, and what then becomes of every target. Pure.

The rules: a canary may not fail. Other targets may, as many as the budget allows over the whole rollout. Past it
nothing more is switched, and `rollout.revert` says what happens to the targets that have the release already.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from gofallback.model.rollout import Budget
from gofallback.rollout.waves import Wave

#: What a rollout knows about one target. `waiting`: its turn has not come. `lost`: it does not answer, and goes back by
#: itself when its window lapses.
TargetStatus = Literal["waiting", "provisional", "confirmed", "unchanged", "reverted", "failed", "lost", "untouched"]
#: Each of these uses up some of the budget.
FAILED_STATUSES: frozenset[TargetStatus] = frozenset({"reverted", "failed", "lost"})
Revert = Literal["all", "failed", "none"]


@dataclass(frozen=True)
class Decision:
    """What becomes of the targets that have the release and are not confirmed yet."""

    confirm: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    reason: str = ""
    """Why the rollout stopped; empty: it did not."""


def allowance(budget: Budget, total: int) -> int:
    """How many of so many targets may fail: the tighter of count and percent; none without either."""
    limits = []
    if budget.count is not None:
        limits.append(budget.count)
    if budget.percent is not None:
        limits.append(int(Fraction(str(budget.percent)) * total / 100))  # 18.4 % of 375 are 69, not 68.99999
    return min(limits, default=0)


def failed_targets(standing: Mapping[str, TargetStatus]) -> list[str]:
    """Targets that used up some of the budget, in order."""
    return [host for host, how in standing.items() if how in FAILED_STATUSES]


def stop(standing: Mapping[str, TargetStatus], waves: Sequence[Wave], budget: Budget) -> str | None:
    """Why nothing more may be switched; None: go on.

    Args:
        standing: every target of the run.
        waves: from `waves.plan`.
        budget: group data.
    """
    bad = failed_targets(standing)
    canaries = {host for wave in waves if wave.canary for host in wave.hosts}
    dead = [host for host in bad if host in canaries]
    if dead:
        return f"canary {', '.join(dead)} {standing[dead[0]]}"
    allowed = allowance(budget, len(standing))
    if len(bad) <= allowed:
        return None
    names = ", ".join(f"{host} {standing[host]}" for host in bad[:3]) + (" and more" if len(bad) > 3 else "")
    return names if not allowed else f"{len(bad)} of {len(standing)} targets failed, the budget is {allowed}: {names}"


def decide(standing: Mapping[str, TargetStatus], stopped: str | None, revert: Revert) -> Decision:
    """What becomes of every provisional target.

    Args:
        standing: every target of the run, each looked at once more over a new connection.
        stopped: why the rollout stopped; None: it did not.
        revert: `rollout.revert`.
    """
    provisional = tuple(host for host, how in standing.items() if how == "provisional")
    if stopped and revert == "all":
        return Decision(back=provisional, reason=stopped)
    return Decision(confirm=provisional, reason=stopped or "")


def one_version(versions: Mapping[str, str | None], among: Collection[str] = ()) -> bool:
    """Whether all these targets run the same.

    Args:
        versions: what runs, by target.
        among: only these; default: all.
    """
    return len({version for host, version in versions.items() if not among or host in among}) <= 1
