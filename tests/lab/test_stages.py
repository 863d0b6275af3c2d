"""The stages together on real hosts: several services, several builders, and the ways a run can end."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fleet import QUICK, Fleet, Running

pytestmark = pytest.mark.lab

TWIN: dict[str, Any] = {
    "unit": {"type": "notify", "environment": {"HELLO_ADDR": ":8181"}},
    "health": {**QUICK, "check": {"type": "http", "url": "http://127.0.0.1:8181/healthz", "body": "^ok"}},
    "smoke": ["--version"],
}


def twin(**environment: str) -> dict[str, Any]:
    """A second service, the same program on another port."""
    return {**TWIN, "unit": {**TWIN["unit"], "environment": {"HELLO_ADDR": ":8181", **environment}}}


def outcomes(fleet: Fleet) -> dict[tuple[str, str], str]:
    return {(row["host"], row["service"]): row["outcome"] for row in fleet.report()["targets"]}


@pytest.fixture(scope="module")
def both_built(fleet: Fleet) -> Fleet:
    """The shared fleet's controller with an artifact of the second service as well."""
    for ref in ("v1.0.0", "v1.1.0"):
        result = fleet.run("drill", "--data", f"ref={ref}", data={"twin": twin()}, seconds=900)
        assert result.code == 0, result.output
    return fleet


@pytest.fixture
def both(both_built: Fleet) -> Fleet:
    """Both services at v1.0.0 on both targets."""
    both_built.fresh_targets()
    result = both_built.run("rollout", "--data", "version=v1.0.0", data={"twin": twin()})
    assert result.code == 0, result.output
    return both_built


def live(fleet: Fleet, host: str) -> list[str]:
    """Versions of hello and twin, as the links on the target say."""
    links = fleet.lab.host(host).run("readlink /opt/hello/current /opt/twin/current", check=False).stdout.split()
    return [link.rpartition("/")[2].rpartition("-")[0] for link in links]


def test_two_services_go_live_on_every_target_and_each_has_its_row(both: Fleet) -> None:
    result = both.run("rollout", "--data", "version=v1.1.0", data={"twin": twin()})
    assert result.code == 0, result.output
    assert live(both, "t1") == live(both, "t2") == ["v1.1.0", "v1.1.0"]
    rows = outcomes(both)
    assert len(rows) == 4 and set(rows.values()) == {"confirmed"}


def test_one_service_that_fails_on_the_canary_puts_the_other_back_there(both: Fleet) -> None:
    result = both.run("rollout", "--data", "version=v1.1.0", data={"twin": twin(HELLO_FAULT="crash")})
    assert result.code == 3, result.output
    assert live(both, "t1") == live(both, "t2") == ["v1.0.0", "v1.0.0"], result.output
    assert outcomes(both) == {
        ("t1", "hello"): "reverted",
        ("t1", "twin"): "reverted",
        ("t2", "hello"): "untouched",
        ("t2", "twin"): "untouched",
    }
    assert both.report()["reason"].startswith("twin on t1:")


def test_one_service_that_fails_on_a_later_target_puts_every_service_back_everywhere(both: Fleet) -> None:
    taken = both.lab.host("t2")
    taken.run("systemd-run --collect --unit=squatter --setenv=HELLO_ADDR=:9292 --setenv=HELLO_FAULT=unhealthy "
              "/opt/hello/current/bin/hello")  # fmt: skip
    moved = twin(HELLO_ADDR=":9292")
    moved["health"] = {**QUICK, "check": {"type": "http", "url": "http://127.0.0.1:9292/healthz", "body": "^ok"}}
    result = both.run("rollout", "--data", "version=v1.1.0", data={"twin": moved})
    taken.run("systemctl stop squatter")
    assert result.code == 3, result.output
    assert live(both, "t1") == live(both, "t2") == ["v1.0.0", "v1.0.0"], result.output
    assert set(outcomes(both).values()) == {"reverted"}


