"""The steps of a rollout on one target that fails, is lost, or comes back; the targets' answers are made up here."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gofallback.deploys.rollout import pause, reconnect, switch
from gofallback.deploys.rollout.switch import Switch
from gofallback.deploys.rollout.waves import Step, planned_waves, stop_reason
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.options import Options
from gofallback.deploys.run.report import PyinfraFacts, to_report
from gofallback.journal.read import entries
from gofallback.journal.writer import Journal
from gofallback.operations.target import activate as operation
from gofallback.operations.target import lease
from gofallback.operations.target.channel import BrokenError
from gofallback.release.activation import ActivationOutcome, Order
from gofallback.release.state import TargetState
from gofallback.rollout.phases import TargetPhase
from tests.unit.contexts import run_context
from tests.unit.targets import record, target

OLD, NEW = "v1.0-aaaaaaaa", "v2.0-bbbbbbbb"
#: The modules: the package has the stages under these names.
activate: Any = import_module("gofallback.deploys.activate")
confirm: Any = import_module("gofallback.deploys.confirm")


def switched(ctx: RunContext, host: str, service: str = "hello") -> None:
    outcome = ctx.run.outcome(host, service)
    outcome.release, outcome.previous, outcome.live, outcome.phase = NEW, OLD, NEW, TargetPhase.PROVISIONAL


def step(ctx: RunContext, how: Any = "activate", service: str = "hello", wave: int = 0) -> tuple[Step, Switch]:
    known = ctx.fleet(ctx.targets[0]).services[service]
    return Step("switch", planned_waves(ctx)[wave], service), Switch(known, NEW, None, how)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, ActivationOutcome]:
    """What every target answers to `activate` and `revert`."""
    answers: dict[str, ActivationOutcome] = {}
    monkeypatch.setattr(operation, "activate", lambda *args, **_: answers["activate"])
    monkeypatch.setattr(operation, "revert", lambda *args, **_: answers["revert"])
    monkeypatch.setattr(activate, "ensure_held", lambda *_: answers.get("lease") is None)
    return answers


def test_a_target_that_is_lost_on_its_way_back_is_waited_for_at_the_end(
    tmp_path: Path, answers: dict[str, ActivationOutcome]
) -> None:
    ctx = run_context(tmp_path, "t1")
    switched(ctx, "t1")
    answers["revert"] = ActivationOutcome("unknown", NEW, reason="no answer")
    host = ctx.targets[0]
    assert switch.roll_back(ctx, host, "why")  # pyinfra would leave it out otherwise
    assert ctx.run.outcome("t1", "hello").lost


def test_a_target_whose_second_service_fails_and_whose_first_is_lost_is_waited_for(
    tmp_path: Path, answers: dict[str, ActivationOutcome]
) -> None:
    ctx = run_context(tmp_path, "t1", services=("api", "web"))
    switched(ctx, "t1", "api")
    answers["activate"] = ActivationOutcome("reverted", NEW, live=OLD, healthy=True, reason="crashed")
    answers["revert"] = ActivationOutcome("unknown", NEW, reason="no answer")
    assert activate._go_live(ctx.state, ctx.targets[0], ctx, *step(ctx, service="web"))
    assert (ctx.run.outcome("t1", "api").lost, ctx.run.outcome("t1", "web").phase) == (True, "reverted")


def test_what_was_switched_before_the_lease_was_lost_is_waited_for(
    tmp_path: Path, answers: dict[str, ActivationOutcome]
) -> None:
    ctx = run_context(tmp_path, "t1", services=("api", "web"))
    switched(ctx, "t1", "api")
    answers["lease"] = ActivationOutcome("unknown", "")
    assert activate._go_live(ctx.state, ctx.targets[0], ctx, *step(ctx, service="web"))
    assert ctx.run.outcome("t1", "api").lost


def test_a_provisional_release_of_a_resumed_run_is_put_back_when_that_is_stopped_before_its_wave(
    tmp_path: Path, answers: dict[str, ActivationOutcome]
) -> None:
    ctx = run_context(tmp_path, "t1", "t2", command="rollout", options=Options(resume="20261122T031244Z-9f3a"))
    ctx.run.outcome("t1", "hello").phase = TargetPhase.REVERTED
    switched(ctx, "t2")
    assert stop_reason(ctx)
    assert activate._go_live(ctx.state, ctx.targets[1], ctx, *step(ctx, "confirm", wave=1))
    assert ctx.run.outcome("t2", "hello").phase == "provisional"
    assert confirm.decision(ctx).back == ("t2",)


@pytest.mark.parametrize(("state", "good"), [("confirmed", True), ("reverted", False)])
def test_a_confirmation_whose_answer_was_lost_is_no_failure_once_the_target_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, good: bool
) -> None:
    ctx = run_context(tmp_path, "t1")
    switched(ctx, "t1")
    ctx.run.set_lost(ctx.run.outcome("t1", "hello"), "no answer")
    found = target(NEW if good else OLD, OLD, NEW, ran=(record(ctx.run.id, NEW, OLD, state),))

    class Second:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> Second:
            return self

        def __exit__(self, *_: object) -> None: ...
        def run(self) -> None: ...

    given_back: list[Any] = []
    monkeypatch.setattr(confirm, "SecondConnection", Second)
    monkeypatch.setattr(confirm, "read_state_over", lambda *_: TargetState(services={"hello": found}))
    monkeypatch.setattr(lease, "release", lambda _, host: given_back.append(host.name))
    assert confirm._wait_for_lost(ctx.state, ctx.targets[0], ctx) is good
    assert ctx.run.outcome("t1", "hello").phase == state
    assert given_back == ["t1"]  # its renewals would extend the window


def test_a_lost_target_is_given_no_more_time_at_the_end_than_it_needs_since_it_was_lost(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", rollout={"confirm_window": 60})
    host = ctx.targets[0]
    services = ctx.services(host)
    alone = 60 + services[0].health.start_deadline
    switched(ctx, "t1")
    ctx.run.set_lost(ctx.run.outcome("t1", "hello"), "no answer")
    assert confirm._time_left(ctx, host, services) == pytest.approx(alone + 15, abs=1)
    ctx.run.outcome("t1", "hello").lost_since = ctx.run.elapsed - 1000
    assert confirm._time_left(ctx, host, services) == 15


def test_a_target_that_does_not_answer_is_given_up_when_it_must_have_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Any:
        raise BrokenError("no route")

    monkeypatch.setattr(operation, "_follow", broken)
    monkeypatch.setattr(operation, "forget", lambda _: None)
    monkeypatch.setattr(operation, "reconnect", lambda _: False)
    host: Any = SimpleNamespace(log_styled=lambda *_, **__: None)
    target = operation.TargetHost(host, host, 300, reconnect_window=0.3)
    began = time.monotonic()
    found = operation._follow_to_end(target, Order("hello", "/", NEW, "run", "al"), lambda _: "")
    assert time.monotonic() - began < 5
    assert found.state == "unknown"
    assert 0.3 <= found.silent < 5


def waiting(tmp_path: Path, pause: Any) -> RunContext:
    """A run in the pause after its canary."""
    ctx = run_context(tmp_path, "t1", "t2", rollout={"pause": pause})
    switched(ctx, "t1")
    ctx.run.outcome("t2", "hello")
    return ctx


def test_a_pause_for_a_persons_answer_ends_when_the_run_may_not_go_on_anyway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause, "_POLL", 0.02)
    ctx = waiting(tmp_path, "ask")
    monkeypatch.setattr(pause, "retake_lost_leases", lambda *_: ctx.watchers.append(lambda: "t1: taken over"))
    began = time.monotonic()
    pause.pause(ctx.state, ctx.targets[0], ctx, Step("pause", planned_waves(ctx)[0]))
    assert time.monotonic() - began < 5
    assert stop_reason(ctx) == "t1: taken over"
    assert not list(ctx.run.home.run(ctx.run.id).glob("*.json"))  # the question is closed


def test_a_lease_that_was_lost_in_a_pause_is_taken_again_as_the_target_would_go_back_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause, "_POLL", 0.02)
    ctx = waiting(tmp_path, 0.1)
    taken: list[str] = []
    monkeypatch.setattr(lease, "lost", lambda host: None if host.name in taken else "its connection ended")
    monkeypatch.setattr(reconnect, "acquire", lambda _, host: taken.append(host.name))
    pause.pause(ctx.state, ctx.targets[0], ctx, Step("pause", planned_waves(ctx)[0]))
    assert taken == ["t1"]  # nothing was switched on t2, which takes its own before it is


def test_a_connection_that_broke_between_two_waves_is_made_anew_before_a_target_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = waiting(tmp_path, 0)
    connected: list[str] = []

    def read(*_: object) -> TargetState:
        if not connected:
            raise BrokenError("the connection is closed")
        return TargetState(services={"hello": target(NEW, OLD, NEW)})

    def connect_again(host: Any) -> bool:
        connected.append(host.name)
        return True

    monkeypatch.setattr(reconnect, "read_state_over", read)
    monkeypatch.setattr(reconnect, "reconnect", connect_again)
    assert activate._gate(ctx.state, ctx.targets[0], ctx, Step("gate", planned_waves(ctx)[0]))
    assert ctx.run.outcome("t1", "hello").phase == "provisional"
    assert not ctx.run.outcome("t1", "hello").lost


def rechecked(monkeypatch: pytest.MonkeyPatch, *, current: str | None, free: int = 1 << 30) -> None:
    """The state of every target in the check before the verdict."""
    found = TargetState(free={"/opt/hello": free}, services={"hello": target(current, OLD, NEW)})
    monkeypatch.setattr(confirm, "read_state", lambda *_: found)


def test_a_first_release_that_was_taken_back_to_nothing_is_as_requested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = run_context(tmp_path, "t1", command="rollout", options=Options(abort="20261122T031244Z-9f3a"))
    outcome = ctx.run.outcome("t1", "hello")
    switch.record_outcome(ctx.run, outcome, ActivationOutcome("reverted", NEW), taking_back=True)
    rechecked(monkeypatch, current=None)
    assert confirm._recheck(ctx.state, ctx.targets[0], ctx)
    assert (outcome.phase, outcome.live, outcome.release) == ("taken-back", None, None)


def test_a_rollback_on_a_full_disk_is_no_failure_once_the_target_has_written_it_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = run_context(tmp_path, "t1", command="rollback")
    outcome = ctx.run.outcome("t1", "hello")
    outcome.release, outcome.phase = OLD, TargetPhase.CONFIRMED
    rechecked(monkeypatch, current=OLD, free=0)
    assert confirm._recheck(ctx.state, ctx.targets[0], ctx)
    assert (outcome.phase, outcome.healthy) == ("confirmed", True)


def test_a_rollback_that_cannot_be_rechecked_is_confirmed_once_in_the_journal_and_not_called_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> TargetState:
        raise BrokenError("no answer")

    ctx = run_context(tmp_path, "t1", command="rollback")
    ctx.run.journal = Journal(ctx.run.home.journal(ctx.run.id), ctx.run.id)
    outcome = ctx.run.outcome("t1", "hello")
    outcome.release, outcome.healthy = OLD, True
    ctx.run.set_phase(outcome, TargetPhase.CONFIRMED)
    monkeypatch.setattr(confirm, "read_state", silent)
    assert not confirm._recheck(ctx.state, ctx.targets[0], ctx)
    row = to_report(ctx.run, PyinfraFacts(failed=True)).targets[0]
    assert (row.outcome, row.health, row.reason) == (
        "confirmed",
        "unknown",
        "cannot be reached for the confirmation: no answer",
    )
    assert [entry.event for entry in entries(ctx.run.home.journal(ctx.run.id).read_bytes())] == ["confirmed"]
