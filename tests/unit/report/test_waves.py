"""Reports of rollouts in waves, of one target and of fifty: who, why, and when which host had what."""

from __future__ import annotations

import re

import pytest

from gofallback.report import html, markdown, table, timeline
from gofallback.report.model import Report, Span, Stage
from gofallback.report.rows import Hold
from gofallback.report.screen import overview, text
from tests.unit.report.test_report import outline
from tests.unit.reports import SHA, audited, rollout

LONG = "edge-cache-{}.rack-17.datacentre-frankfurt-3.production.example.com"


def drawn(report: Report) -> list[str]:
    return text(timeline.render(report)).splitlines()


def test_the_timeline_begins_with_the_waves_and_marks_where_each_began() -> None:
    lines = drawn(rollout(10))
    waves = lines[:4]
    assert lines[0].startswith("waves")
    assert "canary" in waves[0]
    starts = [line.index("█") for line in waves[1:]]
    assert starts == sorted(starts)
    preflight = next(line for line in lines if line.startswith("preflight"))
    assert [place for place, sign in enumerate(preflight) if sign == "│"] == [waves[0].index("█"), *starts]


def test_a_release_is_drawn_as_provisional_until_it_is_confirmed() -> None:
    line = next(line for line in drawn(rollout(10)) if re.match(r"activate +t1 ", line))
    assert re.search(r"█+▒*·", line)
    (held,) = [hold for hold in rollout(10).holds if hold.host == "t4"]
    bars = next(band for band in html.draw(rollout(10)).bands if band.name == "activate").bars
    bar = next(bar for bar in bars if bar.host == "t4")
    assert bar.hold is not None
    assert bar.hold.x == pytest.approx(bar.x + bar.width, abs=0.2)
    assert bar.hold.ended == held.ended == "confirmed"
    assert "then confirmed" in bar.title


def test_a_stage_that_waited_for_later_waves_is_drawn_as_provisional_from_its_own_gate_on() -> None:
    report = rollout(2)
    spans = [Span(host="t1", start=10, end=20)]
    holds = [Hold(host="t1", service="hello", start=13, end=21, ended="confirmed")]
    report = report.model_copy(update={"stages": [Stage(name="activate", spans=spans)], "holds": holds})
    drawing = html.draw(report)
    (bar,) = next(band for band in drawing.bands if band.name == "activate").bars
    assert bar.hold is not None
    assert bar.width / bar.hold.width == pytest.approx(3 / 8, abs=0.02)
    assert bar.label.startswith("3.00 s")
    line = next(line for line in drawn(report) if line.startswith("activate"))
    assert line.count("█") < line.count("▒")
    assert line.endswith("3.00 s")


def test_what_went_back_is_drawn_in_another_colour_until_then() -> None:
    bars = next(band for band in html.draw(rollout(10, fall=5)).bands if band.name == "activate").bars
    good = next(band for band in html.draw(rollout(10)).bands if band.name == "activate").bars
    back = next(bar for bar in bars if bar.host == "t2")
    fine = next(bar for bar in good if bar.host == "t2")
    assert back.hold is not None
    assert fine.hold is not None
    assert back.hold.colour != fine.hold.colour
    assert back.label.endswith("reverted")
    assert any(line.endswith("failed") for line in drawn(rollout(10, fall=5))[:4]), "the wave that failed says so"


def test_waves_that_were_not_reached_are_in_the_table_and_not_in_the_drawing() -> None:
    report = rollout(10, fall=5)
    assert "not reached" in html.render(report)
    assert "| wave 3 of region eu-central-3 | not reached | 3: t8, t9, t10 | - | - | - |" in markdown.render(report)
    assert len(html.draw(report).waves) == 3


def test_a_rollout_of_one_wave_has_no_words_about_waves() -> None:
    report = rollout(1)
    assert outline(report).sections == ["targets", "timeline", "artifacts"]
    assert "Waves" not in markdown.render(report)
    assert not drawn(report)[0].startswith("waves")


@pytest.mark.parametrize("count", [1, 2, 10, 50])
@pytest.mark.parametrize("name", ["t{}", LONG], ids=["short", "long"])
@pytest.mark.parametrize("fall", [None, 0], ids=["good", "bad"])
def test_every_size_of_fleet_stays_readable(count: int, name: str, fall: int | None) -> None:
    report = Report.model_validate(audited(rollout(count, name=name, waves=9, fall=fall)).model_dump())
    shown = text(overview(report))
    assert max(len(line) for line in shown.splitlines()) <= 100
    for host in {row.host for row in report.targets if len(row.host) < 20}:
        assert host in shown
    drawing = html.draw(report)
    bars = [bar for band in drawing.bands for bar in band.bars]
    assert len({(bar.y, bar.x) for bar in bars}) == len(bars), "bars lie upon each other"
    assert all(drawing.left <= bar.x and bar.x + bar.width <= drawing.width - 200 for bar in bars)
    assert all(bar.hold is None or bar.hold.x + bar.hold.width <= drawing.width - 200 for bar in bars)
    assert all(len(bar.host) <= 28 for bar in bars)
    assert outline(report).loads == []


def test_targets_with_the_same_reason_share_a_line() -> None:
    shown = text(table.render(rollout(50, fall=2)))
    assert shown.count("untouched, the rollout was stopped") == 1
    line = next(line for line in shown.splitlines() if line.startswith("t15, t16, "))
    assert re.search(r"and \d+ more: untouched", line)


@pytest.mark.parametrize("form", [html.render, markdown.render], ids=["html", "markdown"])
def test_the_records_say_who_why_by_whose_leave_and_which_rule_was_set_aside(form: object) -> None:
    shown = form(audited(rollout(2)))  # type: ignore[operator]
    for said in (
        "root (uid 0) by sudo from alice on ctl1, process 4711",
        "SHA256:2uqd6vVTRtNRCY4lU9N9nyK2hSu/wYSGd1zxRHvDvHY",
        "with changes that are not committed",
        "INC-4711: the mirror answers 500",
        "valid until 2026-11-23T02:10:00Z",
        "OVERRIDE: rolled out in a freeze (year end, until 2026-12-31), because: INC-4711",
        f"23 lines, the last has the hash {SHA}",
    ):
        assert said in shown.replace("\\", "").replace("&#64;", "@").replace("&#39;", "'"), said


def test_the_end_of_a_run_says_loudly_which_rule_was_set_aside() -> None:
    shown = text(table.render(audited(rollout(2))))
    assert "OVERRIDE: rolled out in a freeze" in shown
    assert "because: INC-4711: the mirror answers 500" in shown
    assert "approved: bob@example.com with SHA256:u6dhq" in shown
    assert "OVERRIDE" not in text(table.render(rollout(2)))


def test_a_target_that_is_not_confirmed_says_until_when() -> None:
    report = rollout(2)
    open_row = report.targets[1].model_copy(update={"outcome": "provisional", "deadline": "2026-11-22T03:14:00Z"})
    shown = text(table.render(report.model_copy(update={"targets": [report.targets[0], open_row]})), width=200)
    assert "t2: provisional" in shown
    assert "goes back by itself at 2026-11-22T03:14:00Z (the target's clock) unless it is confirmed" in shown


def test_a_report_of_waves_comes_back_from_its_json() -> None:
    report = audited(rollout(10, fall=3))
    assert Report.model_validate_json(report.model_dump_json()) == report
