"""Journals and reports of version 0.1.0 are read as 0.1.0 meant them."""

from __future__ import annotations

from typing import Any

import pytest

from gofallback.journal.chain import split
from gofallback.journal.entry_text import entry_text
from gofallback.journal.read import Entry, entries
from gofallback.journal.verify import verify
from gofallback.report import html, markdown, table
from gofallback.report.model import Report
from gofallback.report.screen import text
from gofallback.rollout.phases import EXIT_STATUS, PHASES
from tests.unit.compatibility.files import DATA, RUNS, journal_of

each_run = pytest.mark.parametrize("case", RUNS)
each_report = pytest.mark.parametrize("case", [case for case, run in RUNS.items() if run["report"] is not None])


def test_every_file_is_named_in_a_table_and_every_row_has_its_file() -> None:
    assert {path.name for path in (DATA / "runs").iterdir()} == set(RUNS)
    reported = {path.parent.name for path in (DATA / "runs").glob("*/report.json")}
    assert reported == {case for case, run in RUNS.items() if run["report"] is not None}


def read(case: str) -> list[Entry]:
    return entries(journal_of(case).read_bytes())


@each_run
def test_no_line_of_a_journal_is_wrong_and_only_a_killed_run_is_open(case: str) -> None:
    lines = split(journal_of(case).read_bytes())
    assert len(lines) == RUNS[case]["lines"]
    assert [problem.kind for problem in verify(lines)] == ([] if RUNS[case]["verdict"] else ["open"])


@pytest.mark.parametrize("path", sorted((DATA / "hosts").iterdir()), ids=lambda path: path.stem)
def test_the_journal_of_a_target_is_whole(path: Any) -> None:
    assert verify(split(path.read_bytes()), ends=False) == []


@each_run
def test_every_line_is_an_entry_with_its_time_and_its_run(case: str) -> None:
    found = read(case)
    assert [entry.seq for entry in found] == list(range(1, RUNS[case]["lines"] + 1))
    assert all(entry.intact and entry.at is not None and entry.run for entry in found)


@each_run
def test_the_last_event_of_a_target_and_of_the_run_are_those_that_were_written(case: str) -> None:
    phases = {row.journal for row in PHASES.values()} | {"seen"}
    last: dict[str, str] = {}
    for entry in read(case):
        if entry.host and entry.service and entry.event in phases:
            last[entry.host] = f"seen {entry.data['state']}" if entry.event == "seen" else entry.event
    assert last == RUNS[case]["journal"]
    ended = [(entry.data["verdict"], entry.data["exit"]) for entry in read(case) if entry.event == "ended"]
    assert (ended[-1] if ended else (None, None)) == (RUNS[case]["verdict"], RUNS[case]["exit"])


@each_run
def test_every_entry_is_shown_in_one_line(case: str) -> None:
    for entry in read(case):
        line = entry_text(entry)
        assert line and "\n" not in line and len(line) <= 400


def test_the_lines_for_a_person_say_what_happened() -> None:
    shown = {(entry.event, entry.host): entry_text(entry) for entry in read("canary-failed")}
    assert (
        shown["started", None]
        == "rollout by root@vm, t1, t2, t3 to v1.1.0-d28bb598, environment=lab, previous_run=20261130T000116Z-a589"
    )
    assert shown["intended", "t1"] == "v1.1.0-d28bb598 (before: v1.0.0-0ea80fd2)"
    assert shown["reverted", "t1"].startswith(
        "v1.1.0-d28bb598 (before: v1.0.0-0ea80fd2), v1.0.0-0ea80fd2 runs there, not healthy within 4 s: "
    )
    assert shown["ended", None].startswith("reverted, exit status 3, hello on t1: not healthy within 4 s: ")


def report_of(case: str) -> Report:
    return Report.model_validate_json((DATA / "runs" / case / "report.json").read_bytes())


@each_report
def test_a_report_has_its_verdict_its_exit_status_and_its_outcomes(case: str) -> None:
    report, run = report_of(case), RUNS[case]
    assert report.verdict == run["verdict"]
    assert report.exit_status == EXIT_STATUS[report.verdict] == run["exit"]
    assert {row.host: str(row.outcome) for row in report.targets} == run["report"]


@each_report
def test_a_report_knows_how_its_journal_stood(case: str) -> None:
    report = report_of(case)
    assert report.journal is not None
    line = read(case)[report.journal.lines - 1]
    assert (line.event, line.hash) == ("ended", report.journal.head)


@each_report
@pytest.mark.parametrize("render", [lambda report: text(table.render(report)), html.render, markdown.render])
def test_a_report_is_rendered_in_every_form(case: str, render: Any) -> None:
    report = report_of(case)
    shown = render(report)
    assert report.verdict in shown
    assert all(row.host in shown and row.outcome in shown for row in report.targets)
