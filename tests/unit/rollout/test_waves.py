"""Which targets get a release when."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gofallback.model.rollout import Rollout
from gofallback.rollout.waves import Member, WaveError, plan


def members(names: str, *, canary: str = "", **labels: dict[str, str]) -> list[Member]:
    """Targets by name; `region={"eu": "t1 t2"}` labels them."""
    found = []
    for name in names.split():
        mine = {key: value for key, by in labels.items() for value, those in by.items() if name in those.split()}
        found.append(Member(name, mine, canary=name in canary.split()))
    return found


def waves(targets: list[Member], known: str = "", **strategy: Any) -> list[tuple[str, str]]:
    return [(wave.name, " ".join(wave.hosts)) for wave in plan(targets, Rollout(**strategy), known.split())]


def many(count: int) -> str:
    return " ".join(f"t{number}" for number in range(1, count + 1))


def test_without_data_the_first_of_several_is_the_canary_and_all_others_follow() -> None:
    assert waves(members("t1 t2 t3")) == [("canary", "t1"), ("wave 1", "t2 t3")]
    assert waves(members("t1")) == [("all", "t1")]
    assert waves([]) == []


def test_marked_targets_are_the_canaries_in_the_order_of_the_inventory() -> None:
    assert waves(members("t1 t2 t3", canary="t3 t2")) == [("canary", "t2 t3"), ("wave 1", "t1")]
    assert waves(members("t1", canary="t1")) == [("canary", "t1")]


@pytest.mark.parametrize(
    ("canary", "expected"),
    [
        (0, [("all", "t1 t2 t3")]),
        (1, [("canary", "t3"), ("wave 1", "t1 t2")]),  # the marked one first
        (2, [("canary", "t3 t1"), ("wave 1", "t2")]),
        (9, [("canary", "t3 t1 t2")]),
        (["t2", "t1"], [("canary", "t2 t1"), ("wave 1", "t3")]),
    ],
)
def test_canaries_are_a_count_or_named_in_order(canary: int | list[str], expected: list[tuple[str, str]]) -> None:
    assert waves(members("t1 t2 t3", canary="t3"), canary=canary) == expected


def test_a_canary_that_is_no_target_is_refused_but_not_one_that_limit_leaves_out() -> None:
    with pytest.raises(WaveError, match=r"rollout\.canary: no target is called 't9'; there are t1, t2"):
        waves(members("t1 t2"), canary=["t9"])
    assert waves(members("t1 t2"), known="t1 t2 t9", canary=["t9", "t2"]) == [("canary", "t2"), ("wave 1", "t1")]


def test_counts_are_so_many_more_and_percents_so_much_of_all() -> None:
    assert waves(members(many(10)), canary=1, waves=[2, "50%"]) == [
        ("canary", "t1"),
        ("wave 1", "t2 t3"),
        ("wave 2 (to 50%)", "t4 t5"),
        ("wave 3", "t6 t7 t8 t9 t10"),
    ]


def test_a_percent_is_rounded_up_and_one_that_is_reached_already_is_no_wave() -> None:
    assert waves(members(many(3)), canary=0, waves=["1%", "34%"]) == [
        ("wave 1 (to 1%)", "t1"),
        ("wave 2 (to 34%)", "t2"),
        ("wave 3", "t3"),
    ]
    assert waves(members(many(3)), canary=2, waves=["50%", "100%"]) == [("canary", "t1 t2"), ("wave 1 (to 100%)", "t3")]


def test_a_label_makes_one_wave_for_each_value_in_the_order_of_the_inventory() -> None:
    targets = members("t1 t2 t3 t4 t5", region={"us": "t2 t4", "eu": "t1 t3"})
    assert waves(targets, canary=1, waves=[{"label": "region"}]) == [
        ("canary", "t1"),
        ("wave 1 (region us)", "t2 t4"),
        ("wave 2 (region eu)", "t3"),
        ("wave 3", "t5"),
    ]
    assert waves(targets, canary=0, waves=[{"label": "region", "value": "eu"}, 1]) == [
        ("wave 1 (region eu)", "t1 t3"),
        ("wave 2", "t2"),
        ("wave 3", "t4 t5"),
    ]


def test_a_label_or_value_that_no_target_has_is_a_slip_of_the_pen() -> None:
    targets = members("t1 t2", region={"eu": "t1", "us": "t2"})
    with pytest.raises(WaveError, match=r"rollout\.waves: no target has the label 'rack'"):
        waves(targets, waves=[{"label": "rack"}])
    with pytest.raises(WaveError, match=r"no target has region 'ue'; there are eu, us"):
        waves(targets, waves=[{"label": "region", "value": "ue"}])


def test_with_limit_the_label_may_be_on_the_targets_that_are_left_out() -> None:
    assert waves(members("t1 t2"), known="t1 t2 t3", waves=[{"label": "rack", "value": "a"}]) == [
        ("canary", "t1"),
        ("wave 1", "t2"),
    ]


WAVE = st.one_of(
    st.integers(1, 9), st.sampled_from([{"label": "region"}, *({"label": "region", "value": one} for one in "ab")])
)
PERCENTS = st.lists(st.integers(1, 100), unique=True, max_size=3).map(
    lambda found: [f"{one}%" for one in sorted(found)]
)


@given(
    regions=st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=30),
    canary=st.one_of(st.none(), st.integers(0, 5)),
    head=st.lists(WAVE, max_size=3),
    tail=PERCENTS,
)
def test_every_target_is_in_exactly_one_wave_whatever_the_strategy(
    regions: list[str], canary: int | None, head: list[Any], tail: list[str]
) -> None:
    targets = [Member(f"t{place}", {"region": one} if one else {}) for place, one in enumerate(regions)]
    names = [member.name for member in targets]
    found = plan(targets, Rollout(canary=canary, waves=[*head, *tail]), [*names, "left out"])
    assert sorted(host for wave in found for host in wave.hosts) == sorted(names)
    assert [wave.number for wave in found] == list(range(len(found)))
    assert all(wave.hosts for wave in found)
    assert len({wave.name for wave in found}) == len(found)
    for wave in found:
        assert list(wave.hosts) == sorted(wave.hosts, key=names.index)
