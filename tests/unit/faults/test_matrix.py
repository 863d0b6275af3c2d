"""What the fault matrix takes for a moment, for a broken chain, for a lie of a report; playing it is `make faults`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gofallback.journal.chain import ZERO, Draft, seal
from lab.linux.clock import patched
from lab.model import LabError
from tests.faults import show
from tests.faults.faults import FAULTS
from tests.faults.invariants import _chain, _misnamed
from tests.faults.model import MOMENTS, Cell, Moment
from tests.faults.moments import Follower, has_come


def journal(path: Path, count: int = 3) -> Path:
    lines, prev = [], ZERO
    for seq in range(1, count + 1):
        line, prev = seal(prev, seq, "run", Draft(datetime(2026, 1, 1, tzinfo=UTC), "note", None, None, {"n": seq}))
        lines.append(line)
    path.write_bytes(b"".join(lines))
    return path


def test_every_moment_is_reached_by_an_event_of_its_own() -> None:
    events = ["uploaded", "intended", "provisional", "pause", "decision"]
    assert [[moment for moment in MOMENTS if has_come(moment, {"event": event})] for event in events] == [
        ["upload"],
        ["gate"],
        ["provisional"],
        ["between"],
        ["confirm"],
    ]


def test_events_are_passed_on_once_and_a_line_that_is_being_written_waits(tmp_path: Path) -> None:
    file = tmp_path / "runs/r/journal.jsonl"
    file.parent.mkdir(parents=True)
    follower = Follower(tmp_path)
    file.write_text('{"event":"started"}\n{"event":"le')
    assert [event["event"] for event in follower.news()] == ["started"]
    with file.open("a") as stream:
        stream.write('ase"}\n')
    assert [event["event"] for event in follower.news()] == ["lease"]
    assert list(follower.news()) == []


@pytest.mark.parametrize("harm", ["edit", "remove", "swap", "cut"])
def test_a_chain_that_was_harmed_is_seen_and_a_whole_one_is_not(tmp_path: Path, harm: str) -> None:
    path = journal(tmp_path / "journal.jsonl")
    assert _chain(path, "it") == ""
    lines = path.read_bytes().splitlines(keepends=True)
    match harm:
        case "edit":
            lines[1] = lines[1].replace(b'"n":2', b'"n":7')
        case "remove":
            del lines[1]
        case "swap":
            lines[0], lines[1] = lines[1], lines[0]
        case "cut":
            lines[2] = lines[2][:40]
    path.write_bytes(b"".join(lines))
    assert _chain(path, "it")


@pytest.mark.parametrize(
    ("outcome", "version", "reason", "wrong"),
    [
        ("confirmed", "v2", "", False),
        ("confirmed", "v1", "", True),
        ("reverted", "v1", "503", False),
        ("reverted", "v2", "503", True),
        ("reverted", "v1", "", True),
        ("provisional", "v1", "lost", False),
        ("failed", "v2", "", True),
    ],
)
def test_a_row_of_the_report_is_held_against_what_the_target_runs(
    outcome: str, version: str, reason: str, wrong: bool
) -> None:
    row: dict[str, Any] = {"outcome": outcome, "release": "v2-12345678", "previous": "v1-12345678", "reason": reason}
    assert bool(_misnamed(row, "t1", version)) == wrong


def test_a_cell_that_does_not_hold_is_plain_to_see() -> None:
    versions = {"t1": "v2", "t2": "v1", "t3": "v2"}
    bad = Cell("kill", "gate", ["killed", "partly"], None, 9.0, "v2", versions, [], {"lease": "t1: still held"})
    about = {"date": "today", "commit": "abc", "cores": 2, "minutes": 1}
    text = show.markdown([bad], about)
    assert "0 of 1 cells" in text and "partly (t2), never **✗ lease**" in text
    assert "no lease is left past its expiry: t1: still held" in text
    assert json.loads(json.dumps(bad.as_json()))["holds"] is False


def test_the_matrix_has_every_fault_and_every_moment_of_the_issue() -> None:
    assert len(FAULTS) == 12 and len(MOMENTS) == 5
    wanted: list[Moment] = ["upload", "gate", "provisional", "between", "confirm"]
    assert list(MOMENTS) == wanted


def test_a_go_whose_clock_cannot_be_moved_is_refused() -> None:
    with pytest.raises(LabError, match="looks different"):
        patched("package time\n")
