"""Which release a rollback goes back to."""

from __future__ import annotations

from typing import Any

import pytest

from gofallback.release.candidate import CandidateError, candidate
from gofallback.release.state import ReleaseFound, ServiceState

V1, V2, V3 = "v1.0-aaaaaaaa", "v2.0-bbbbbbbb", "v3.0-cccccccc"


def state(current: str | None, *releases: str, bad: dict[str, str] | None = None, **more: Any) -> ServiceState:
    found = {name: ReleaseFound(name, version=name.split("-")[0], bad=(bad or {}).get(name)) for name in releases}
    return ServiceState("hello", "/opt/hello", current=current, releases=found, **more)


def activated(*releases: str) -> tuple[dict[str, str], ...]:
    return tuple({"release": name, "state": "confirmed"} for name in releases)


def test_it_goes_back_to_what_was_last_live_and_healthy_before_what_is_live_now() -> None:
    assert candidate(state(V3, V1, V2, V3, history=activated(V1, V2, V3), last_good=V3)) == V2


def test_a_bad_release_is_passed_over() -> None:
    assert candidate(state(V3, V1, V2, V3, bad={V2: "crashed"}, history=activated(V1, V2, V3), last_good=V3)) == V1


def test_a_release_that_was_pruned_is_passed_over() -> None:
    assert candidate(state(V3, V1, V3, history=activated(V1, V2, V3))) == V1


def test_an_activation_that_was_reverted_does_not_count() -> None:
    history = (*activated(V1), {"release": V2, "state": "reverted"}, *activated(V3))
    assert candidate(state(V3, V1, V2, V3, history=history)) == V1


def test_when_a_release_that_was_never_good_is_live_the_last_good_one_is_taken() -> None:
    assert candidate(state(V3, V1, V2, V3, history=activated(V1, V2), last_good=V2)) == V2


def test_without_a_history_the_record_of_the_last_activation_serves() -> None:
    assert candidate(state(V2, V1, V2, last_good=V2, outcome={"previous": V1})) == V1


def test_with_nothing_to_go_back_to_it_says_what_is_there() -> None:
    with pytest.raises(CandidateError, match=r"v1\.0-aaaaaaaa \(bad: crashed\), v2\.0-bbbbbbbb \(live\); name one"):
        candidate(state(V2, V1, V2, bad={V1: "crashed"}, history=activated(V1, V2)))
    with pytest.raises(CandidateError, match="there: none"):
        candidate(state(None))


def test_a_release_can_be_named_by_its_folder_or_its_version_even_a_bad_one() -> None:
    there = state(V2, V1, V2, bad={V1: "crashed"})
    assert candidate(there, V1) == V1
    assert candidate(there, "v1.0") == V1
    with pytest.raises(CandidateError, match=r"release v9 is not on this target; there: v1\.0"):
        candidate(there, "v9")
    with pytest.raises(CandidateError, match="2 releases have that version"):
        candidate(state(V2, V1, "v1.0-dddddddd"), "v1.0")
