"""When a rollout stops, and what becomes of the targets then."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gofallback.model.rollout import Budget
from gofallback.rollout.decide import Decision, allowance, decide, stop
from gofallback.rollout.phases import USES_BUDGET, TargetPhase
from gofallback.rollout.waves import Wave

CANARY, REST = Wave(0, "canary", ("t1",), canary=True), Wave(1, "wave 1", ("t2", "t3", "t4"))
ALL_PHASES = list(TargetPhase)


def phases(*how: str) -> dict[str, TargetPhase]:
    return {f"t{place}": TargetPhase(one) for place, one in enumerate(how, 1)}


@pytest.mark.parametrize(
    ("budget", "total", "allowed"),
    [
        (Budget(), 50, 0),
        (Budget(count=3), 50, 3),
        (Budget(percent=10), 50, 5),
        (Budget(percent=10), 9, 0),
        (Budget(count=3, percent=10), 20, 2),
        (Budget(count=1, percent=10), 50, 1),
        (Budget(count=0, percent=100), 50, 0),
    ],
)
def test_the_tighter_of_count_and_percent_is_the_budget(budget: Budget, total: int, allowed: int) -> None:
    assert allowance(budget, total) == allowed


@example(tenths=184, total=375)
@given(tenths=st.integers(0, 1000), total=st.integers(0, 1000))
def test_a_percent_that_comes_out_even_is_not_lost_to_floating_point(tenths: int, total: int) -> None:
    assert allowance(Budget(percent=tenths / 10), total) == tenths * total // 1000


@pytest.mark.parametrize("how", sorted(USES_BUDGET))
def test_a_canary_may_not_fail_whatever_the_budget(how: TargetPhase) -> None:
    found = stop(phases(how, "planned", "planned", "planned"), (CANARY, REST), Budget(percent=100))
    assert found == f"canary t1 {how}"


@pytest.mark.parametrize("how", sorted(USES_BUDGET))
def test_others_may_fail_as_often_as_the_budget_allows_over_the_whole_rollout(how: TargetPhase) -> None:
    waves, budget = (CANARY, REST), Budget(count=1)
    assert stop(phases("provisional", how, "planned", "planned"), waves, budget) is None
    found = stop(phases("provisional", how, "provisional", "failed"), waves, budget)
    assert found == f"2 of 4 targets failed, the budget is 1: t2 {how}, t4 failed"


def test_without_a_budget_the_first_failure_is_the_end() -> None:
    assert stop(phases("provisional", "lost", "planned", "planned"), (CANARY, REST), Budget()) == "t2 lost"


@pytest.mark.parametrize("how", sorted({*ALL_PHASES} - USES_BUDGET))
def test_targets_that_did_not_fail_use_up_nothing(how: TargetPhase) -> None:
    assert stop(phases(how, how, how, how), (CANARY, REST), Budget()) is None


def test_of_many_failures_the_first_are_named() -> None:
    waves = (Wave(0, "all", tuple(f"t{place}" for place in range(1, 6))),)
    found = stop(phases(*["failed"] * 5), waves, Budget(count=1))  # type: ignore[arg-type]
    assert found == "5 of 5 targets failed, the budget is 1: t1 failed, t2 failed, t3 failed and more"


def test_a_rollout_that_was_not_stopped_is_confirmed_where_it_is_live() -> None:
    found = decide(phases("provisional", "lost", "provisional", "unchanged"), None, "all")
    assert found == Decision(confirm=("t1", "t3"))


def test_past_the_budget_the_policy_says_what_becomes_of_the_others() -> None:
    now = phases("provisional", "reverted", "confirmed", "untouched")
    assert decide(now, "t2 reverted", "all") == Decision(back=("t1",), reason="t2 reverted")
    for revert in ("failed", "none"):
        assert decide(now, "t2 reverted", revert) == Decision(confirm=("t1",), reason="t2 reverted")
