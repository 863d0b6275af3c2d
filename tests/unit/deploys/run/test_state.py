"""What the record of a run promises: events, phases, and objections."""

from __future__ import annotations

from pathlib import Path

import pytest

from gofallback.controller.paths import Home
from gofallback.deploys.run.commands import COMMANDS
from gofallback.deploys.run.options import Options
from gofallback.deploys.run.state import Run
from gofallback.journal.events import (
    ApprovalCounted,
    ArtifactPublished,
    BinaryScanned,
    BuilderWiped,
    BuildsCompared,
    Event,
    LeaseTaken,
    LeaseTakenOver,
    PauseBegan,
    PauseEnded,
    PhaseChanged,
    ReleaseUploaded,
    RuleOverridden,
    RunEnded,
    RunStarted,
    StageBegan,
    VerdictReached,
    WaveChanged,
)
from gofallback.journal.read import entries
from gofallback.journal.writer import Journal
from gofallback.rollout.phases import TargetPhase


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(command=COMMANDS["rollout"], home=Home(tmp_path), options=Options(), fleets={})
    made.executed = True
    return made


def with_journal(run: Run) -> Run:
    run.journal = Journal(run.home.journal(run.id), run.id)
    return run


def events(run: Run) -> list[str]:
    return [entry.event for entry in entries(run.home.journal(run.id).read_bytes())]


def test_the_journal_has_an_event_before_any_listener_gets_it(run: Run) -> None:
    seen: list[list[str]] = []
    with_journal(run).listeners.append(lambda event: seen.append(events(run)))
    run.emit(PauseBegan(wave="canary", seconds=5))
    assert seen == [["pause"]]


def test_every_listener_gets_the_same_event(run: Run) -> None:
    first: list[Event] = []
    second: list[Event] = []
    run.listeners += [first.append, second.append]
    event = PauseBegan(wave="canary", ask=True, timeout=60)
    run.emit(event)
    assert first == second == [event] and first[0] is event


def test_a_listener_that_fails_is_a_note_and_keeps_nobody_from_the_event(run: Run) -> None:
    def broken(event: Event) -> None:
        raise OSError("the chat is down")

    seen: list[Event] = []
    run.listeners += [broken, seen.append]
    run.emit(PauseBegan(wave="canary", seconds=5))
    assert len(seen) == 1
    assert run.notes == ["a listener failed at pause: the chat is down"]
    assert run.vetoed is None and run.cause is None


def test_what_is_not_for_the_journal_reaches_listeners_only(run: Run) -> None:
    seen: list[Event] = []
    with_journal(run).listeners.append(seen.append)
    run.emit(StageBegan(host="t1", stage="activate", operation="0"))
    assert len(seen) == 1 and not run.home.journal(run.id).exists()


def test_before_the_run_executes_anything_no_listener_hears_of_it(run: Run) -> None:
    """A dry run, and a plan that nobody confirmed, are no news."""
    seen: list[Event] = []
    run.executed = False
    run.listeners.append(seen.append)
    run.set_phase(run.outcome("t1", "hello"), TargetPhase.UNTOUCHED, "no release was ever brought here")
    assert seen == []


def test_a_run_whose_journal_cannot_be_opened_switches_nothing(run: Run, tmp_path: Path) -> None:
    folder = run.home.journal(run.id).parent
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the run's folder should be")
    with_journal(run).emit(RunStarted(how="started", plan={"command": "rollout"}))
    assert run.vetoed is not None and "the journal cannot be written" in run.vetoed
    assert run.cause == run.vetoed


def test_the_first_objection_counts_and_what_failed_before_it_stays_the_cause(run: Run) -> None:
    run.set_first_cause("not healthy", host="t1", service="hello")
    run.veto("no answer within 60 s")
    run.veto("something else")
    assert (run.vetoed, run.cause) == ("no answer within 60 s", "hello on t1: not healthy")


def test_a_phase_that_cannot_follow_is_kept_and_noted_as_a_defect(run: Run) -> None:
    outcome = run.outcome("t1", "hello")
    outcome.phase = TargetPhase.REVERTED
    run.set_phase(outcome, TargetPhase.PROVISIONAL)
    assert outcome.phase is TargetPhase.PROVISIONAL
    assert run.notes == ["hello on t1: went from reverted to provisional, which is unexpected"]


def test_a_lost_target_is_counted_from_its_last_answer(run: Run) -> None:
    run.clock, run._t0 = lambda: 100.0, 0.0
    outcome = run.outcome("t1", "hello")
    outcome.phase = TargetPhase.PROVISIONAL
    run.set_lost(outcome, "no answer", silent_for=30.0)
    run.set_lost(outcome, "still no answer")
    assert (outcome.phase, outcome.lost_since, outcome.reason) == ("lost", 70.0, "still no answer")


PROVISIONAL = {"event": "provisional", "phase": "provisional", "release": "r", "previous": None, "live": "r"}
ROW = {"principal": "kim", "key": "k", "at": "2026-11-22T03:00:00Z", "expires": "", "file": "f", "service": "hello"}
#: One event of every kind, as the stages emit it.
EXAMPLES: tuple[Event, ...] = (
    RunStarted(how="started", plan={"command": "rollout", "plan": [{"host": "t1", "service": "hello"}]}),
    RunEnded(verdict="confirmed", exit=0, reason=""),
    RuleOverridden(row={"kind": "freeze", "what": "hello", "why": "fire"}),
    ApprovalCounted(service="hello", row=ROW),
    BinaryScanned(service="hello", scan={"service": "hello", "platform": "linux/amd64", "found": []}),
    BuildsCompared(service="hello", platform="linux/amd64", builders=("w1", "b1"), same=True, reason=""),
    ArtifactPublished(service="hello", store="s", file="f", sha256="0", state="published"),
    ReleaseUploaded(host="t1", service="hello", release="r"),
    LeaseTaken(host="t1", service="hello", number=1, ttl=30.0, again=False),
    LeaseTakenOver(host="t1", service="hello", from_run="r", from_who="kim"),
    WaveChanged(wave="canary", number=1, state="begun", hosts=("t1",)),
    PauseBegan(wave="canary", seconds=5),
    PauseEnded(wave="canary"),
    PhaseChanged(host="t1", service="hello", reason="", **PROVISIONAL),  # type: ignore[arg-type]
    VerdictReached(confirm=("t1",), back=(), reason=""),
    BuilderWiped(host="w1", problem="", listings={"removed": [], "left": []}),
)


def test_every_kind_of_event_has_an_example() -> None:
    journaled = {kind for kind in Event.__subclasses__() if kind.journaled}
    assert {type(event) for event in EXAMPLES} == journaled


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_becomes_a_line_of_the_journal_with_its_host_and_service(run: Run, event: Event) -> None:
    with_journal(run).emit(event)
    (line,) = entries(run.home.journal(run.id).read_bytes())
    assert (line.event, line.host, line.service) == (event.name, event.host, event.service)
    assert {key: value for key, value in line.data.items() if key in event.data()} == event.data()
    assert run.vetoed is None