def test_with_revert_failed_only_the_failed_target_goes_back(running: Fleet) -> None:
    running.lab.host("t2").run(
        "systemd-run --collect --unit=squatter --setenv=HELLO_ADDR=:9191 --setenv=HELLO_FAULT=unhealthy "
        "/opt/hello/current/bin/hello"
    )
    hello = {
        "unit": {"environment": {"HELLO_ADDR": ":9191"}},
        "port": 9191,
        "health": {"check": {"type": "http", "url": "http://127.0.0.1:9191/healthz", "body": "^ok"}},
    }
    result = running.run("rollout", "--data", "version=v1.1.0", data={"hello": hello, "rollout": {"revert": "failed"}})
    running.lab.host("t2").run("systemctl stop squatter")
    assert result.code == 5, result.output
    assert outcomes(running) == {("t1", "hello"): "confirmed", ("t2", "hello"): "reverted"}
    assert (running.live("t1") or "").startswith("v1.1.0-") and (running.live("t2") or "").startswith("v1.0.0-")


def test_targets_run_only_the_services_their_data_names(both_built: Fleet) -> None:
    both_built.fresh_targets()
    hosts = {"t1": {"target": {"services": ["hello"]}}, "t2": {"target": {"services": ["twin"]}}}
    result = both_built.run("rollout", "--data", "version=v1.0.0", data={"twin": twin(), "hosts": hosts})
    assert result.code == 0, result.output
    assert outcomes(both_built) == {("t1", "hello"): "confirmed", ("t2", "twin"): "confirmed"}
    assert "twin smoke" in result.output  # t2 is the first that gets it
    assert both_built.lab.host("t1").run("ls /opt").stdout.split() == ["gofallback", "hello"]


def test_a_target_without_services_is_left_alone_and_a_fleet_without_any_is_refused(running: Fleet) -> None:
    nothing = {"target": {"services": []}}
    result = running.run("rollout", "--data", "version=v1.1.0", data={"hosts": {"t2": nothing}})
    assert result.code == 0, result.output
    assert outcomes(running) == {("t1", "hello"): "confirmed"}
    assert running.answer("t2") == "ok v1.0.0"
    refused = running.run("rollout", "--data", "version=v1.1.0", data={"hosts": {"t1": nothing, "t2": nothing}})
    assert refused.code == 2
    refused.line("nothing to do")


def test_only_the_service_that_is_named_changes(both: Fleet) -> None:
    result = both.run("rollout", "--data", "version=v1.1.0", "--data", "service=twin", data={"twin": twin()})
    assert result.code == 0, result.output
    assert live(both, "t1") == live(both, "t2") == ["v1.0.0", "v1.1.0"]
    back = both.run("rollback", "--data", "service=twin", data={"twin": twin()})
    assert back.code == 0, back.output
    assert live(both, "t2") == ["v1.0.0", "v1.0.0"], result.output


def test_only_the_targets_of_limit_change(running: Fleet) -> None:
    result = running.rollout("v1.1.0", "--limit", "t2")
    assert result.code == 0, result.output
    assert (running.answer("t1"), running.answer("t2")) == ("ok v1.0.0", "ok v1.1.0")


def test_a_dead_builder_does_not_spoil_a_run_that_needs_none(running: Fleet) -> None:
    assert running.rollout("v1.1.0").code == 0
    result = running.run("rollback", data={"hosts": {"w1": {"ssh_port": 9}}})
    assert result.code == 0, result.output
    assert running.answer("t1") == running.answer("t2") == "ok v1.0.0"
    fallback = running.run("fallback", data={"hosts": {"w1": {"ssh_port": 9}}})
    assert fallback.code == 0, fallback.output
    fallback.line("no builder can be reached; every artifact was in the store")


def test_the_second_builder_builds_when_the_first_is_dead(running: Fleet, tmp_path: Path) -> None:
    """w0 is listed first and answers nobody; w1 builds what this controller's empty store lacks."""
    anew = Fleet(running.lab, tmp_path / "home")
    result = anew.run("fallback", data={"dead_builder": True}, seconds=900)
    assert result.code == 0, result.output
    result.line("builder w0 cannot be reached; w1 builds")
    assert running.answer("t1") == running.answer("t2") == "ok v1.1.0"


