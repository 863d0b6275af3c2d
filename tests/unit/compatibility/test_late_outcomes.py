"""A run of version 0.1.0 left a target open: a run of today adds the outcome to that journal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from gofallback.controller.paths import Home
from gofallback.deploys.run.commands import COMMANDS
from gofallback.deploys.run.journal import record_late_outcomes
from gofallback.deploys.run.options import Options
from gofallback.deploys.run.state import Run
from gofallback.journal.chain import split
from gofallback.journal.read import Entry, entries
from gofallback.journal.verify import verify
from tests.unit.compatibility.files import TARGETS, journal_of, state_of
from tests.unit.contexts import Named

#: Run, state of one of its targets later, and the state that is added to the journal.
OPEN = [
    ("killed-in-a-wave", "reverted-by-deadman", "reverted"),
    ("stopped-while-activating", "after-stop-t1-gone-back", "reverted"),
    ("lost", "after-lost", "reverted"),
]
#: The target's last event in the journal ended its part in the run, or the target is not decided yet.
CLOSED = [
    ("done", "confirmed-first-release"),
    ("failed", "failed-first-release"),
    ("killed-then-aborted", "reverted-by-abort"),
    ("killed-then-resumed", "confirmed-by-resume"),
    ("stopped-while-activating-seen", "after-stop-t1-gone-back"),
    ("stopped-rollback", "confirmed-alone-stopped-rollback"),
    ("interrupted", "interrupted-gone-back"),
    ("killed-in-a-wave", "provisional"),
    ("killed-in-a-wave", "activating-controller-dead"),
    ("stopped-while-activating", "after-stop-t1"),
]


def look(tmp_path: Path, case: str, target: str) -> tuple[list[Entry], list[Entry], list[str]]:
    """The journal before and after a run of today has read that target, and the notes of that run."""
    before = entries(journal_of(case).read_bytes())
    run = Run(command=COMMANDS["status"], home=Home(tmp_path), options=Options(), fleets={})
    copy = run.home.journal(before[0].run)
    copy.parent.mkdir(parents=True)
    shutil.copy(journal_of(case), copy)
    record_late_outcomes(run, cast(Any, Named(TARGETS[target]["host"])), state_of(target))
    problems = verify(split(copy.read_bytes()))
    assert [problem.kind for problem in problems if problem.kind != "open"] == []
    after = entries(copy.read_bytes())
    assert after[: len(before)] == before
    return before, after[len(before) :], run.notes


@pytest.mark.parametrize(("case", "target", "state"), OPEN)
def test_an_open_target_gets_a_line_with_its_outcome(tmp_path: Path, case: str, target: str, state: str) -> None:
    before, added, notes = look(tmp_path, case, target)
    host, record = TARGETS[target]["host"], TARGETS[target]["record"]
    (seen,) = added
    assert (seen.event, seen.host, seen.service, seen.run) == ("seen", host, "hello", before[0].run)
    assert (seen.data["state"], seen.data["live"]) == (state, TARGETS[target]["live"])
    assert record["run_id"] == before[0].run
    assert len(notes) == 1 and f"it is {state} there" in notes[0]


@pytest.mark.parametrize(("case", "target"), CLOSED)
def test_a_target_that_is_closed_or_not_decided_gets_none(tmp_path: Path, case: str, target: str) -> None:
    before, added, notes = look(tmp_path, case, target)
    assert TARGETS[target]["record"]["run_id"].startswith(before[0].run)
    assert (added, notes) == ([], [])
