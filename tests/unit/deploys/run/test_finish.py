"""What a run reports at its end, however it ends."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from gofallback.controller.paths import Home
from gofallback.deploys.rollout.switch import record_outcome
from gofallback.deploys.run.commands import COMMANDS
from gofallback.deploys.run.finish import close_outcomes
from gofallback.deploys.run.options import Options
from gofallback.deploys.run.outcome import TargetOutcome
from gofallback.deploys.run.report import PyinfraFacts, to_report
from gofallback.deploys.run.state import Run, Span, WaveTiming
from gofallback.journal.read import entries
from gofallback.journal.writer import Journal
from gofallback.release.activation import ActivationOutcome
from gofallback.report.table import runs_now
from gofallback.rollout.phases import TargetPhase

NEW, OLD = "v1.1.0-1a2b3c4d", "v1.0.0-aaaabbbb"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(command=COMMANDS["fallback"], home=Home(tmp_path), options=Options(), fleets={})
    made.executed = True
    return made


def planned(run: Run, host: str, service: str = "hello") -> TargetOutcome:
    outcome = run.outcome(host, service)
    outcome.release, outcome.previous, outcome.live, outcome.healthy = NEW, OLD, OLD, True
    return outcome


def test_a_target_whose_turn_never_came_is_untouched_and_says_why(run: Run) -> None:
    outcome = planned(run, "t1")
    close_outcomes(run, failed=())
    assert (outcome.phase, outcome.reason) == ("untouched", "the run ended before its turn")


def test_a_host_that_failed_without_a_reason_names_the_stage_it_failed_in(run: Run) -> None:
    outcome = planned(run, "t1")
    run.spans = [Span("preflight", "t1", 0.0, 1.0, ok=True), Span("release", "t1", 1.0, 2.0, ok=False)]
    close_outcomes(run, failed={"t1"})
    assert outcome.phase == "failed"
    assert outcome.reason == "release failed here, see its output"


def test_a_service_after_the_one_that_failed_on_its_host_is_untouched(run: Run) -> None:
    run.outcome("t1", "hello").phase = TargetPhase.REVERTED
    twin = planned(run, "t1", "twin")
    close_outcomes(run, failed={"t1"})
    assert (twin.phase, twin.reason) == ("untouched", "hello reverted here before its turn")


def test_an_activation_that_was_not_followed_is_switching_in_the_report_and_in_the_journal(run: Run) -> None:
    run.journal = Journal(run.home.journal(run.id), run.id)
    outcome = planned(run, "t1")
    run.set_phase(outcome, TargetPhase.SWITCHING)
    outcome.reason = "begun and not followed"
    run.stopped = "SIGINT"
    close_outcomes(run, failed=())
    report = to_report(run, PyinfraFacts(failed=True))
    (row,) = report.targets
    assert (row.outcome, row.running, row.health, row.reason) == ("switching", "", "unknown", "begun and not followed")
    assert runs_now(row) == "what runs there now is not known"
    assert json.loads(report.model_dump_json())["targets"][0]["outcome"] == "switching"
    assert (report.verdict, report.exit_status) == ("failed", 4)
    events = [(entry.event, entry.data["reason"]) for entry in entries(run.home.journal(run.id).read_bytes())]
    assert events == [("intended", ""), ("switching", "begun and not followed")]


def test_the_end_of_a_window_is_reported_as_the_last_renewal_extended_it(run: Run) -> None:
    seconds = iter([5.0, 605.0, 605.0])
    run.clock, run._t0 = lambda: next(seconds), 0.0
    outcome = planned(run, "t1")
    found = ActivationOutcome("provisional", NEW, live=NEW, healthy=True, deadline="2026-11-22T03:00:00.250Z")
    record_outcome(run, outcome, found)
    close_outcomes(run, failed=())
    assert outcome.deadline == "2026-11-22T03:10:00Z"


def test_a_stopped_run_is_never_good_although_all_that_was_done_went_well(run: Run) -> None:
    outcome = planned(run, "t1")
    outcome.phase = TargetPhase.CONFIRMED
    run.stopped = "SIGTERM"
    report = to_report(run, PyinfraFacts(failed=True, order={"t1": 0}))
    assert report.exit_status == 4
    assert report.reason.startswith("stopped by SIGTERM")


def test_the_report_gives_what_failed_first_as_the_reason_and_not_what_followed(run: Run) -> None:
    first = planned(run, "t1")
    first.phase, first.reason = TargetPhase.REVERTED, "went back, because of hello on t2"
    second = planned(run, "t2")
    second.phase, second.reason = TargetPhase.FAILED, "not healthy"
    run.set_first_cause("not healthy", host="t2", service="hello")
    run.set_first_cause("went back", host="t1", service="hello")
    assert to_report(run, PyinfraFacts(failed=True)).reason == "hello on t2: not healthy"


def test_a_run_whose_builder_failed_is_failed_although_no_target_was_touched(run: Run) -> None:
    planned(run, "t1").phase = TargetPhase.UNTOUCHED
    report = to_report(run, PyinfraFacts(failed=True))
    assert (report.verdict, report.exit_status) == ("failed", 4)


def test_where_the_target_refused_what_ran_before_still_runs(run: Run) -> None:
    outcome = planned(run, "t1")
    record_outcome(run, outcome, ActivationOutcome("refused", NEW, reason="another activation is under way"))
    assert (outcome.phase, outcome.live, outcome.healthy) == ("failed", OLD, True)
    assert outcome.reason == "refused: another activation is under way"


def test_an_activation_that_was_cut_off_without_a_window_failed_and_what_runs_is_not_known(run: Run) -> None:
    outcome = planned(run, "t1")
    record_outcome(run, outcome, ActivationOutcome("interrupted", NEW, reason="killed"))
    assert (outcome.phase, outcome.live, outcome.healthy) == ("failed", None, None)


def test_an_activation_that_was_cut_off_within_its_window_is_waited_for_as_it_goes_back_by_itself(run: Run) -> None:
    outcome = planned(run, "t1")
    record = {"state": "intended", "stage": "gate", "confirm": {"deadline": "2026-11-22T03:00:00Z"}}
    found = ActivationOutcome("interrupted", NEW, live=NEW, reason="killed", record=record)
    record_outcome(run, outcome, found)
    assert (outcome.phase, outcome.live, outcome.healthy) == ("lost", None, None)
    assert outcome.reason == "interrupted, and ended by its dead-man's switch: killed"


def test_a_way_back_that_was_cut_off_failed_as_nothing_ends_it_any_more(run: Run) -> None:
    outcome = planned(run, "t1")
    record = {"state": "intended", "stage": "gate", "confirm": {"deadline": "2026-11-22T03:00:00Z"}}
    found = ActivationOutcome("interrupted", NEW, live=NEW, reason="killed", record=record)
    record_outcome(run, outcome, found, taking_back=True)
    assert (outcome.phase, outcome.reason) == ("failed", "interrupted: killed")


def test_a_target_that_does_not_answer_is_lost_and_neither_good_nor_failed(run: Run) -> None:
    outcome = planned(run, "t1")
    record_outcome(run, outcome, ActivationOutcome("unknown", NEW, reason="no answer"))
    assert (outcome.phase, outcome.lost, outcome.healthy) == ("lost", True, None)


def test_a_switch_is_provisional_until_it_is_confirmed_and_says_until_when(run: Run) -> None:
    outcome = planned(run, "t1")
    found = ActivationOutcome("provisional", NEW, live=NEW, healthy=True, deadline="2026-11-22T03:00:00Z")
    record_outcome(run, outcome, found)
    assert (outcome.phase, outcome.live, outcome.deadline) == ("provisional", NEW, "2026-11-22T03:00:00Z")


def test_a_target_that_an_abort_took_back_is_taken_back_and_journalled_as_reverted(run: Run) -> None:
    run.journal = Journal(run.home.journal(run.id), run.id)
    outcome = planned(run, "t1")
    outcome.release = OLD
    record_outcome(run, outcome, ActivationOutcome("reverted", NEW, live=OLD, healthy=True), taking_back=True)
    assert (outcome.phase, outcome.release, outcome.live) == ("taken-back", OLD, OLD)
    assert [entry.event for entry in entries(run.home.journal(run.id).read_bytes())] == ["reverted"]
    report = to_report(run, PyinfraFacts(failed=False))
    assert (report.targets[0].outcome, report.verdict, report.exit_status) == ("taken-back", "done", 0)


def test_a_release_that_was_confirmed_before_an_abort_came_is_not_taken_back(run: Run) -> None:
    outcome = planned(run, "t1")
    outcome.release = OLD
    record_outcome(run, outcome, ActivationOutcome("confirmed", NEW, live=NEW, healthy=True), taking_back=True)
    assert (outcome.phase, outcome.live) == ("failed", NEW)
    assert outcome.reason == f"{NEW} was confirmed meanwhile and stays; deploys/rollback.py goes back"


def test_waves_say_what_was_reached_and_how_long_the_pauses_were(run: Run) -> None:
    run.waves = [
        WaveTiming("canary", ("t1",), start=1.0, end=3.0, state="passed"),
        WaveTiming("wave 1", ("t2",), start=8.0, end=9.0, state="failed"),
        WaveTiming("wave 2", ("t3",)),
    ]
    rows = to_report(run, PyinfraFacts(failed=True)).waves
    assert [(row.name, row.state, row.pause) for row in rows] == [
        ("canary", "passed", 5.0),
        ("wave 1", "failed", 0.0),
        ("wave 2", "not reached", 0.0),
    ]


def test_a_wave_with_nothing_to_do_was_passed(run: Run) -> None:
    run.waves = [WaveTiming("canary", ("t1",)), WaveTiming("wave 1", ("t2",))]
    planned(run, "t1").phase, planned(run, "t2").phase = TargetPhase.UNCHANGED, TargetPhase.UNTOUCHED
    assert [row.state for row in to_report(run, PyinfraFacts(failed=False)).waves] == ["passed", "not reached"]


def test_a_wave_in_whose_middle_the_run_ended_was_cut_off(run: Run) -> None:
    run.waves = [WaveTiming("canary", ("t1",), start=0.0, state="begun")]
    (row,) = to_report(run, PyinfraFacts(failed=True)).waves
    assert row.state == "cut off"
    assert row.end is not None


def test_the_report_knows_from_the_journal_how_long_each_release_was_provisional(run: Run) -> None:
    seconds = iter(range(100))
    run.journal = Journal(run.home.journal(run.id), run.id, now=lambda: run.started + timedelta(seconds=next(seconds)))
    for event, host in (("provisional", "t1"), ("provisional", "t2"), ("provisional", "t1"), ("confirmed", "t1")):
        run.journal.write(event, host=host, service="hello")
    run.journal.write("reverted", host="t2", service="hello")
    run.journal.write("seen", host="t2", service="hello")
    holds = to_report(run, PyinfraFacts(failed=True)).holds
    assert [(hold.host, round(hold.start), round(hold.end), hold.ended) for hold in holds] == [
        ("t1", 0, 3, "confirmed"),
        ("t2", 1, 4, "reverted"),
    ]


def test_who_approved_and_what_was_set_aside_is_in_the_report(run: Run) -> None:
    run.approvals = [{"principal": "bob@example.com", "key": "SHA256:abc", "at": "", "expires": "", "file": "a.sig"}]
    run.overrides = [{"kind": "freeze", "what": "year end", "why": "INC-1"}]
    report = to_report(run, PyinfraFacts(failed=False))
    assert report.approvals[0].principal == "bob@example.com"
    assert (report.overrides[0].kind, report.overrides[0].why) == ("freeze", "INC-1")


def test_a_release_that_was_not_confirmed_says_until_when_it_stays(run: Run) -> None:
    outcome = planned(run, "t1")
    outcome.phase, outcome.live, outcome.deadline = TargetPhase.PROVISIONAL, NEW, "2026-11-22T03:14:00Z"
    report = to_report(run, PyinfraFacts(failed=True))
    assert (report.verdict, report.targets[0].outcome, report.targets[0].deadline) == (
        "failed",
        "provisional",
        "2026-11-22T03:14:00Z",
    )
    assert (report.targets[0].version_before, report.targets[0].version) == ("v1.0.0", "v1.1.0")


def test_what_is_decided_at_the_end_is_written_down_too(run: Run) -> None:
    run.journal = Journal(run.home.journal(run.id), run.id)
    planned(run, "t1")
    close_outcomes(run, failed=())
    (entry,) = entries(run.home.journal(run.id).read_bytes())
    assert (entry.event, entry.host, entry.data["reason"]) == ("untouched", "t1", "the run ended before its turn")
