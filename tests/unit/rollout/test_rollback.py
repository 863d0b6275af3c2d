"""Which release a rollback brings the fleet to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from gofallback.rollout.rollback import CandidateError, RollbackGoal, rollback_goals
from tests.unit.targets import record, release, target

V1, V2, V3 = "v1.0-aaaaaaaa", "v2.0-bbbbbbbb", "v3.0-cccccccc"
R1, R2, R3, R4 = (f"2026112{day}T000000Z-aaaa" for day in range(1, 5))
#: What a target did that got every release in its turn.
ALL = (record(R1, V1), record(R2, V2, V1), record(R3, V3, V2))


def goals(back: Mapping[str, RollbackGoal]) -> dict[str, str]:
    return {host: to.release for host, to in back.items()}


def test_a_target_goes_back_to_what_was_last_live_and_healthy_before_what_is_live_now() -> None:
    back = rollback_goals({"t1": target(V3, V1, V2, V3, ran=ALL)})["t1"]
    assert (back.release, back.sha256, back.commit) == (V2, "v2.0 for linux/amd64", "commit of v2.0")
    assert back.needed


@pytest.mark.parametrize("marked", ["here", "elsewhere"])
def test_a_release_that_is_bad_anywhere_is_passed_over_everywhere(marked: str) -> None:
    bad = release(V2, "crashed")
    there = target(V3, V1, bad if marked == "here" else V2, V3, ran=ALL)
    other = target(V3, V1, V2 if marked == "here" else bad, V3, ran=ALL)
    assert goals(rollback_goals({"t1": there, "t2": other})) == {"t1": V1, "t2": V1}


def test_a_release_that_one_target_no_longer_has_is_passed_over() -> None:
    back = rollback_goals({"t1": target(V3, V1, V2, V3, ran=ALL), "t2": target(V3, V1, V3, ran=ALL)})
    assert goals(back) == {"t1": V1, "t2": V1}


def test_an_activation_that_was_reverted_was_not_good() -> None:
    ran = (record(R1, V1), record(R2, V2, V1, "reverted"), record(R3, V3, V1))
    assert goals(rollback_goals({"t1": target(V3, V1, V2, V3, ran=ran)})) == {"t1": V1}


def test_when_what_is_live_was_never_good_the_last_good_one_is_taken() -> None:
    ran = (*ALL[:2], record(R3, V3, V2, "failed"))
    assert goals(rollback_goals({"t1": target(V3, V1, V2, V3, ran=ran)})) == {"t1": V2}


def test_a_lost_history_leaves_the_release_that_ran_before_the_last_activation() -> None:
    state = replace(target(V2, V1, V2, ran=(record(R2, V2, V1),)), history=())
    assert goals(rollback_goals({"t1": state})) == {"t1": V1}


def test_a_fleet_that_differs_leaves_what_the_newest_run_put_live() -> None:
    """The rollout of v3 got to half the targets; the others need not be touched."""
    states = {"t1": target(V3, V1, V2, V3, ran=ALL), "t2": target(V2, V1, V2, V3, ran=ALL[:2])}
    back = rollback_goals(states)
    assert goals(back) == {"t1": V2, "t2": V2}
    assert (back["t1"].needed, back["t2"].needed) == (True, False)


def test_a_target_that_took_another_way_comes_along() -> None:
    """t2 missed v2 and v3 altogether and runs v1: it has v2 and goes forward to it."""
    states = {"t1": target(V3, V1, V2, V3, ran=ALL), "t2": target(V1, V1, V2, ran=ALL[:1])}
    assert goals(rollback_goals(states)) == {"t1": V2, "t2": V2}


def test_a_target_that_reverted_the_newest_run_does_not_say_what_is_left() -> None:
    states = {
        "t1": target(V3, V1, V2, V3, ran=ALL),
        "t2": target(V2, V1, V2, V3, ran=(*ALL[:2], record(R3, V3, V2, "reverted"))),
    }
    assert goals(rollback_goals(states)) == {"t1": V2, "t2": V2}


def test_the_release_of_a_dead_run_that_nobody_confirmed_is_left() -> None:
    states = {
        "t1": target(V3, V1, V2, V3, ran=(*ALL[:2], record(R3, V3, V2, "provisional"))),
        "t2": target(V2, V1, V2, V3, ran=ALL[:2]),
    }
    assert goals(rollback_goals(states)) == {"t1": V2, "t2": V2}


def test_a_rollback_that_was_cut_off_is_finished_by_the_next_one() -> None:
    """t1 went back to v1, by the newest run of all; t2 was not reached."""
    states = {
        "t1": target(V1, V1, V2, ran=(*ALL[:2], record(R4, V1, V2))),
        "t2": target(V2, V1, V2, ran=ALL[:2]),
    }
    assert goals(rollback_goals(states)) == {"t1": V1, "t2": V1}
    assert not rollback_goals(states)["t1"].needed


def test_an_abort_that_one_target_did_not_survive_is_finished_by_a_rollback() -> None:
    states = {
        "t1": target(V2, V1, V2, ran=(*ALL[:2], record(f"{R2}-r1", V1, V2, "reverted"))),
        "t2": target(V1, V1, V2, ran=(*ALL[:2], record(f"{R2}-r1", V1, V2))),
    }
    assert goals(rollback_goals(states)) == {"t1": V1, "t2": V1}


def test_where_all_targets_run_the_same_a_second_rollback_goes_forth_again() -> None:
    ran = (*ALL[:2], record(R4, V1, V2))
    assert goals(rollback_goals({"t1": target(V1, V1, V2, ran=ran)})) == {"t1": V2}


def test_a_target_that_would_still_go_away_from_it_by_itself_needs_the_rollback() -> None:
    """v1 is live on t1 by a rollback that was cut off before it was confirmed."""
    ran = (*ALL[:2], record(R4, V1, V2, "provisional"))
    states = {"t1": target(V1, V1, V2, ran=ran), "t2": target(V2, V1, V2, ran=ALL[:2])}
    assert goals(rollback_goals(states, V1)) == {"t1": V1, "t2": V1}
    assert rollback_goals(states, V1)["t1"].needed


def test_a_live_release_that_is_not_healthy_needs_the_rollback() -> None:
    states = {"t1": target(V3, V2, V3, ran=ALL), "t2": target(V2, V2, V3, ran=ALL[:2], well=False)}
    assert rollback_goals(states)["t2"].needed


def test_clocks_of_targets_do_not_matter_the_runs_ids_do() -> None:
    """t2's clock is a day ahead; its last activation was before that of t1 all the same."""
    ahead = tuple(one | {"started": "2026-12-24T00:00:00.000Z"} for one in ALL[:2])
    behind = tuple(one | {"started": "2025-01-01T00:00:00.000Z"} for one in ALL)
    states = {"t1": target(V3, V1, V2, V3, ran=behind), "t2": target(V2, V1, V2, V3, ran=ahead)}
    assert goals(rollback_goals(states)) == {"t1": V2, "t2": V2}


