"""The verdict of a run and its exit status, by the phases of its targets."""

from __future__ import annotations

from itertools import combinations, product
from typing import get_args

import pytest

from gofallback.rollout.phases import EXIT_STATUS, GOOD, TargetPhase, Verdict, verdict

P = TargetPhase
each_phase = pytest.mark.parametrize("phase", TargetPhase)


#: Phase of every target: verdict where it is healthy (or not known to be unhealthy), and where it is unhealthy.
ALONE: dict[TargetPhase, tuple[Verdict, Verdict]] = {
    P.PLANNED: ("failed", "failed"),
    P.SWITCHING: ("failed", "failed"),
    P.PROVISIONAL: ("failed", "failed"),
    P.LOST: ("failed", "failed"),
    P.CONFIRMED: ("done", "failed"),
    P.TAKEN_BACK: ("done", "failed"),
    P.UNCHANGED: ("unchanged", "failed"),
    P.REVERTED: ("reverted", "reverted"),
    P.FAILED: ("failed", "failed"),
    P.UNTOUCHED: ("failed", "failed"),
}


@each_phase
@pytest.mark.parametrize("count", [1, 2])
def test_a_phase_alone_gives_its_verdict(phase: TargetPhase, count: int) -> None:
    assert (verdict([(phase, True)] * count), verdict([(phase, False)] * count)) == ALONE[phase]


@pytest.mark.parametrize(("one", "other"), list(combinations(TargetPhase, 2)))
def test_two_phases_give_their_verdict_together(one: TargetPhase, other: TargetPhase) -> None:
    mixed = {one, other}
    if mixed <= GOOD:
        expected = "done"
    elif mixed & GOOD:
        expected = "partly"
    elif P.REVERTED in mixed and mixed <= {P.REVERTED, P.PLANNED, P.UNTOUCHED}:
        expected = "reverted"
    else:
        expected = "failed"
    assert verdict([(one, True), (other, True)]) == verdict([(other, True), (one, True)]) == expected


@each_phase
def test_a_refused_run_is_refused_exactly_where_no_target_was_touched(phase: TargetPhase) -> None:
    changed_nothing = phase in (P.PLANNED, P.UNCHANGED, P.UNTOUCHED)
    assert (verdict([(phase, True)], refused=True) == "refused") == changed_nothing


@each_phase
def test_a_stage_that_failed_is_never_good(phase: TargetPhase) -> None:
    assert EXIT_STATUS[verdict([(phase, True)], failed=True)] >= 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "unchanged"),
        ({"changed": True}, "done"),
        ({"failed": True}, "failed"),
        ({"failed": True, "changed": True}, "failed"),
        ({"refused": True}, "refused"),
    ],
)
def test_a_run_without_targets_has_a_verdict_too(given: dict[str, bool], expected: Verdict) -> None:
    assert verdict([], **given) == expected


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([(P.CONFIRMED, True), (P.UNCHANGED, True)], "done"),
        ([(P.CONFIRMED, True), (P.CONFIRMED, False)], "partly"),
        ([(P.CONFIRMED, True), (P.REVERTED, True), (P.FAILED, False)], "partly"),
        ([(P.REVERTED, True), (P.UNTOUCHED, True), (P.LOST, True)], "failed"),
        ([(P.REVERTED, True), (P.REVERTED, True), (P.UNTOUCHED, True)], "reverted"),
        ([(P.UNTOUCHED, True), (P.UNTOUCHED, True)], "failed"),
    ],
)
def test_the_targets_of_a_fleet_give_one_verdict(targets: list[tuple[TargetPhase, bool]], expected: Verdict) -> None:
    assert verdict(targets) == expected


def test_every_verdict_has_its_exit_status_and_only_the_good_ones_are_zero() -> None:
    assert EXIT_STATUS == {"done": 0, "unchanged": 0, "refused": 2, "reverted": 3, "failed": 4, "partly": 5}
    assert set(EXIT_STATUS) == set(get_args(Verdict))


def test_exit_status_0_means_that_every_target_is_good_and_healthy() -> None:
    states = list(product(TargetPhase, [True, False]))
    for targets in product(states, repeat=2):
        good = all(phase in GOOD and healthy for phase, healthy in targets)
        assert (EXIT_STATUS[verdict(targets)] == 0) == good, targets
