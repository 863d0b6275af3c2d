"""What can become of a target: each phase's row, and its way to the journal, the budget and the exit status."""

from __future__ import annotations

import re
from itertools import combinations, product
from typing import get_args

import pytest

from gofallback.journal.writer import DURABLE
from gofallback.model.rollout import Budget
from gofallback.release.activation import STATES, State
from gofallback.rollout import phases
from gofallback.rollout.decide import stop
from gofallback.rollout.phases import (
    CLOSING_EVENTS,
    FAILED_HERE,
    GOOD,
    OPEN,
    OPEN_EVENTS,
    PHASES,
    USES_BUDGET,
    Result,
    TargetPhase,
    after_activation,
    may_follow,
)
from gofallback.rollout.waves import Wave
from tests.paths import PROJECT

P = TargetPhase
each_phase = pytest.mark.parametrize("phase", TargetPhase)


# ---- every phase has its row


def test_every_phase_has_a_row_of_the_table_and_every_row_is_a_phase() -> None:
    assert list(PHASES) == list(TargetPhase)


@each_phase
def test_a_phase_has_a_meaning_of_its_own_and_a_result(phase: TargetPhase) -> None:
    row = PHASES[phase]
    assert row.meaning and [other.meaning for other in PHASES.values()].count(row.meaning) == 1
    assert row.result in get_args(Result)


@each_phase
def test_a_phase_is_written_to_the_journal_unless_nothing_happened_on_the_target(phase: TargetPhase) -> None:
    assert (PHASES[phase].journal is None) == (phase in (P.PLANNED, P.UNCHANGED))


def events_in_the_documentation() -> set[str]:
    page = (PROJECT / "docs" / "journal.md").read_text()
    table = page.partition("\n## Events\n")[2].partition("\n## ")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`([a-z-]+)`", row)}


@pytest.mark.parametrize(
    "event", sorted({row.journal for row in PHASES.values() if row.journal} | OPEN_EVENTS | CLOSING_EVENTS)
)
def test_an_event_of_a_phase_stands_in_the_documentation_of_the_journal(event: str) -> None:
    assert event in events_in_the_documentation()


def outcomes_in_the_documentation() -> set[str]:
    page = (PROJECT / "docs" / "exit-status.md").read_text()
    return set(re.findall(r"^\| `([a-z-]+)` \|", page.partition("\n| outcome of a target ")[2], re.M))


@pytest.mark.parametrize("phase", [phase for phase in TargetPhase if phase is not P.PLANNED])
def test_an_outcome_stands_in_the_documentation_of_the_exit_status(phase: TargetPhase) -> None:
    """A run that has ended has no planned target: it was not touched."""
    assert phase in outcomes_in_the_documentation()


# ---- which phase follows which

#: The law of `may_follow`, written a second time: a row that is changed has to be meant.
FOLLOWS: dict[TargetPhase, str] = {
    P.PLANNED: "switching provisional unchanged untouched failed",
    P.SWITCHING: "provisional confirmed taken-back reverted failed lost",
    P.PROVISIONAL: "confirmed reverted failed lost",
    P.LOST: "confirmed taken-back reverted failed untouched",
    P.CONFIRMED: "failed",
    P.TAKEN_BACK: "failed",
    P.UNCHANGED: "",
    P.REVERTED: "",
    P.FAILED: "",
    P.UNTOUCHED: "failed",
}


@pytest.mark.parametrize(("before", "after"), list(product(TargetPhase, TargetPhase)))
def test_a_phase_follows_another_only_where_the_table_says_so(before: TargetPhase, after: TargetPhase) -> None:
    assert may_follow(before, after) == (before is after or after in FOLLOWS[before].split())


def reachable(start: TargetPhase) -> set[TargetPhase]:
    found, left = {start}, [start]
    while left:
        for phase in PHASES[left.pop()].next - found:
            found.add(phase)
            left.append(phase)
    return found


def test_every_phase_can_be_reached_from_planned_and_planned_from_none() -> None:
    assert reachable(P.PLANNED) == set(TargetPhase)
    assert not [phase for phase in TargetPhase if phase is not P.PLANNED and P.PLANNED in PHASES[phase].next]


@pytest.mark.parametrize("phase", sorted(OPEN))
def test_an_open_phase_can_end_well_end_back_and_end_badly_and_never_starts_over(phase: TargetPhase) -> None:
    assert {P.CONFIRMED, P.REVERTED, P.FAILED} <= PHASES[phase].next
    assert not PHASES[phase].next & {P.PLANNED, P.UNCHANGED, P.SWITCHING}


@pytest.mark.parametrize("phase", sorted(set(TargetPhase) - OPEN - {P.PLANNED}))
def test_an_end_is_an_end_only_a_failure_may_still_follow(phase: TargetPhase) -> None:
    assert reachable(phase) <= {phase, P.FAILED}


