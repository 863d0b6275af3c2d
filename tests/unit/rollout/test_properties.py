"""Rollouts under any order of success, failure and lost answers: what must hold afterwards, whatever happened.

Two controllers, up to eight targets, messages that are lost, late, or whose answers are lost, targets that
reboot or are cut off, controllers that are killed at any message, takeovers, resumes, aborts and rollbacks. Then
everything comes back, time passes, and the world is looked at.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gofallback.release.state import ServiceState
from gofallback.rollout import decide, waves
from gofallback.rollout.phases import TargetPhase
from tests.unit.examples import examples
from tests.unit.rollout.checks import RolloutMachine
from tests.unit.rollout.controller import Controller
from tests.unit.rollout.world import Target

RolloutMachine.TestCase.settings = settings(
    max_examples=examples(600),
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRollouts = RolloutMachine.TestCase


def _forgets_fencing(world: pytest.MonkeyPatch) -> None:
    world.setattr(Target, "fenced", lambda self, number: False)


def _takes_over_with_the_same_number(world: pytest.MonkeyPatch) -> None:
    world.setattr(Target, "next_number", lambda self: self.number)


def _never_goes_back_by_itself(world: pytest.MonkeyPatch) -> None:
    world.setattr(Target, "lapsed", lambda self: False)


def _calls_unchanged_what_nobody_confirmed(world: pytest.MonkeyPatch) -> None:
    world.setattr(ServiceState, "unconfirmed_run", None)


def _confirms_past_the_budget(world: pytest.MonkeyPatch) -> None:
    world.setattr(decide, "stop", lambda *_: None)


def _lets_lost_targets_cost_nothing(world: pytest.MonkeyPatch) -> None:
    world.setattr(decide, "USES_BUDGET", frozenset({TargetPhase.REVERTED, TargetPhase.FAILED}))


def _takes_no_answer_for_a_confirmation(world: pytest.MonkeyPatch) -> None:
    world.setattr(
        Controller, "confirmation_lost", lambda self, outcome: setattr(outcome, "phase", TargetPhase.CONFIRMED)
    )


def _forgets_a_target(world: pytest.MonkeyPatch) -> None:
    plan = waves.plan
    world.setattr(waves, "plan", lambda *given: [wave for wave in plan(*given) if wave.number < 2])


@pytest.mark.parametrize(
    "bug",
    [
        _forgets_fencing,
        _takes_over_with_the_same_number,
        _never_goes_back_by_itself,
        _calls_unchanged_what_nobody_confirmed,
        _confirms_past_the_budget,
        _lets_lost_targets_cost_nothing,
        _takes_no_answer_for_a_confirmation,
        _forgets_a_target,
    ],
)
def test_a_bug_that_is_planted_is_found(bug: Callable[[pytest.MonkeyPatch], None]) -> None:
    quickly = settings(
        RolloutMachine.TestCase.settings,
        max_examples=5000,  # it ends with the first that is found, and which one that is changes with every literal
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
    )
    with pytest.MonkeyPatch.context() as world:
        bug(world)
        with pytest.raises((AssertionError, ValueError)):
            run_state_machine_as_test(RolloutMachine, settings=quickly)
