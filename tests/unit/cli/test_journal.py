"""``gofallback journal``: what an auditor types, and what a person reads after a night they were not there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gofallback.cli.main import main
from gofallback.journal.read import last_head
from gofallback.journal.writer import Journal

FIRST, SECOND = "20261122T031244Z-9f3a", "20261122T041244Z-b00c"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two runs that ended, each with a report."""
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    for run in (FIRST, SECOND):
        write(tmp_path / "runs", run)
    return tmp_path / "runs"


def write(runs: Path, run: str) -> Path:
    moments = iter(datetime(2026, 11, 22, 23, 59, 58, tzinfo=UTC) + timedelta(seconds=n) for n in range(99))
    path = runs / run / "journal.jsonl"
    journal = Journal(path, run, previous=last_head(runs), now=lambda: next(moments))
    plan = [{"host": f"t{n}", "service": "hello", "release": "v1.1.0-1a2b3c4d"} for n in (1, 2)]
    journal.write("started", command="rollout", who="sre@ctl1", why="INC-4711", plan=plan, options={"version": "1"})
    journal.write("wave", name="canary", number=0, state="begun", hosts=["t1"])
    journal.write("confirmed", host="t1", service="hello", release="v1.1.0-1a2b3c4d", previous="v1.0.0-aaaabbbb")
    journal.write("reverted", host="t2", service="hello", release="v1.1.0-1a2b3c4d", reason="GET /healthz: 503")
    journal.write("ended", verdict="partly", exit=5)
    (path.parent / "report.json").write_text(json.dumps({"journal": {"lines": journal.count, "head": journal.head}}))
    return path


def edit(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


def cut(path: Path, lines: int) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["journal", *words])
    shown = capsys.readouterr()
    return status, shown.out + shown.err


def test_journals_that_nobody_touched_are_said_to_be_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = ask(capsys, "verify")
    assert status == 0
    assert said.splitlines() == [f"{run}: 5 lines, as they were written" for run in (FIRST, SECOND)]


def test_an_edited_line_is_named_with_its_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(runs / FIRST / "journal.jsonl", b"GET /healthz: 503", b"GET /healthz: 200")
    status, said = ask(capsys, "verify")
    assert status == 1
    assert said.splitlines()[0] == f"{FIRST}: 5 lines"
    assert said.splitlines()[1].startswith("  line 4: edited: its hash is ")
    assert said.splitlines()[-1] == f"{SECOND}: 5 lines, as they were written"


def test_one_run_is_named_by_how_it_begins_and_a_file_by_its_path(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(capsys, "verify", SECOND[:12]) == (0, f"{SECOND}: 5 lines, as they were written\n")
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((runs / FIRST / "journal.jsonl").read_bytes())
    assert ask(capsys, "verify", str(copy)) == (0, f"{copy}: 5 lines, as they were written\n")
    status, said = ask(capsys, "verify", "2026")
    assert (status, said) == (1, f"gofallback: 2026: several runs begin like this; recorded: {FIRST}, {SECOND}\n")


def test_a_removed_end_is_found_by_the_report(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut(runs / SECOND / "journal.jsonl", 3)
    status, said = ask(capsys, "verify", SECOND)
    assert status == 1
    assert f"lines 4 to 5 are removed from the end: {SECOND}/report.json knows 5 lines" in said


def test_a_removed_end_is_found_by_the_next_run_when_the_report_is_gone_too(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(runs / FIRST / "journal.jsonl", 3)
    (runs / FIRST / "report.json").unlink()
    status, said = ask(capsys, "verify")
    assert status == 1
    assert f"the journal of {SECOND}, which began after it, knows a line with the hash" in said


def test_a_removed_run_is_found_by_the_next(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / FIRST / "journal.jsonl").unlink()
    status, said = ask(capsys, "verify")
    assert status == 1
    assert f"missing: run {FIRST}: {SECOND} began after it, and its journal is not there" in said


def test_a_run_that_is_still_at_work_is_shown_as_open_and_is_no_problem(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(runs / SECOND / "journal.jsonl", 4)
    (runs / SECOND / "report.json").unlink()
    status, said = ask(capsys, "verify", SECOND)
    assert status == 0
    assert "open after line 4: the run did not end, or its last lines were removed" in said


def test_the_part_of_a_host_is_checked_against_the_controllers(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t1.jsonl"
    host = Journal(file, FIRST)
    head = json.loads((runs / FIRST / "journal.jsonl").read_bytes().splitlines()[1])["hash"]
    host.write("intended", host="t1", service="hello")
    host.write("confirmed", host="t1", service="hello", head=head)
    assert ask(capsys, "verify", str(file)) == (0, f"{file}: 2 lines, as they were written\n")
    write(runs, FIRST.replace("9f3a", "ffff"))
    (runs / FIRST / "journal.jsonl").unlink()
    (runs / FIRST.replace("9f3a", "ffff") / "journal.jsonl").rename(runs / FIRST / "journal.jsonl")
    status, said = ask(capsys, "verify", str(file))
    assert status == 1
    assert f"line 2: knows a line of run {FIRST} that " in said


def test_a_run_is_shown_as_a_table_of_time_event_host_and_what(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = ask(capsys, "show")
    assert status == 0
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert lines[0] == "time (UTC) event host what"
    assert "2026-11-22" in lines
    assert "2026-11-23" in lines
    assert "23:59:58.000 started rollout by sre@ctl1, because: INC-4711, t1, t2 to v1.1.0-1a2b3c4d," in lines
    assert "23:59:59.000 wave canary begun, (t1)" in lines
    assert any(line.startswith("00:00:01.000 reverted t2 hello: v1.1.0-1a2b3c4d, GET /healthz: 503") for line in lines)
    assert lines[-1] == "00:00:02.000 ended partly, exit status 5"


def test_what_concerns_one_host_can_be_shown_as_the_lines_themselves(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = ask(capsys, "show", FIRST, "--json", "--host", "t2")
    assert status == 0
    assert [json.loads(line)["event"] for line in said.splitlines()] == ["started", "wave", "reverted", "ended"]
    assert said.encode().splitlines()[2] == (runs / FIRST / "journal.jsonl").read_bytes().splitlines()[3]


def test_what_is_shown_is_not_trusted_blindly(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(runs / SECOND / "journal.jsonl", b"sre@ctl1", b"bob@ctl1")
    status, said = ask(capsys, "show")
    assert status == 1
    assert "line 1: edited" in said


def test_a_home_without_runs_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path))
    status, said = ask(capsys, "verify")
    assert status == 1
    assert "no run has written a journal there" in said
