"""The way back where not all is as it should be: a first release, a service nobody has yet, a target that is gone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fleet import Fleet, Running

pytestmark = pytest.mark.lab

QUICK = {"confirm_window": 8, "lease_ttl": 6, "canary": 1}
HEALTH = {"check": {"type": "http", "url": "http://127.0.0.1:8181/healthz", "status": 200, "body": "^ok"}}
#: A service that is new in the data: nothing of it was ever rolled out.
TWIN: dict[str, Any] = {"twin": {"unit": {"environment": {"HELLO_ADDR": ":8181"}}, "health": HEALTH}}


@pytest.fixture
def fresh(stocked: Fleet) -> Fleet:
    """Two targets on which nothing was ever released."""
    stocked.fresh_targets()
    stocked.data = {"rollout": QUICK}
    return stocked


@pytest.fixture
def two(fresh: Fleet) -> Fleet:
    """Two targets with v1.0.0 live."""
    result = fresh.rollout("v1.0.0")
    assert result.code == 0, result.output
    return fresh


def versions(fleet: Fleet) -> dict[str, str]:
    return {host: (fleet.live(host) or "nothing-").rpartition("-")[0] for host in ("t1", "t2")}


def killed_in_the_pause(fleet: Fleet, version: str) -> str:
    """A run whose controller died when its canary alone was switched; its id."""
    run = fleet.start("rollout", "--data", f"version={version}", data={"rollout": {**QUICK, "pause": 600}})
    run.wait_for("the next wave follows")
    run.kill()
    return max(path.parent.name for path in fleet.home.glob("runs/*/journal.jsonl"))


def test_a_first_release_is_taken_back_to_nothing_and_that_is_what_was_asked_for(fresh: Fleet, tmp_path: Path) -> None:
    run = killed_in_the_pause(fresh, "v1.0.0")
    other = Fleet(fresh.lab, tmp_path / "other", fresh.data)
    result = other.run("rollout", "--data", f"abort={run}")
    assert result.code == 0, result.output
    assert versions(fresh) == {"t1": "nothing", "t2": "nothing"}


def test_a_service_that_nobody_has_yet_is_in_nobodys_way_back(two: Fleet, tmp_path: Path) -> None:
    assert two.rollout("v1.1.0").code == 0
    result = two.run("rollback", data=TWIN)
    assert result.code == 0, result.output
    result.line("twin: no target has any release")
    assert versions(two) == {"t1": "v1.0.0", "t2": "v1.0.0"}

    run = killed_in_the_pause(two, "v1.1.0")
    other = Fleet(two.lab, tmp_path / "other", two.data)
    result = other.run("rollout", "--data", f"abort={run}", data=TWIN)
    assert result.code == 0, result.output
    assert versions(two) == {"t1": "v1.0.0", "t2": "v1.0.0"}


def test_a_target_that_is_gone_for_good_is_waited_for_no_longer_than_it_needs_to_go_back(two: Fleet) -> None:
    run: Running = two.start("rollout", "--data", "version=v1.1.0", data={"hello": {"health": {"minimum_healthy": 4}}})
    run.wait_for(r"\[t1\].*gate")
    two.lab.host("t1").cut()
    began = time.monotonic()
    result = run.end()
    two.lab.host("t1").uncut()
    # window, twice the start deadline and 30 s; then a look for 15 s; and rollout.activate_timeout is 300 s
    assert time.monotonic() - began < 150, result.output
    assert result.code == 4, result.output
    rows = {row["host"]: row for row in two.report()["targets"]}
    assert (rows["t1"]["outcome"], rows["t2"]["outcome"]) == ("lost", "untouched")
    assert "lost" in rows["t1"]["reason"]
    two.lab.host("t1").run(
        "timeout 30 sh -c 'until grep -q reverted /var/lib/gofallback/hello/outcome.json; do sleep 0.2; done'"
    )
    assert versions(two) == {"t1": "v1.0.0", "t2": "v1.0.0"}
    assert "it is reverted there" in two.run("status").line("t1.*was lost by run")
