"""What resume, abort and rollback do with each service, where not every target or run has them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gofallback.deploys.rollout import plan
from gofallback.deploys.rollout.plan import switches
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.options import Options
from gofallback.errors import RefusedError
from gofallback.journal.writer import Journal
from gofallback.release.state import ServiceState, TargetState
from tests.unit.contexts import run_context
from tests.unit.targets import record, target

V1, V2 = "v1.0-aaaaaaaa", "v2.0-bbbbbbbb"
OLD, RUN = "20261121T000000Z-01d0", "20261122T031244Z-9f3a"
BEFORE = record(OLD, V1)
SETTLED = target(V1, V1, V2, ran=(BEFORE,))
PROVISIONAL = target(V2, V1, V2, ran=(BEFORE, record(RUN, V2, V1, "provisional")))
TWO = target(V2, V1, V2, ran=(BEFORE, record(RUN, V2, V1)))


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, ServiceState]]:
    """Target to the state of each service."""
    known: dict[str, dict[str, ServiceState]] = {}

    def state_of(ctx: RunContext, host: Any, *, refresh: bool = False) -> TargetState:
        return TargetState(services={name: replace(one, name=name) for name, one in known[host.name].items()})

    monkeypatch.setattr(plan, "state_of", state_of)
    return known


def planned(ctx: RunContext) -> dict[tuple[str, str], str]:
    return {(host.name, one.service.name): one.how for host in ctx.targets for one in switches(ctx, host)}


def test_a_run_that_died_before_its_second_service_is_taken_back_without_its_journal(
    tmp_path: Path, states: dict[str, dict[str, ServiceState]]
) -> None:
    states |= {"t1": {"api": PROVISIONAL, "web": SETTLED}, "t2": {"api": SETTLED, "web": SETTLED}}
    ctx = run_context(tmp_path, "t1", "t2", command="rollout", services=("api", "web"), options=Options(abort=RUN))
    assert planned(ctx) == {("t1", "api"): "revert", ("t2", "api"): "nothing"}
    assert any("web is left as it is" in note for note in ctx.run.notes)
    assert [one.name for one in ctx.services(ctx.targets[0])] == ["api"]  # no row for web


def test_a_release_of_a_resumed_run_that_is_not_known_is_reported(
    tmp_path: Path, states: dict[str, dict[str, ServiceState]]
) -> None:
    states |= {"t1": {"api": PROVISIONAL, "web": SETTLED}}
    ctx = run_context(tmp_path, "t1", command="rollout", services=("api", "web"), options=Options(resume=RUN))
    assert planned(ctx) == {("t1", "api"): "confirm"}
    assert ctx.run.outcome("t1", "web").phase == "untouched"


@pytest.mark.parametrize("command", ["rollback", "rollout"])
def test_what_is_about_no_service_at_all_is_refused(
    tmp_path: Path, states: dict[str, dict[str, ServiceState]], command: str
) -> None:
    none = target(None)
    states |= {"t1": {"api": none, "web": none}}
    options = Options(abort=RUN) if command == "rollout" else Options()
    ctx = run_context(tmp_path, "t1", command=command, services=("api", "web"), options=options)
    with pytest.raises(RefusedError, match=r"api: no target .*web: no target "):
        switches(ctx, ctx.targets[0])


def test_a_service_that_is_new_in_the_data_does_not_keep_the_others_from_going_back(
    tmp_path: Path, states: dict[str, dict[str, ServiceState]]
) -> None:
    states |= {"t1": {"api": TWO, "web": target(None)}}
    ctx = run_context(tmp_path, "t1", command="rollback", services=("api", "web"))
    assert planned(ctx) == {("t1", "api"): "activate"}


def test_a_service_with_nothing_to_go_back_to_names_the_option_that_leaves_it_out(
    tmp_path: Path, states: dict[str, dict[str, ServiceState]]
) -> None:
    states |= {"t1": {"api": TWO, "web": target(V1, V1, ran=(BEFORE,))}}
    ctx = run_context(tmp_path, "t1", command="rollback", services=("api", "web"))
    with pytest.raises(RefusedError, match=r"^web: .*; without web: --data service=api$"):
        switches(ctx, ctx.targets[0])


def test_a_target_the_run_was_not_about_says_so(tmp_path: Path, states: dict[str, dict[str, ServiceState]]) -> None:
    states |= {"t1": {"hello": PROVISIONAL}, "t2": {"hello": SETTLED}}
    ctx = run_context(tmp_path, "t1", "t2", command="rollout", options=Options(abort=RUN))
    path = ctx.run.home.journal(RUN)
    path.parent.mkdir(parents=True)
    Journal(path, RUN).write("started", plan=[{"host": "t1", "service": "hello", "release": V2}])
    assert planned(ctx) == {("t1", "hello"): "revert"}
    assert ctx.run.outcome("t2", "hello").reason == f"no target of run {RUN}"