def test_a_build_that_fails_is_not_0_and_touches_nobody(running: Fleet) -> None:
    result = running.run("fallback", data={"hello": {"build": {"package": "./cmd/nowhere"}}})
    assert result.code == 4, result.output
    assert outcomes(running) == {("t1", "hello"): "untouched", ("t2", "hello"): "untouched"}
    assert "build failed on w1" in running.report()["reason"]
    assert running.answer("t1") == running.answer("t2") == "ok v1.0.0"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_stopped_run_is_not_0_and_says_what_it_left(running: Fleet, number: signal.Signals) -> None:
    slow = {"hello": {"health": {"minimum_healthy": 4}}}
    run = running.start("rollout", "--data", "version=v1.1.0", data=slow)
    run.wait_for(r"\[t1\].*gate")
    result = stop(run, number)
    assert result.code == 128 + number, result.output
    assert "Traceback" not in result.output
    report = running.report()
    assert report["verdict"] == "failed" and f"stopped by {number.name}" in report["reason"]
    assert outcomes(running) == {("t1", "hello"): "switching", ("t2", "hello"): "untouched"}
    again = running.run("rollout", "--data", "version=v1.1.0", data=slow)  # joins or finds what t1 ended alone
    assert again.code == 0, again.output
    assert running.answer("t1") == running.answer("t2") == "ok v1.1.0"


def stop(run: Running, number: signal.Signals) -> Any:
    run.process.send_signal(number)
    return run.end(60)


def test_a_plan_changes_nothing_and_is_0(running: Fleet) -> None:
    before = [running.live(target) for target in ("t1", "t2")]
    result = running.run("rollout", "--data", "version=v1.1.0", "--dry")
    assert result.code == 0, result.output
    assert "switch v1.0.0-" in result.line(r"\[t2\].*switch")
    assert [running.live(target) for target in ("t1", "t2")] == before
    assert running.lab.host("t1").run("ls /opt/hello/releases").stdout.split() == before[:1]


def test_a_diff_shows_no_secret(running: Fleet) -> None:
    secret = {"HELLO_ADDR": ":8080", "DB_PASSWORD": "hunter2", "AWS_SECRET_ACCESS_KEY": "wJalr", "PLAIN": "visible"}
    result = running.run("rollout", "--data", "version=v1.1.0", "--dry", "--diff",
                         data={"hello": {"unit": {"environment": secret}}})  # fmt: skip
    assert result.code == 0, result.output
    assert "hunter2" not in result.output and "wJalr" not in result.output
    assert 'PLAIN="visible"' in result.output and 'DB_PASSWORD="***"' in result.output
    assert "PrivateTmp=yes" in result.output or "PrivateTmp" not in result.output


def test_each_target_is_asked_once_for_a_plan_however_many_stages_read_it(both: Fleet) -> None:
    result = both.run("rollout", "--data", "version=v1.0.0", data={"twin": twin()})
    assert result.code == 0, result.output
    trips = both.report()["round_trips"]
    assert trips["t1"] == trips["t2"] == 1


def test_a_plan_that_another_run_made_old_is_not_carried_out(running: Fleet) -> None:
    waiting = running.start(
        "rollout", "--data", "version=v1.1.0", "--diff", data={"hello": {"unit": {"memory_max": "96M"}}}
    )
    waiting.wait_for("Detected changes displayed above")
    assert running.rollout("v1.1.0").code == 0
    between = [running.live(target) for target in ("t1", "t2")]
    waiting.enter()
    result = waiting.end(60)
    assert result.code == 2, result.output
    result.line("when this run was planned")
    assert [running.live(target) for target in ("t1", "t2")] == between


def test_root_needs_no_sudo(running: Fleet) -> None:
    root = {"ssh_user": "root", "target": {"sudo": False}}
    result = running.run("rollout", "--data", "version=v1.1.0", data={"hosts": {"t1": root, "t2": root}})
    assert result.code == 0, result.output


def test_the_report_keeps_the_journal_of_what_failed(running: Fleet) -> None:
    result = running.rollout("v1.1.0", unit={"environment": {"HELLO_ADDR": ":8080", "HELLO_FAULT": "crash"}})
    assert result.code == 3, result.output
    row = next(row for row in running.report()["targets"] if row["host"] == "t1")
    assert any("crash" in line for line in row["evidence"]), row


def test_a_refused_run_leaves_a_record_too(running: Fleet) -> None:
    result = running.rollout("v9.9.9")
    assert result.code == 2, result.output
    report = running.report()
    assert report["verdict"] == "refused" and "v9.9.9" in report["reason"]
    assert json.dumps(report)
