"""Who goes first, and what stops the rest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gofallback.deploys.confirm import decision
from gofallback.deploys.rollout.waves import (
    begin_wave,
    check_strategy,
    failed_outcome,
    in_order,
    planned_waves,
    schedule,
    stop_reason,
    target_phases,
)
from gofallback.errors import RefusedError
from gofallback.model import Fleet
from gofallback.model.rollout import Rollout
from gofallback.pyinfra_patches.order import in_program_order
from gofallback.rollout.phases import TargetPhase
from tests.unit.contexts import run_context


def test_all_others_keep_the_order_of_the_inventory(tmp_path: Path) -> None:
    assert [host.name for host in in_order(run_context(tmp_path, "t1", "t2", "t3", marked=("t3",)))] == [
        "t3",
        "t1",
        "t2",
    ]


@pytest.mark.parametrize("state", ["failed", "reverted"])
def test_one_bad_outcome_stops_the_rest_and_the_first_cause_is_the_reason(tmp_path: Path, state: Any) -> None:
    ctx = run_context(tmp_path, "t1", "t2")
    assert stop_reason(ctx) is None
    ctx.run.set_first_cause("not healthy", host="t1", service="hello")
    ctx.run.outcome("t1", "hello").phase = TargetPhase(state)
    ctx.run.outcome("t2", "hello").phase = TargetPhase.UNTOUCHED
    assert stop_reason(ctx) == "hello on t1: not healthy"


@pytest.mark.parametrize("state", ["planned", "provisional", "confirmed", "unchanged", "untouched"])
def test_good_outcomes_and_those_to_come_stop_nothing(tmp_path: Path, state: Any) -> None:
    ctx = run_context(tmp_path, "t1", "t2")
    ctx.run.outcome("t1", "hello").phase = TargetPhase(state)
    assert stop_reason(ctx) is None


def test_a_host_that_failed_without_an_outcome_stops_the_rest(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2")
    ctx.state.active_hosts.discard(ctx.targets[1])
    assert stop_reason(ctx) == "t2 failed"


def test_a_builder_that_failed_stops_the_switch_of_what_was_there_already(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", builder="w1")
    ctx.state.active_hosts.discard(ctx.builders[0])
    assert "w1" in (stop_reason(ctx) or "")


def test_operations_run_in_the_order_of_the_deploy_file_and_not_of_each_host() -> None:
    orders = {"upload": (0, 12, 7), "build": (0, 10, 3), "canary": (0, 13, 1), "second service": (0, 12, 7, 1)}
    state = SimpleNamespace(op_meta={name: SimpleNamespace(op_order=order) for name, order in orders.items()})
    in_program_order(cast(Any, state))
    assert state.get_op_order() == ["build", "upload", "second service", "canary"]


def test_the_schedule_is_the_same_for_every_target_wave_by_wave_with_a_gate_between(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2", "t3", rollout={"waves": [1], "pause": 5})
    steps = [(step.kind, step.wave.name, step.service) for step in schedule(ctx, ("api", "web"))]
    assert steps == [
        *(("switch", "canary", "api"), ("switch", "canary", "web")),
        *(("gate", "canary", ""), ("pause", "canary", ""), ("recheck", "canary", "")),
        *(("switch", "wave 1", "api"), ("switch", "wave 1", "web")),
        *(("gate", "wave 1", ""), ("pause", "wave 1", ""), ("recheck", "wave 1", "")),
        *(("switch", "wave 2", "api"), ("switch", "wave 2", "web")),
    ]


def test_a_rollback_takes_all_targets_at_once(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2", "t3", command="rollback", rollout={"waves": [1]})
    assert [wave.hosts for wave in planned_waves(ctx)] == [("t1", "t2", "t3")]


def test_a_target_stands_where_the_worst_of_its_services_stands(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2")
    for service, state in (("api", "provisional"), ("web", "reverted")):
        ctx.run.outcome("t1", service).phase = TargetPhase(state)
    ctx.run.outcome("t2", "api").phase = TargetPhase.PROVISIONAL
    assert target_phases(ctx) == {"t1": "reverted", "t2": "provisional"}
    ctx.run.outcome("t2", "web").phase = TargetPhase.LOST
    assert target_phases(ctx)["t2"] == "lost"


def test_failures_within_the_budget_stop_nothing(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2", "t3", "t4", rollout={"budget": {"count": 1}})
    ctx.run.outcome("t3", "hello").phase = TargetPhase.REVERTED
    assert stop_reason(ctx) is None
    ctx.run.set_first_cause("not healthy", host="t3", service="hello")
    ctx.run.outcome("t4", "hello").phase = TargetPhase.FAILED
    reason = "2 of 4 targets failed, the budget is 1: t3 reverted, t4 failed; first: hello on t3: not healthy"
    assert stop_reason(ctx) == reason


def test_what_stopped_a_rollout_is_its_reason_and_not_what_the_budget_allowed_before(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2", "t3", rollout={"budget": {"count": 1}})
    ctx.run.outcome("t3", "hello").phase = TargetPhase.REVERTED
    ctx.run.set_first_cause("not healthy", host="t3", service="hello")
    ctx.watchers = [lambda: "the lease in etcd was lost"]
    decision(ctx)
    assert ctx.run.cause == "the lease in etcd was lost"


def test_what_watches_from_outside_stops_the_rest_too(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2")
    ctx.watchers = [lambda: "the lease in etcd was lost"]
    assert stop_reason(ctx) == "the lease in etcd was lost"


def test_targets_that_disagree_about_the_rollout_are_refused_with_the_key(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2")
    ctx.run.fleets["t2"] = Fleet(services={}, rollout=Rollout(pause=3))
    with pytest.raises(RefusedError, match=r"rollout\.pause: 3\.0 for t2, 0\.0 for t1"):
        check_strategy(ctx)


def test_a_target_without_a_service_of_this_run_is_no_canary(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2", "t3", services=("api", "web"), only={"t1": []})
    assert [(wave.name, wave.hosts) for wave in planned_waves(ctx)] == [("canary", ("t2",)), ("wave 1", ("t3",))]


def test_where_no_named_canary_can_be_reached_another_target_goes_first(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2", "t3", rollout={"canary": ["t1"]})
    ctx.unreachable_targets = [ctx.targets.pop(0).name]
    assert [wave.hosts for wave in planned_waves(ctx)] == [("t2",), ("t3",)]
    assert ctx.run.notes == ["t1: no canary can be reached; the first target goes first"]


def test_in_a_rollback_a_failed_target_does_not_stop_the_others(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", "t2", command="rollback")
    ctx.run.outcome("t1", "hello").phase = TargetPhase.FAILED
    assert stop_reason(ctx) == "t1 failed"  # nothing was changed yet
    begin_wave(ctx, planned_waves(ctx)[0])
    assert stop_reason(ctx) is None


def test_a_service_that_was_never_brought_to_a_target_leaves_its_other_services_alone(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, "t1", command="rollback", services=("hello", "twin"))
    ctx.run.outcome("t1", "twin").phase = TargetPhase.UNTOUCHED
    assert failed_outcome(ctx, ctx.targets[0]) is None