def test_the_same_binary_lies_in_folders_of_different_names_where_rendered_files_differ() -> None:
    mine, yours = "v2.0-11111111", "v2.0-22222222"
    ran = (record(R1, V1), record(R2, yours, V1), record(R3, V3, yours))
    states = {
        "t1": target(V3, V1, mine, V3, ran=(record(R1, V1), record(R2, mine, V1), record(R3, V3, mine))),
        "t2": target(V3, V1, yours, V3, ran=ran),
    }
    assert goals(rollback_goals(states)) == {"t1": mine, "t2": yours}


def test_another_binary_of_the_same_version_is_another_release() -> None:
    other = release("v2.0-22222222", sha256="built anew")
    ran = (record(R1, V1), record(R2, other.id, V1), record(R3, V3, other.id))
    states = {"t1": target(V3, V1, V2, V3, ran=ALL), "t2": target(V3, V1, other, V3, ran=ran)}
    assert goals(rollback_goals(states)) == {"t1": V1, "t2": V1}
    with pytest.raises(CandidateError, match=r"v2\.0 means different binaries: .*name one by its folder"):
        rollback_goals(states, "v2.0")


def test_targets_of_different_platforms_have_different_binaries_of_one_version() -> None:
    arm = [release(name, platform="linux/arm64") for name in (V1, V2, V3)]
    states = {"t1": target(V3, V1, V2, V3, ran=ALL), "t2": target(V3, *arm, ran=ALL)}
    back = rollback_goals(states)
    assert goals(back) == {"t1": V2, "t2": V2}
    assert (back["t1"].sha256, back["t2"].sha256) == ("v2.0 for linux/amd64", "v2.0 for linux/arm64")