@pytest.mark.parametrize("phase", sorted({P.REVERTED, P.FAILED}))
def test_what_failed_never_becomes_good(phase: TargetPhase) -> None:
    assert reachable(phase) == {phase}


# ---- the groups


def test_every_phase_is_good_open_failed_or_untouched_and_only_one_of_them() -> None:
    groups = [GOOD, OPEN, FAILED_HERE, frozenset({P.PLANNED, P.UNTOUCHED})]
    assert frozenset().union(*groups) == frozenset(TargetPhase)
    assert all(not one & other for one, other in combinations(groups, 2))


def test_the_groups_are_these() -> None:
    assert {P.CONFIRMED, P.TAKEN_BACK, P.UNCHANGED} == GOOD
    assert {P.SWITCHING, P.PROVISIONAL, P.LOST} == OPEN
    assert {P.REVERTED, P.FAILED} == FAILED_HERE
    assert FAILED_HERE | {P.LOST} == USES_BUDGET


def test_the_events_of_open_phases_are_open_and_those_of_ends_are_closing() -> None:
    assert {PHASES[phase].journal for phase in OPEN} <= OPEN_EVENTS
    ends = (GOOD | FAILED_HERE) - {P.UNCHANGED}
    assert {PHASES[phase].journal for phase in ends} == CLOSING_EVENTS
    assert not OPEN_EVENTS & CLOSING_EVENTS


def test_a_switch_that_nobody_followed_is_open_in_the_journal_under_its_own_name() -> None:
    assert P.SWITCHING in OPEN_EVENTS and PHASES[P.SWITCHING].journal == "intended"


def test_a_target_that_was_confirmed_or_went_back_is_in_the_journal_after_a_power_cut() -> None:
    assert {PHASES[phase].journal for phase in (P.CONFIRMED, P.TAKEN_BACK, P.REVERTED)} <= DURABLE


# ---- the budget

CANARY, REST = Wave(0, "canary", ("t1",), canary=True), Wave(1, "wave 1", ("t2", "t3"))


@each_phase
def test_a_canary_stops_the_rollout_exactly_in_the_phases_that_use_the_budget(phase: TargetPhase) -> None:
    found = stop({"t1": phase, "t2": P.PLANNED, "t3": P.PLANNED}, (CANARY, REST), Budget(percent=100))
    assert found == (f"canary t1 {phase}" if phase in USES_BUDGET else None)


@each_phase
def test_any_other_target_stops_it_past_the_budget_in_the_same_phases(phase: TargetPhase) -> None:
    now = {"t1": P.PROVISIONAL, "t2": phase, "t3": phase}
    stopped = f"2 of 3 targets failed, the budget is 1: t2 {phase}, t3 {phase}"
    assert stop(now, (CANARY, REST), Budget(count=1)) == (stopped if phase in USES_BUDGET else None)
    assert stop(now, (CANARY, REST), Budget(count=2)) is None


# ---- the agent's answers

#: Answer of the agent: phase in a rollout, and where the run takes the release back.
ANSWERS: dict[State, tuple[TargetPhase, TargetPhase]] = {
    "provisional": (P.PROVISIONAL, P.PROVISIONAL),
    "confirmed": (P.CONFIRMED, P.FAILED),
    "reverted": (P.REVERTED, P.TAKEN_BACK),
    "failed": (P.FAILED, P.FAILED),
    "interrupted": (P.LOST, P.LOST),
    "refused": (P.FAILED, P.FAILED),
    "unknown": (P.LOST, P.LOST),
}


def test_every_answer_of_the_agent_is_in_the_table() -> None:
    assert set(ANSWERS) == set(get_args(State)) == {*STATES.values(), "provisional"}


@pytest.mark.parametrize("state", get_args(State))
def test_an_answer_gives_its_phase(state: State) -> None:
    assert (after_activation(state), after_activation(state, taking_back=True)) == ANSWERS[state]


@pytest.mark.parametrize("state", get_args(State))
@pytest.mark.parametrize("taking_back", [False, True])
def test_without_a_dead_mans_switch_only_an_interrupted_switch_is_another_phase(
    state: State, taking_back: bool
) -> None:
    found = after_activation(state, taking_back=taking_back, ends_alone=False)
    assert found is (P.FAILED if state == "interrupted" else ANSWERS[state][taking_back])


@pytest.mark.parametrize(("state", "taking_back"), list(product(get_args(State), [False, True])))
def test_the_phase_after_an_answer_may_follow_the_switch(state: State, taking_back: bool) -> None:
    for ends_alone in (False, True):
        assert may_follow(P.SWITCHING, after_activation(state, taking_back=taking_back, ends_alone=ends_alone))


def test_nothing_else_of_the_package_has_a_table_of_phases() -> None:
    """The phases stand in one module; others name single phases or read its groups."""
    assert phases.__file__ is not None
    for path in (PROJECT / "src" / "gofallback").rglob("*.py"):
        assert path.samefile(phases.__file__) or "StrEnum" not in path.read_text(), path
