"""How a run that was cut off is finished, or taken back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gofallback.release.state import ServiceState
from gofallback.rollout.records import phase_of_record
from gofallback.rollout.resume import Plan, ResumeError, abort, resume
from tests.unit.targets import record, release, target

V0, V1, V2, V3 = "v0.9-99999999", "v1.0-aaaaaaaa", "v2.0-bbbbbbbb", "v3.0-cccccccc"
OLD, RUN, LATER = "20261121T000000Z-0ld0", "20261122T031244Z-9f3a", "20261123T000000Z-b0b0"
BEFORE = record(OLD, V1)
#: Targets as the death of a rollout of v2 may leave them.
PROVISIONAL = target(V2, V1, V2, ran=(BEFORE, record(RUN, V2, V1, "provisional")))
CONFIRMED = target(V2, V1, V2, ran=(BEFORE, record(RUN, V2, V1)))
REVERTED = target(V1, V1, V2, ran=(BEFORE, record(RUN, V2, V1, "reverted")))
UNTOUCHED = target(V1, V1, V2, ran=(BEFORE,))
CUT_OFF = target(V2, V1, V2, ran=(BEFORE, record(RUN, V2, V1, "intended")))
FLEET = {"t1": CONFIRMED, "t2": PROVISIONAL, "t3": REVERTED, "t4": UNTOUCHED, "t5": CUT_OFF}


def steps(plan: Plan) -> dict[str, str]:
    return {host: to.how for host, to in plan.hosts.items()}


def test_resume_brings_every_target_to_the_release_of_the_run() -> None:
    plan = resume(RUN, "hello", FLEET)
    assert {to.release for to in plan.hosts.values()} == {V2}
    assert steps(plan) == {"t1": "nothing", "t2": "confirm", "t3": "activate", "t4": "activate", "t5": "activate"}
    assert (plan.hosts["t4"].sha256, plan.hosts["t4"].commit) == ("v2.0 for linux/amd64", "commit of v2.0")
    assert plan.notes == []


def test_abort_brings_every_target_to_what_it_had() -> None:
    plan = abort(RUN, "hello", FLEET)
    assert {to.release for to in plan.hosts.values()} == {V1}
    assert steps(plan) == {"t1": "activate", "t2": "revert", "t3": "nothing", "t4": "nothing", "t5": "revert"}
    assert plan.notes == []


@pytest.mark.parametrize("run_id", [RUN, f"{RUN}-r1", f"{RUN}-a2-x"])
def test_continuations_are_the_same_run_and_the_targets_own_run_id_is_used(run_id: str) -> None:
    ran = (BEFORE, record(RUN, V2, V1, "reverted"), record(f"{RUN}-r1", V2, V1, "provisional"))
    states = {"t1": target(V2, V1, V2, ran=ran)}
    assert resume(run_id, "hello", states).hosts["t1"].run_id == f"{RUN}-r1"
    assert (steps(resume(run_id, "hello", states)), steps(abort(run_id, "hello", states))) == (
        {"t1": "confirm"},
        {"t1": "revert"},
    )


def test_a_confirmed_release_that_is_not_healthy_is_activated_again() -> None:
    states = {"t1": target(V2, V1, V2, ran=(BEFORE, record(RUN, V2, V1)), well=False)}
    assert steps(resume(RUN, "hello", states)) == {"t1": "activate"}


def test_an_abort_that_was_cut_off_can_be_finished_or_turned_round() -> None:
    """The abort had put v1 live again on t1, provisionally, and not reached t2."""
    ran = (BEFORE, record(RUN, V2, V1), record(f"{RUN}-a1", V1, V2, "provisional"))
    states = {"t1": target(V1, V1, V2, ran=ran), "t2": CONFIRMED}
    finished, turned = abort(RUN, "hello", states), resume(RUN, "hello", states)
    assert steps(finished) == {"t1": "confirm", "t2": "activate"}
    assert finished.hosts["t1"].run_id == f"{RUN}-a1"
    assert steps(turned) == {"t1": "activate", "t2": "nothing"}
    assert turned.hosts["t1"].release == V2


def test_an_abort_that_went_back_on_a_target_is_tried_again() -> None:
    """v1 was not healthy when t1 was to go back to it, and the target stayed with v2."""
    ran = (BEFORE, record(RUN, V2, V1), record(f"{RUN}-a1", V1, V2, "reverted"))
    plan = abort(RUN, "hello", {"t1": target(V2, V1, V2, ran=ran)})
    assert (steps(plan), plan.hosts["t1"].release) == ({"t1": "activate"}, V1)


def test_resume_finds_the_same_binary_where_the_folder_is_called_otherwise() -> None:
    states = {"t1": CONFIRMED, "t2": target(V1, V1, "v2.0-22222222", ran=(BEFORE,))}
    assert resume(RUN, "hello", states).hosts["t2"].release == "v2.0-22222222"


def test_the_journal_has_folders_that_no_target_has_recorded() -> None:
    """The controller died before the first switch; t9 was no target of that run, t7 is not in reach of this one."""
    states = {"t1": UNTOUCHED, "t2": UNTOUCHED, "t9": UNTOUCHED}
    planned = {"t1": V2, "t2": V2, "t7": V2}
    plan = resume(RUN, "hello", states, planned)
    assert steps(plan) == {"t1": "activate", "t2": "activate"}
    assert "t9: no target of run 20261122T031244Z-9f3a, left alone" in plan.notes
    assert any(note.startswith("t7: ") and "they keep their releases" in note for note in plan.notes)
    assert steps(abort(RUN, "hello", states, planned)) == {"t1": "nothing", "t2": "nothing"}


def test_resume_says_which_targets_lack_the_release_and_changes_nothing() -> None:
    states = {"t1": CONFIRMED, "t2": target(V1, V1, ran=(BEFORE,)), "t3": target(None)}
    with pytest.raises(ResumeError) as caught:
        resume(f"{RUN}-r1", "hello", states)
    line = str(caught.value)
    assert "v2.0 (v2.0 for lin) is not on t2, t3" in line
    assert f"--data abort={RUN}" in line
    assert "\n" not in line


def test_a_release_that_was_pruned_everywhere_is_missing_everywhere() -> None:
    states = {"t1": target(V1, V1, ran=(BEFORE, record(RUN, V2, V1, "reverted"))), "t2": UNTOUCHED}
    with pytest.raises(ResumeError, match="its release is not on t1, t2"):
        resume(RUN, "hello", {"t1": states["t1"], "t2": target(V1, V1, ran=(BEFORE,))})
    assert steps(abort(RUN, "hello", states)) == {"t1": "nothing", "t2": "nothing"}


def test_a_release_marked_bad_is_tried_once_more_and_that_is_said() -> None:
    state = target(V1, V1, release(V2, "crashed"), ran=(BEFORE, record(RUN, V2, V1, "reverted")))
    plan = resume(RUN, "hello", {"t1": state})
    assert steps(plan) == {"t1": "activate"}
    assert plan.notes == [f"t1: {V2} is marked bad (crashed); it is tried once more"]


def test_an_unknown_run_is_refused_with_the_newest_known_ones() -> None:
    runs = [f"2026112{day}T000000Z-aaaa" for day in range(1, 5)]
    states = {"t1": target(V1, V1, ran=tuple(record(run, V1) for run in runs))}
    for plan in (resume, abort):
        with pytest.raises(ResumeError, match=f"knows a run {RUN}.*: {runs[3]}, {runs[2]}, {runs[1]}$"):
            plan(RUN, "hello", states)
        with pytest.raises(ResumeError, match=r"the targets know: none$"):
            plan(RUN, "hello", {"t1": target(None)})


@pytest.mark.parametrize("state", ["intended", "provisional", "confirmed"])
def test_a_run_that_another_one_came_after_is_refused(state: str) -> None:
    late = target(V3, V1, V2, V3, ran=(BEFORE, record(RUN, V2, V1), record(LATER, V3, V2, state)))
    fresh = target(V3, V1, V2, V3, ran=(BEFORE, record(LATER, V3, V1, state)))
    for plan in (resume, abort):
        with pytest.raises(ResumeError, match=f"came after {RUN}: run {LATER} on t1, t2; resume or abort the last"):
            plan(RUN, "hello", {"t1": late, "t2": fresh, "t3": CONFIRMED})


def test_a_later_run_that_changed_nothing_does_not_matter() -> None:
    ran = (BEFORE, record(RUN, V2, V1), record(LATER, V3, V2, "reverted"))
    states = {"t1": target(V2, V1, V2, V3, ran=ran), "t2": PROVISIONAL}
    assert steps(resume(RUN, "hello", states)) == {"t1": "nothing", "t2": "confirm"}


def test_abort_refuses_when_a_target_has_nothing_to_go_back_to() -> None:
    first = target(V2, V2, ran=(record(RUN, V2),))
    pruned = target(V2, V2, ran=(BEFORE, record(RUN, V2, V1)))
    with pytest.raises(ResumeError) as caught:
        abort(RUN, "hello", {"t1": CONFIRMED, "t2": first, "t3": pruned})
    line = str(caught.value)
    assert f"t2 had no release before it; t3 had {V1} before it, which is no longer there" in line
    assert f"--data resume={RUN}" in line
    assert "\n" not in line


def test_a_first_release_that_is_provisional_can_be_taken_back_to_nothing() -> None:
    plan = abort(RUN, "hello", {"t1": target(V2, V2, ran=(record(RUN, V2, None, "provisional"),))})
    assert (steps(plan), plan.hosts["t1"].release, plan.hosts["t1"].of) == ({"t1": "revert"}, None, V2)


def test_abort_says_when_the_targets_do_not_have_one_version_afterwards() -> None:
    other = target(V2, V0, V2, ran=(record(OLD, V0), record(RUN, V2, V0, "provisional")))
    plan = abort(RUN, "hello", {"t1": PROVISIONAL, "t2": other, "t3": REVERTED})
    assert steps(plan) == {"t1": "revert", "t2": "revert", "t3": "nothing"}
    assert len(plan.notes) == 1
    assert "v1.0 (v1.0 for lin) on t1, t3, v0.9 (v0.9 for lin) on t2" in plan.notes[0]


def test_abort_points_at_an_unhealthy_target_that_it_has_no_part_in() -> None:
    plan = abort(RUN, "hello", {"t1": PROVISIONAL, "t2": target(V1, V1, V2, ran=(BEFORE,), well=False)})
    assert plan.notes == [f"t2: {V1} is live and not healthy, and not by this run: look at it"]


def test_what_an_older_run_left_unconfirmed_is_activated_by_the_one_that_is_resumed() -> None:
    state = target(V2, V1, V2, ran=(record(OLD, V2, V1, "provisional"),))
    assert steps(resume(RUN, "hello", {"t1": state, "t2": CONFIRMED})) == {"t1": "activate", "t2": "nothing"}


def test_what_an_older_run_left_unconfirmed_goes_back_with_the_run_that_is_taken_back() -> None:
    """It would go back by itself a little later, and the target would not be what the abort said."""
    state = target(V2, V1, V2, ran=(BEFORE, record(f"{OLD}-r1", V2, V1, "provisional")))
    plan = abort(RUN, "hello", {"t1": state, "t2": CONFIRMED})
    assert steps(plan) == {"t1": "revert", "t2": "activate"}
    assert (plan.hosts["t1"].run_id, plan.hosts["t1"].release) == (f"{OLD}-r1", V1)


def test_a_history_that_was_lost_leaves_the_record() -> None:
    states = {"t1": replace(CONFIRMED, history=(), last_good=None), "t2": replace(PROVISIONAL, history=())}
    assert steps(resume(RUN, "hello", states)) == {"t1": "nothing", "t2": "confirm"}
    assert steps(abort(RUN, "hello", states)) == {"t1": "activate", "t2": "revert"}


@pytest.mark.parametrize(
    ("state", "goal", "expected"),
    [
        (CONFIRMED, V2, "confirmed"),
        (REVERTED, V2, "reverted"),
        (PROVISIONAL, V2, None),
        (CUT_OFF, V2, None),
        (UNTOUCHED, V2, "untouched"),
        (CONFIRMED, V1, "untouched"),  # an abort whose order never arrived: the confirmation is the run's own
        (REVERTED, V1, "taken-back"),  # an abort whose order arrived: the earlier release is live
    ],
)
def test_a_target_that_was_lost_is_taken_at_its_own_record(
    state: ServiceState, goal: str, expected: str | None
) -> None:
    assert phase_of_record(state, f"{RUN}-r1", goal) == expected
