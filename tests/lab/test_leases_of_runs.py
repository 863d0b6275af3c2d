"""Whole runs that meet: refused, taken over, cut off from their etcd; by their exit status and in plain words."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from lab.etcd import Etcd
from lab.stock import stock
from tests.lab.fleet import Fleet, Running
from tests.lab.waiting import wait

pytestmark = pytest.mark.lab

TTL = 6
PASSWORD = "canary-Zq7horse"


@pytest.fixture(scope="module")
def made(stocked: Fleet) -> Fleet:
    stock(stocked.home, ["v1.2.0"])
    return stocked


@pytest.fixture(scope="module")
def etcd(made: Fleet) -> Etcd:
    cluster = Etcd.start(made.lab)
    cluster.require_login("gofallback", PASSWORD)
    return cluster


@pytest.fixture
def two(made: Fleet) -> Fleet:
    """Two targets with v1.0.0 live."""
    made.fresh_targets()
    made.data = {"rollout": {"confirm_window": 20, "lease_ttl": TTL}}
    result = made.rollout("v1.0.0")
    assert result.code == 0, result.output
    return made


def start(fleet: Fleet, version: str, *args: str, **rollout: Any) -> Running:
    return fleet.start(
        "rollout", "--data", f"version={version}", *args, data={"rollout": {**fleet.data["rollout"], **rollout}}
    )


def paused(fleet: Fleet, version: str, *args: str, **rollout: Any) -> tuple[Running, str]:
    """A run that has switched t1 and pauses before t2, and its id."""
    known = {path.name for path in (fleet.home / "runs").iterdir()}
    run = start(fleet, version, *args, **{"canary": 1, "pause": 8, **rollout})
    run.wait_for("the next wave follows in|waiting for an answer")
    (run_id,) = {path.name for path in (fleet.home / "runs").iterdir()} - known
    return run, run_id


def events(fleet: Fleet, run_id: str, event: str) -> list[dict[str, Any]]:
    lines = (fleet.home / "runs" / run_id / "journal.jsonl").read_text().splitlines()
    return [found for line in lines if (found := json.loads(line))["event"] == event]


def holder(fleet: Fleet, host: str) -> str:
    return fleet.lab.host(host).run("cut -f 2 /var/lib/gofallback/hello/lease").stdout.strip()


def test_a_second_run_is_refused_while_the_first_lives_and_leaves_it_alone(two: Fleet) -> None:
    first, run_id = paused(two, "v1.1.0", pause="ask")
    second = two.rollout("v1.2.0")
    assert second.code == 2, second.output
    line = second.line("is leased to run")
    assert run_id in line and f"take over: --data takeover={run_id}" in line
    status = two.run("status")
    assert re.search(r"leased to", status.output) and "number 2" in status.output, status.output
    assert two.command("continue", run_id).code == 0
    result = first.end()
    assert result.code == 0, result.output
    assert two.answer("t1") == two.answer("t2") == "ok v1.1.0"
    assert holder(two, "t1") == holder(two, "t2") == ""
    assert sorted(found["host"] for found in events(two, run_id, "lease")) == ["t1", "t2"]


def test_a_run_that_is_taken_over_changes_nothing_more(two: Fleet) -> None:
    first, run_id = paused(two, "v1.1.0", pause="ask")
    second = two.rollout("v1.2.0", "--data", f"takeover={run_id}")
    assert second.code == 0, second.output
    second.line(f"hello: lease taken over from run {run_id}")
    two.command("continue", run_id)
    result = first.end()
    assert result.code not in (0, 1), result.output
    result.line(r"fenced: run \S+ of \S+ took over \(number 3, ours 2\)|fenced: a later run took over and has ended")
    assert two.answer("t1") == two.answer("t2") == "ok v1.2.0"
    newest = max(path.name for path in (two.home / "runs").iterdir())
    assert {found["from_run"] for found in events(two, newest, "takeover")} == {run_id}
    journal = two.lab.host("t2").run(f"journalctl --no-pager -o cat GOFALLBACK_EVENT=takeover GOFALLBACK_FROM={run_id}")
    assert "took the lease over from run" in journal.stdout


def test_a_lease_that_ends_while_another_target_is_at_work_is_taken_again(two: Fleet) -> None:
    run, run_id = paused(two, "v1.1.0")
    two.lab.host("t2").run("kill $(cat /run/gofallback/hello.keeper)")
    result = run.end()
    assert result.code == 0, result.output
    result.line(r"\[t2\].*lost with its connection.*taken again")
    numbers = {found["number"] for found in events(two, run_id, "lease") if found["host"] == "t2"}
    assert len(numbers) == 1, "the same number"


def test_a_lease_that_is_lost_to_somebody_else_stops_the_switch_and_takes_the_fleet_back(two: Fleet) -> None:
    run, _ = paused(two, "v1.1.0")
    two.lab.host("t2").run(
        "kill $(cat /run/gofallback/hello.keeper); read -r up rest </proc/uptime; "
        r"printf '99\t20261122T000000Z-dead\teve@other\tnow\t60\n' >/var/lib/gofallback/hello/lease; "
        r"printf '99\t%s\n' $up >/run/gofallback/hello.renewed"
    )
    result = run.end()
    assert result.code == 3, result.output
    result.line(r"\[t2\].*fenced: run 20261122T000000Z-dead of eve@other took over \(number 99, ours \d+\)")
    assert two.answer("t1") == two.answer("t2") == "ok v1.0.0"
    assert {row["host"]: row["outcome"] for row in two.report()["targets"]} == {"t1": "reverted", "t2": "untouched"}


def test_a_killed_run_leaves_no_lease(two: Fleet) -> None:
    first, _ = paused(two, "v1.1.0")
    first.kill()
    wait(lambda: holder(two, "t1") == holder(two, "t2") == "", 3)


def test_a_run_has_a_lease_in_etcd_first_and_gives_it_back(two: Fleet, etcd: Etcd) -> None:
    url = etcd.url(f"gofallback:{PASSWORD}@")
    first, run_id = paused(two, "v1.1.0", lease=url, pause="ask")
    assert f'"run": "{run_id}"' in etcd.contents()["/gofallback/lab/hello"]
    second = start(two, "v1.2.0", lease=url).end()
    assert second.code == 2, second.output
    second.line(f"etcd://gofallback@.*hello is leased to run {run_id}")
    assert two.command("continue", run_id).code == 0
    result = first.end()
    assert result.code == 0, result.output
    assert etcd.contents() == {}
    wrong = start(two, "v1.2.0", lease=etcd.url(f"gofallback:{PASSWORD}x@")).end()
    assert wrong.code == 2 and "authentication failed" in wrong.output
    written = [file.read_bytes() for file in (two.home / "runs").rglob("*") if file.is_file()]
    journals = [target.run("journalctl --no-pager -o export").stdout.encode() for target in two.lab.targets]
    said = [each.output.encode() for each in (result, second, wrong)]
    assert not [text for text in (*written, *journals, *said) if PASSWORD.encode() in text]


def test_etcd_away_at_the_start_refuses_and_away_for_a_moment_is_a_note(two: Fleet, etcd: Etcd) -> None:
    url = etcd.url(f"gofallback:{PASSWORD}@")
    etcd.members[0].kill()
    refused = start(two, "v1.1.0", lease=url).end()
    assert refused.code == 2, refused.output
    refused.line(r"does not answer \(connection refused\)")
    etcd.members[0].start()
    time.sleep(1)
    run, _ = paused(two, "v1.1.0", lease=url, lease_ttl=15)
    etcd.members[0].kill()
    time.sleep(6)  # at least one renewal, as they come every 5 s
    etcd.members[0].start()
    result = run.end()
    assert result.code == 0, result.output
    assert two.answer("t1") == two.answer("t2") == "ok v1.1.0"
    result.line("does not answer .*the run goes on until the lease is not renewed for 15 s")
    result.line("answers again; the lease was kept")


def test_etcd_away_for_longer_than_the_ttl_stops_the_run_and_takes_it_back(two: Fleet, etcd: Etcd) -> None:
    run, _ = paused(two, "v1.1.0", lease=etcd.url(f"gofallback:{PASSWORD}@"), pause=12)
    etcd.members[0].freeze()
    try:
        result = run.end()
    finally:
        etcd.members[0].thaw()
    assert result.code == 3, result.output
    result.line("was not renewed for 6 s, as etcd did not answer")
    assert two.answer("t1") == two.answer("t2") == "ok v1.0.0"
    assert {row["host"]: row["outcome"] for row in two.report()["targets"]} == {"t1": "reverted", "t2": "untouched"}


def test_a_run_that_changes_nothing_takes_no_lease(two: Fleet) -> None:
    before = [target.run("cat /var/lib/gofallback/hello/lease").stdout for target in two.lab.targets]
    assert two.rollout("v1.0.0").code == 0
    assert [target.run("cat /var/lib/gofallback/hello/lease").stdout for target in two.lab.targets] == before


def test_a_takeover_in_the_middle_of_an_activation_ends_on_one_version(two: Fleet) -> None:
    known = {path.name for path in (two.home / "runs").iterdir()}
    first = two.start(
        "rollout", "--data", "version=v1.1.0", data={"hello": {"health": {"minimum_healthy": 12, "start_deadline": 20}}}
    )
    first.wait_for(r"\[t1\].*gate")
    (run_id,) = {path.name for path in (two.home / "runs").iterdir()} - known
    second = two.rollout("v1.2.0", "--data", f"takeover={run_id}")
    result = first.end()
    assert result.code not in (0, 1), result.output
    assert second.code == 0, second.output
    assert two.answer("t1") == two.answer("t2") == "ok v1.2.0"