def test_after_a_change_of_configuration_alone_the_files_go_back_and_the_binary_stays() -> None:
    before, after = "v2.0-11111111", "v2.0-22222222"
    ran = (record(R1, V1), record(R2, before, V1), record(R3, after, before))
    states = {"t1": target(after, V1, before, after, ran=ran), "t2": target(before, V1, before, ran=ran[:2])}
    back = rollback_goals(states)
    assert goals(back) == {"t1": before, "t2": before}
    assert not back["t2"].needed


def test_of_several_folders_of_the_version_the_one_last_good_there_is_taken() -> None:
    old, new = "v2.0-22222222", "v2.0-11111111"
    ran = (record(R1, old), record(R2, new, old), record(R3, V3, new))
    assert goals(rollback_goals({"t1": target(V3, old, new, V3, ran=ran)})) == {"t1": new}
    never = target(V3, old, new, V3, ran=(record(R3, V3),))
    assert goals(rollback_goals({"t1": never}, "v2.0")) == {"t1": old}


def test_a_target_without_any_release_of_the_service_is_left_out() -> None:
    assert set(rollback_goals({"t1": target(V3, V2, V3, ran=ALL), "t2": target(None)})) == {"t1"}
    with pytest.raises(CandidateError, match=r"no target has any release of the service; deploys/rollout\.py sends"):
        rollback_goals({"t1": target(None)})


def test_with_nothing_to_go_back_to_one_line_says_what_is_where_and_what_to_do() -> None:
    states = {
        "t1": target(V3, release(V2, "crashed"), V3, ran=ALL),
        "t2": target(V3, V2, V3, ran=ALL),
        "t3": target(V3, V3, ran=ALL[2:]),
        "t4": target(V3, V3, ran=ALL[2:]),
    }
    with pytest.raises(CandidateError) as caught:
        rollback_goals(states)
    line = str(caught.value)
    assert "\n" not in line
    assert "v2.0 (v2.0 for lin) is bad (crashed) on t1 and missing on t3, t4" in line
    assert "t1: v2.0-bbbbbbbb (bad: crashed), v3.0-cccccccc (live); t2: v2.0-bbbbbbbb, v3.0-cccccccc (live); " in line
    assert "t3, t4: v3.0-cccccccc (live); " in line
    assert "--data release=" in line
    assert "deploys/rollout.py --data version=" in line


def test_a_release_can_be_named_by_its_folder_or_its_version_even_a_bad_one() -> None:
    states = {"t1": target(V2, release(V1, "crashed"), V2, ran=ALL[:2]), "t2": target(V2, V1, V2, ran=ALL[:2])}
    assert goals(rollback_goals(states, V1)) == goals(rollback_goals(states, "v1.0")) == {"t1": V1, "t2": V1}
    with pytest.raises(CandidateError, match=r"release v9 is not on t1, t2; there: t1: v1\.0"):
        rollback_goals(states, "v9")


def test_a_named_folder_stands_for_its_binary_on_targets_where_it_is_called_otherwise() -> None:
    states = {"t1": target(V2, V1, V2, ran=ALL[:2]), "t2": target(V2, "v1.0-dddddddd", V2, ran=ALL[1:2])}
    assert goals(rollback_goals(states, V1)) == {"t1": V1, "t2": "v1.0-dddddddd"}


def test_a_named_release_that_a_target_lacks_is_refused_for_all() -> None:
    states = {"t1": target(V2, V1, V2, ran=ALL[:2]), "t2": target(V2, V2, ran=ALL[1:2])}
    with pytest.raises(CandidateError, match=r"release v1\.0 is not on t2; .*--limit"):
        rollback_goals(states, "v1.0")


def test_a_bad_folder_gives_way_to_a_good_one_of_the_named_version() -> None:
    states = {"t1": target(V2, release("v1.0-ffffffff", "crashed"), V1, V2, ran=ALL[:2])}
    assert goals(rollback_goals(states, "v1.0")) == {"t1": V1}
