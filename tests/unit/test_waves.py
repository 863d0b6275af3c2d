"""Who goes first, and what stops the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gofallback.controller.options import Options
from gofallback.controller.paths import Home
from gofallback.controller.run import Run
from gofallback.deploys._order import in_program_order
from gofallback.deploys._site import Site
from gofallback.deploys._waves import canaries, failure, halt, in_order
from gofallback.model import Fleet
from gofallback.model.target import Target


@dataclass(frozen=True)
class Named:
    """As much of pyinfra's host as the order of hosts needs."""

    name: str


def site(tmp_path: Path, *names: str, marked: tuple[str, ...] = (), builder: str | None = None) -> Site:
    fleets = {name: Fleet(services={}, target=Target(canary=name in marked)) for name in names}
    run = Run(command="fallback", home=Home(tmp_path), options=Options(), fleets=fleets, builder=builder)
    targets: list[Any] = [Named(name) for name in names]
    builders: list[Any] = [Named(builder)] if builder else []
    state = SimpleNamespace(active_hosts={*targets, *builders})
    return Site(run=run, state=cast(Any, state), targets=targets, builders=builders)


@pytest.mark.parametrize(
    ("names", "marked", "first"),
    [
        (("t1", "t2", "t3"), (), ["t1"]),
        (("t1", "t2", "t3"), ("t2", "t3"), ["t2", "t3"]),
        (("t1",), (), []),
        (("t1",), ("t1",), ["t1"]),
        ((), (), []),
    ],
)
def test_the_canaries_are_those_marked_else_the_first_of_several(
    tmp_path: Path, names: tuple[str, ...], marked: tuple[str, ...], first: list[str]
) -> None:
    assert [host.name for host in canaries(site(tmp_path, *names, marked=marked))] == first


def test_everybody_else_keeps_the_order_of_the_inventory(tmp_path: Path) -> None:
    assert [host.name for host in in_order(site(tmp_path, "t1", "t2", "t3", marked=("t3",)))] == ["t3", "t1", "t2"]


@pytest.mark.parametrize("state", ["failed", "reverted", "untouched"])
def test_one_bad_outcome_stops_the_rest_and_the_first_cause_is_the_reason(tmp_path: Path, state: Any) -> None:
    here = site(tmp_path, "t1", "t2")
    assert halt(here) is None
    here.run.blame("t1", "hello", "not healthy")
    here.run.outcome("t1", "hello").state = state
    here.run.outcome("t2", "hello").state = "untouched"
    assert halt(here) == failure(here) == "hello on t1: not healthy"


@pytest.mark.parametrize("state", ["planned", "confirmed", "unchanged"])
def test_good_outcomes_and_those_to_come_stop_nobody(tmp_path: Path, state: Any) -> None:
    here = site(tmp_path, "t1", "t2")
    here.run.outcome("t1", "hello").state = state
    assert halt(here) is None


def test_a_host_that_failed_without_an_outcome_stops_the_rest(tmp_path: Path) -> None:
    here = site(tmp_path, "t1", "t2")
    here.state.active_hosts.discard(here.targets[1])
    assert halt(here) == "t2 failed (see above)"
    assert failure(here) is None  # nothing that was switched is put back for it


def test_a_builder_that_failed_stops_the_switch_of_what_was_there_already(tmp_path: Path) -> None:
    here = site(tmp_path, "t1", builder="w1")
    here.state.active_hosts.discard(here.builders[0])
    assert "w1" in (halt(here) or "")


def test_operations_run_in_the_order_of_the_deploy_file_and_not_of_each_host() -> None:
    orders = {"upload": (0, 12, 7), "build": (0, 10, 3), "canary": (0, 13, 1), "second service": (0, 12, 7, 1)}
    state = SimpleNamespace(op_meta={name: SimpleNamespace(op_order=order) for name, order in orders.items()})
    in_program_order(cast(Any, state))
    assert state.get_op_order() == ["build", "upload", "second service", "canary"]
