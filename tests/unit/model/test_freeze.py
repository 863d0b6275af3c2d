"""Freeze windows: when one is on, when it ends, over midnight, over the week end, over summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gofallback.model import DataError, Fleet, parse_fleet
from gofallback.model.freeze import WEEKDAYS, Frozen, active
from tests.unit.examples import examples

BERLIN = ZoneInfo("Europe/Berlin")
WEEKEND = {"name": "weekend", "weekdays": ["fri"], "from": "16:00", "until": "mon 08:00", "timezone": "Europe/Berlin"}
NIGHTS = {"name": "nights", "weekdays": ["fri", "sat"], "from": "16:00", "until": "08:00", "timezone": "Europe/Berlin"}
HOLIDAYS = {"name": "holidays", "from": "2026-12-23T18:00:00+01:00", "until": "2027-01-04T08:00:00+01:00"}


def fleet(*windows: object) -> Fleet:
    return parse_fleet({"services": {}, "freeze": list(windows)})


def frozen(now: datetime, *windows: object) -> Frozen | None:
    return active(fleet(*windows).freeze, now)


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def refused(*windows: object) -> str:
    with pytest.raises(DataError) as caught:
        fleet(*windows)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_windows_nothing_is_frozen() -> None:
    assert frozen(berlin("2026-11-22T12:00")) is None


@pytest.mark.parametrize(
    ("now", "on"),
    [
        ("2026-12-23T17:59:59", False),
        ("2026-12-23T18:00:00", True),
        ("2027-01-04T07:59:59", True),
        ("2027-01-04T08:00:00", False),
    ],
)
def test_a_one_off_window_begins_and_ends_at_its_second(now: str, on: bool) -> None:
    assert (frozen(berlin(now), HOLIDAYS) is not None) is on


@pytest.mark.parametrize(
    ("now", "on"),
    [
        ("2026-11-20T15:59", False),  # Friday
        ("2026-11-20T16:00", True),
        ("2026-11-21T00:00", True),
        ("2026-11-21T07:59", True),
        ("2026-11-21T08:00", False),
        ("2026-11-21T16:00", True),
        ("2026-11-22T07:59", True),
        ("2026-11-22T16:00", False),  # Sunday: begins on Friday and Saturday only
    ],
)
def test_a_weekly_window_goes_over_midnight(now: str, on: bool) -> None:
    assert (frozen(berlin(now), NIGHTS) is not None) is on


@pytest.mark.parametrize(
    ("now", "on"),
    [
        ("2026-11-20T15:59", False),
        ("2026-11-21T12:00", True),
        ("2026-11-23T07:59", True),  # Monday of the next week
        ("2026-11-23T08:00", False),
        ("2026-11-25T12:00", False),
    ],
)
def test_a_weekly_window_goes_over_the_end_of_the_week(now: str, on: bool) -> None:
    assert (frozen(berlin(now), WEEKEND) is not None) is on


def test_the_end_is_shown_in_the_zone_of_the_window_and_in_utc() -> None:
    found = frozen(berlin("2026-11-21T12:00"), WEEKEND)
    assert str(found) == "'weekend' until Mon 2026-11-23 08:00 CET (2026-11-23T07:00:00Z)"


def test_windows_that_follow_at_once_count_as_one_freeze() -> None:
    monday = {**WEEKEND, "name": "monday", "weekdays": ["mon"], "from": "08:00", "until": "12:00"}
    found = frozen(berlin("2026-11-21T12:00"), WEEKEND, monday)
    assert found is not None and found.until == berlin("2026-11-23T12:00")


def test_a_freeze_of_every_day_has_no_end() -> None:
    always = {**WEEKEND, "name": "always", "weekdays": list(WEEKDAYS), "from": "00:00", "until": "00:00"}
    found = frozen(berlin("2026-11-21T12:00"), always)
    assert found is not None and found.until is None and "no end" in str(found)


def test_from_equal_to_until_is_a_whole_day_and_with_the_same_weekday_a_whole_week() -> None:
    day = {**WEEKEND, "weekdays": ["wed"], "from": "10:00", "until": "10:00"}
    assert frozen(berlin("2026-11-19T09:59"), day) and not frozen(berlin("2026-11-19T10:00"), day)
    week = {**WEEKEND, "weekdays": ["wed"], "from": "10:00", "until": "wed 10:00"}
    assert frozen(berlin("2026-11-24T10:00"), week)


def test_in_the_night_of_summer_time_the_window_is_an_hour_shorter_and_ends_by_the_clock_on_the_wall() -> None:
    night = {**NIGHTS, "weekdays": ["sat"], "from": "22:00", "until": "06:00"}
    begin, end = datetime(2026, 3, 28, 21, tzinfo=UTC), datetime(2026, 3, 29, 4, tzinfo=UTC)  # 7 hours
    assert not frozen(begin - timedelta(seconds=1), night) and frozen(begin, night)
    assert frozen(end - timedelta(seconds=1), night) and not frozen(end, night)


def test_a_time_that_the_clock_shows_twice_counts_so_that_the_freeze_is_longer() -> None:
    # 2026-10-25: 03:00 CEST becomes 02:00 CET, so 02:30 comes at 00:30Z and again at 01:30Z.
    night = {**NIGHTS, "weekdays": ["sun"], "from": "02:30", "until": "04:00"}
    assert frozen(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), night)
    early = {**NIGHTS, "weekdays": ["sun"], "from": "01:00", "until": "02:30"}
    assert frozen(datetime(2026, 10, 25, 1, 29, tzinfo=UTC), early)
    assert not frozen(datetime(2026, 10, 25, 1, 30, tzinfo=UTC), early)


def test_a_time_that_the_clock_leaves_out_counts_so_that_the_freeze_is_longer() -> None:
    # 2026-03-29: 02:00 CET becomes 03:00 CEST, so 02:30 never comes.
    until = {**NIGHTS, "weekdays": ["sun"], "from": "01:00", "until": "02:30"}
    assert frozen(datetime(2026, 3, 29, 1, 29, tzinfo=UTC), until)
    assert not frozen(datetime(2026, 3, 29, 1, 30, tzinfo=UTC), until)
    begin = {**NIGHTS, "weekdays": ["sun"], "from": "02:30", "until": "04:00"}
    assert frozen(datetime(2026, 3, 29, 0, 30, tzinfo=UTC), begin)


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
CLOCKS = st.tuples(st.integers(0, 23), st.sampled_from([0, 1, 30, 59])).map(lambda at: f"{at[0]:02}:{at[1]:02}")
WEEKLY = st.fixed_dictionaries(
    {
        "name": st.just("w"),
        "weekdays": st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7, unique=True),
        "from": CLOCKS,
        "until": st.one_of(CLOCKS, st.builds("{} {}".format, st.sampled_from(WEEKDAYS), CLOCKS)),
        "timezone": ZONES,
    }
)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2029, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(WEEKLY, min_size=1, max_size=3), MOMENTS)
def test_a_freeze_is_on_until_the_moment_it_names_and_then_it_is_over(
    windows: list[dict[str, object]], now: datetime
) -> None:
    parsed = fleet(*windows).freeze
    found = active(parsed, now)
    if found is None or found.until is None:
        return
    assert found.until > now
    assert active(parsed, found.until) is None
    for share in (0.01, 0.5, 0.99):
        between = active(parsed, now + (found.until.astimezone(UTC) - now) * share)
        assert between is not None and between.until == found.until


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True), CLOCKS, CLOCKS, MOMENTS)
def test_without_summer_time_a_window_is_what_the_clock_on_the_wall_says(
    weekdays: list[str], begin: str, end: str, now: datetime
) -> None:
    """An independent way to tell: minutes of the day, and yesterday's weekday after midnight."""
    window = {"name": "w", "weekdays": weekdays, "from": begin, "until": end}
    clock, today = f"{now:%H:%M}", WEEKDAYS[now.weekday()]
    yesterday = WEEKDAYS[now.weekday() - 1]
    if begin < end:
        expected = today in weekdays and begin <= clock < end
    else:
        expected = (today in weekdays and clock >= begin) or (yesterday in weekdays and clock < end)
    assert (frozen(now, window) is not None) is expected


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(WEEKLY, min_size=1, max_size=3), MOMENTS, st.randoms(use_true_random=False))
def test_the_order_of_windows_does_not_matter(windows: list[dict[str, object]], now: datetime, dice: object) -> None:
    shuffled = list(windows)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    ctx, there = frozen(now, *windows), frozen(now, *shuffled)
    assert (ctx and ctx.until) == (there and there.until)


