"""What a run says of itself at its end, whatever ended it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gofallback.controller.options import Options
from gofallback.controller.paths import Home
from gofallback.controller.run import Outcome, Run
from gofallback.deploys._finish import settle
from gofallback.deploys._switch import BEGUN, keep, why_it_stays
from gofallback.deploys._to_report import to_report
from gofallback.release.activation import ActivationOutcome

NEW, OLD = "v1.1.0-1a2b3c4d", "v1.0.0-aaaabbbb"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(command="fallback", home=Home(tmp_path), options=Options(), fleets={})
    made.executed = True
    return made


def planned(run: Run, host: str, service: str = "hello") -> Outcome:
    outcome = run.outcome(host, service)
    outcome.release, outcome.previous, outcome.live, outcome.healthy = NEW, OLD, OLD, True
    return outcome


def test_a_target_whose_turn_never_came_is_untouched_and_says_why(run: Run) -> None:
    outcome = planned(run, "t1")
    settle(run, failed=())
    assert (outcome.state, outcome.reason) == ("untouched", "the run ended before its turn")


def test_a_host_that_failed_without_a_word_names_the_stage_it_failed_in(run: Run) -> None:
    outcome = planned(run, "t1")
    run.end(run.begin("preflight", "t1"), ok=True)
    run.end(run.begin("release", "t1"), ok=False)
    settle(run, failed={"t1"})
    assert outcome.state == "failed"
    assert outcome.reason == "release failed here, see its output"


def test_a_service_after_the_one_that_failed_on_its_host_is_untouched(run: Run) -> None:
    run.outcome("t1", "hello").state = "reverted"
    twin = planned(run, "t1", "twin")
    settle(run, failed={"t1"})
    assert (twin.state, twin.reason) == ("untouched", "hello reverted here before its turn")


def test_an_activation_nobody_followed_to_its_end_is_not_said_to_run_the_old_release(run: Run) -> None:
    outcome = planned(run, "t1")
    outcome.reason = BEGUN
    run.stopped = "SIGINT"
    settle(run, failed=())
    assert (outcome.state, outcome.live, outcome.healthy, outcome.reason) == ("failed", None, None, BEGUN)


def test_a_stopped_run_is_never_good_although_all_that_was_done_went_well(run: Run) -> None:
    outcome = planned(run, "t1")
    outcome.state = "confirmed"
    run.stopped = "SIGTERM"
    report = to_report(run, failed=True, order={"t1": 0})
    assert report.exit_status == 4
    assert report.reason.startswith("stopped by SIGTERM")


def test_the_report_gives_what_failed_first_as_the_reason_and_not_what_followed(run: Run) -> None:
    first = planned(run, "t1")
    first.state, first.reason = "reverted", "went back, because of hello on t2"
    second = planned(run, "t2")
    second.state, second.reason = "failed", "not healthy"
    run.blame("t2", "hello", "not healthy")
    run.blame("t1", "hello", "went back")
    assert to_report(run, failed=True, order={}).reason == "hello on t2: not healthy"


def test_a_run_whose_builder_failed_is_failed_although_no_target_was_touched(run: Run) -> None:
    planned(run, "t1").state = "untouched"
    report = to_report(run, failed=True, order={})
    assert (report.verdict, report.exit_status) == ("failed", 4)


def test_where_the_target_refused_what_ran_before_still_runs() -> None:
    outcome = Outcome("t1", "hello", release=NEW, previous=OLD, live=OLD, healthy=True)
    keep(outcome, NEW, ActivationOutcome("refused", NEW, reason="another activation is under way"))
    assert (outcome.state, outcome.live, outcome.healthy) == ("failed", OLD, True)
    assert outcome.reason == "refused: another activation is under way"


@pytest.mark.parametrize("state", ["unknown", "interrupted"])
def test_an_activation_that_was_not_followed_to_its_end_failed_and_nobody_knows_what_runs(state: str) -> None:
    outcome = Outcome("t1", "hello", release=NEW, previous=OLD, live=OLD, healthy=True)
    keep(outcome, NEW, ActivationOutcome(state, NEW, reason="no answer"))  # type: ignore[arg-type]
    assert (outcome.state, outcome.live, outcome.healthy) == ("failed", None, None)


@pytest.mark.parametrize(
    ("previous", "command", "revert", "own", "word"),
    [
        (OLD, "rollout", "all", False, None),
        (OLD, "rollout", "failed", False, "revert"),
        (OLD, "rollout", "failed", True, None),
        (OLD, "rollback", "all", True, "rollback is not undone"),
        (None, "fallback", "all", False, "no earlier release"),
        (NEW, "fallback", "all", False, "live before this run"),
    ],
)
def test_who_goes_back_and_who_stays(
    previous: str | None, command: str, revert: str, own: bool, word: str | None
) -> None:
    why = why_it_stays(Outcome("t1", "hello", release=NEW, previous=previous, live=NEW), command, revert, own=own)
    assert why is None if word is None else word in (why or "")