@pytest.mark.parametrize(
    ("window", "line"),
    [
        ({**WEEKEND, "from": "1600"}, "freeze[0].from: should be a time of day such as '16:00', got '1600'"),
        ({**WEEKEND, "until": "mo 08:00"}, "freeze[0].until: should be a time of day such as '08:00', or one with"),
        ({**WEEKEND, "weekdays": ["friday"]}, "freeze[0].weekdays[0]: should be 'mon', 'tue'"),
        ({**WEEKEND, "weekdays": []}, "freeze[0].weekdays: should have at least 1 entry"),
        ({**WEEKEND, "timezone": "Europe/Berln"}, "freeze[0].timezone: should be a time zone such as Europe/Berlin"),
        ({**WEEKEND, "wekdays": 1}, "freeze[0].wekdays: unknown key (did you mean 'weekdays'?)"),
        ({**HOLIDAYS, "until": "2026-12-24"}, "freeze[0].until: should be a time with an offset such as"),
        ({**HOLIDAYS, "until": "2026-12-24T12:00:00"}, "freeze[0].until: should be a time with an offset such as"),
        ({**HOLIDAYS, "until": "2026-12-23T12:00:00Z"}, "freeze[0]: until: should be after from"),
        ({"name": "x", "from": HOLIDAYS["from"]}, "freeze[0].until: is required and missing"),
        ("weekend", "freeze[0]: should be a mapping"),
    ],
)
def test_a_wrong_window_is_refused_with_its_place_and_what_was_expected(window: object, line: str) -> None:
    said = refused(window)
    assert said.startswith(line) and "group_data/" in said


def test_windows_that_are_no_list_are_refused() -> None:
    with pytest.raises(DataError, match=r"^freeze: should be a list, got a mapping"):
        parse_fleet({"services": {}, "freeze": WEEKEND})
