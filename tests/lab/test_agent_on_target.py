"""The agent alone on a real target: whatever happens to a release or to the agent, a good release runs in the end."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from lab.model import DEFAULT_SUITE
from tests.lab.agent_target import AGENT, AgentTarget, built, service
from tests.lab.conftest import fresh_name

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentTarget]:
    programs = built(tmp_path_factory.mktemp("programs"))
    suite = os.environ.get("GOFALLBACK_TEST_SUITE", DEFAULT_SUITE)  # bullseye has systemd 247, trixie 257
    with Lab.up(fresh_name(), targets=1, builders=0, suite=suite) as lab:
        yield AgentTarget(lab.host("t1"), programs)


@pytest.fixture
def target(machine: AgentTarget) -> AgentTarget:
    machine.wipe()
    return machine


@pytest.fixture
def good(target: AgentTarget) -> AgentTarget:
    """A target on which v1 runs and is well."""
    code, record = target.activate(target.release("v1"))
    assert (code, record["state"]) == (0, "confirmed")
    return target


def assert_v1_is_back(target: AgentTarget, before: dict[str, str]) -> None:
    assert target.current() == "v1"
    assert target.answers().startswith("ok")
    assert target.units() == before
    assert target.sh("systemctl list-units --failed --quiet --no-legend --plain 'hello*'") == ""
    assert target.sh("cat /var/lib/gofallback/hello/last-known-good") == "v1"


def test_a_first_release_runs_is_enabled_and_is_remembered(good: AgentTarget) -> None:
    assert good.answers().startswith("ok") and good.current() == "v1"
    assert good.sh("systemctl is-enabled hello.service hello-health.timer") == "enabled\nenabled"
    assert good.sh("systemctl is-active hello-health.timer") == "active"
    history = [json.loads(line) for line in good.sh("cat /var/lib/gofallback/hello/history.jsonl").splitlines()]
    assert [(run["release"], run["state"]) for run in history] == [("v1", "confirmed")]


def test_the_next_release_replaces_it_and_the_same_run_again_changes_nothing(good: AgentTarget) -> None:
    code, record = good.activate(good.release("v2"), "same-run")
    assert (code, record["previous"], good.current()) == (0, "v1", "v2")
    pid = good.sh("systemctl show -P MainPID hello.service")
    assert good.activate("v2", "same-run") == (0, record)
    assert good.sh("systemctl show -P MainPID hello.service") == pid


@pytest.mark.parametrize(
    ("fault", "after", "cause", "says"),
    [
        ("crash", "", "crashed", "exited with status 3"),
        ("unhealthy", "", "deadline", "expected status 200, got 503"),
        ("flap", "500ms", "unhealthy", "got 503"),
        ("hang", "", "deadline", "no answer within 1s"),
        ("slow", "20s", "deadline", "connection refused"),
    ],
)
def test_a_release_that_is_not_well_is_taken_back(
    good: AgentTarget, fault: str, after: str, cause: str, says: str
) -> None:
    before = good.units()
    code, record = good.activate(good.release("v2", service(fault, after, start_deadline=3)))
    assert (code, record["state"], record["cause"]) == (3, "reverted", cause)
    assert says in record["reason"]
    assert_v1_is_back(good, before)
    assert record["runs_now"] == "v1" and record["healthy"] is True
    assert json.loads(good.sh("cat /opt/hello/releases/v2/BAD"))["cause"] == cause
    if fault not in ("unhealthy", "flap"):
        return
    assert any("listening on" in line for line in record["journal"]), record["journal"]


def test_a_crash_is_taken_back_at_once_and_its_last_words_are_kept(good: AgentTarget) -> None:
    good.release("v2", service("crash", start_deadline=60, minimum_healthy=3))
    code, record = good.activate("v2")
    times = record["timings"]
    assert code == 3
    assert times["failed"] - times["switched"] < 2, "the deadline was waited for"
    assert times["answering"] - times["failed"] < 2
    assert any("giving up at start" in line for line in record["journal"]), record["journal"]


def test_a_binary_for_another_architecture_is_taken_back(good: AgentTarget) -> None:
    before = good.units()
    code, record = good.activate(good.release("v2", program="other"))
    assert (code, record["cause"]) == (3, "crashed")
    assert "203/EXEC" in record["reason"]
    assert_v1_is_back(good, before)


def test_another_program_on_the_port_is_not_taken_for_the_service(target: AgentTarget) -> None:
    target.sh("systemd-run --quiet --unit=squatter --setenv=HELLO_ADDR=:8080 /root/programs/hello; sleep 0.5")
    try:
        assert target.answers().startswith("ok"), "the other program is healthy"
        code, record = target.activate(target.release("v1"))
    finally:
        target.sh("systemctl stop squatter")
    assert (code, record["cause"]) == (4, "crashed")
    assert any("address already in use" in line for line in record["journal"])
    assert target.activate("v1")[0] == 0, "the same command works once the port is free"
    assert target.sh("ls /opt/hello/releases/v1") == "bin\nconf\nlib\nmanifest.json", "no longer marked bad"


def test_a_first_release_that_fails_leaves_nothing_but_evidence(target: AgentTarget) -> None:
    code, record = target.activate(target.release("v1", service("crash")))
    assert (code, record["state"], record["runs_now"]) == (4, "failed", None)
    assert "no earlier release" in record["reason"] and "status 3" in record["reason"]
    assert any("giving up at start" in line for line in record["journal"])
    assert target.current() == "" and target.units() == {}
    assert target.sh("systemctl list-units --all --no-legend --plain 'hello*' | grep -v not-found", check=False) == ""


def test_changed_added_and_removed_unit_files_come_back_exactly(good: AgentTarget) -> None:
    good.sh("sed -i 's/^Description=.*/Description=edited by hand/' /etc/systemd/system/hello.service")
    before = good.units()
    code, record = good.activate(good.release("v2", service("crash", socket=True)))
    assert code == 3
    assert record["units"]["hello.service"] == "changed" and record["units"]["hello.socket"] == "created"
    assert_v1_is_back(good, before)
    assert good.sh("systemctl show -P Description hello.service") == "edited by hand"


@pytest.mark.parametrize("stage", ["switch", "restart", "gate", "restore", "verify"])
@pytest.mark.parametrize("heal", [True, False], ids=["restarted by systemd", "run again by hand"])
def test_a_killed_agent_ends_well_when_run_again(good: AgentTarget, stage: str, heal: bool) -> None:
    """With a release that fails: v1 has to be what it goes back to, however half the switch was."""
    before = good.units()
    good.release("v2", service("flap", "300ms", socket=True))
    run_id = f"kill-{stage}-{heal}"
    good.host.put("/root/killer", KILLER.encode(), 0o755)
    good.sh(f"setsid /root/killer {stage} >/dev/null 2>&1 </dev/null &")
    good.start("v2", run_id, heal)
    code, lines = good.follow(run_id)
    assert good.sh("cat /root/killed") == stage
    if not heal:
        assert (code, lines[-1]["state"]) == (5, "intended")
        code, lines = good.follow(good.start("v2", run_id, heal))
    record = lines[-1]
    assert (code, record["state"], record["previous"]) == (3, "reverted", "v1")
    assert record["attempt"] == 2
    assert_v1_is_back(good, before)


# Kills the agent with SIGKILL as soon as its record names a stage.
KILLER = """#!/bin/bash
rm -f /root/killed
record=/var/lib/gofallback/hello/outcome.json
for ((i = 0; i < 200000; i++)); do
  read -r -d '' text < $record
  if [[ $text == *'"state": "intended"'* && $text == *'"stage": "'$1'",
 "stages"'* && $text =~ \\"pid\\":\\ ([0-9]+) ]]; then
    kill -9 "${BASH_REMATCH[1]}"; echo $1 > /root/killed; exit
  fi
done
"""


def test_a_new_run_after_a_killed_one_goes_back_to_what_ran_before_both(good: AgentTarget) -> None:
    before = good.units()
    good.release("v2", service(minimum_healthy=3))
    run_id = good.start("v2", "first", heal=False)
    good.await_stage(run_id, "gate")
    good.sh("systemctl kill --signal=KILL gofallback-activate-hello.service")
    assert good.current() == "v2"
    code, record = good.activate(good.release("v3", service("crash")))
    assert (code, record["previous"], record["runs_now"]) == (3, "v1", "v1")
    assert_v1_is_back(good, before)


def test_stopping_the_agent_takes_the_release_back(good: AgentTarget) -> None:
    before = good.units()
    run_id = good.start(good.release("v2", service(minimum_healthy=5)))
    good.await_stage(run_id, "gate")
    good.sh("systemctl stop gofallback-activate-hello.service")
    code, lines = good.follow(run_id)
    assert (code, lines[-1]["cause"]) == (3, "interrupted")
    assert_v1_is_back(good, before)
    assert good.sh("ls /opt/hello/releases/v2 | grep BAD", check=False) == "", "it is not the release's fault"


@pytest.mark.parametrize("how", ["reboot", "power cut"])
def test_a_host_that_goes_down_in_mid_activation_comes_back_with_the_old_release(good: AgentTarget, how: str) -> None:
    before = good.units()
    run_id = good.start(good.release("v2", service(minimum_healthy=5)))
    good.await_stage(run_id, "gate")
    good.go_down(how)
    code, lines = good.follow(run_id)
    assert (code, lines[-1]["cause"]) == (3, "interrupted"), lines[-1]
    assert "went down in stage gate" in lines[-1]["reason"]
    assert_v1_is_back(good, before)


def test_a_second_activation_is_refused_and_names_the_first(good: AgentTarget) -> None:
    good.release("v2", service(minimum_healthy=5))
    run_id = good.start("v2")
    good.await_stage(run_id, "gate")
    second = good.host.run(
        f"{AGENT} activate -plan /opt/hello/releases/v1/conf/activation.json -run-id other", check=False
    )
    assert second.returncode == 2
    assert f"is being activated by run {run_id} (test, since" in second.stderr
    assert good.follow(run_id)[0] == 0


def test_follow_shows_each_stage_and_may_be_started_at_any_time(good: AgentTarget) -> None:
    good.release("v2", service(minimum_healthy=1.5))
    outputs: dict[str, Any] = {}
    early = threading.Thread(target=lambda: outputs.update(early=good.follow("watched")))
    early.start()
    time.sleep(0.3)
    good.start("v2", "watched")
    good.await_stage("watched", "gate")
    outputs["cut off"] = good.follow("watched", timeout=0.2)
    outputs["again"] = good.follow("watched")
    early.join()
    outputs["after"] = good.follow("watched")
    good.activate("v1")
    outputs["long after"] = good.follow("watched")
    stages = ["prepare", "switch", "restart", "gate", "finish"]
    for when in ("early", "again", "after"):
        code, lines = outputs[when]
        assert code == 0
        assert [line["stage"] for line in lines[:-1] if line["event"] == "stage"] == stages, when
        assert lines[-1]["state"] == "confirmed"
    assert outputs["cut off"][0] == 6 and outputs["cut off"][1][-1]["state"] == "intended"
    assert outputs["long after"][0] == 0 and outputs["long after"][1][-1]["release"] == "v2"


def requests_lost(target: AgentTarget, action: Any) -> tuple[int, list[str]]:
    """How many requests were made while something happened, and what befell those that were lost."""
    counts, losses, done = {"made": 0}, list[str](), threading.Event()

    def ask() -> None:
        while not done.is_set():
            counts["made"] += 1
            try:
                with urllib.request.urlopen(f"http://{target.host.address}:8080/", timeout=10) as response:
                    response.read()
            except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
                losses.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        action()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    return counts["made"], losses


def test_with_socket_activation_no_request_is_lost_forward_or_back(target: AgentTarget) -> None:
    assert target.activate(target.release("v1", service(socket=True)))[0] == 0
    target.release("v2", service(socket=True))
    target.release("v3", service("flap", "400ms", socket=True))

    def switch() -> None:
        assert target.activate("v2")[0] == 0
        assert target.activate("v3")[0] == 3

    made, lost = requests_lost(target, switch)
    assert made > 100 and lost == [], f"of {made}"
    assert target.current() == "v2" and target.answers().startswith("ok")


def test_the_port_changes_hands_between_service_and_socket_unit(good: AgentTarget) -> None:
    assert good.activate(good.release("v2", service(socket=True)))[0] == 0
    assert good.sh("systemctl is-active hello.socket") == "active" and good.answers().startswith("ok")
    code, record = good.activate("v1")
    assert (code, record["units"]["hello.socket"]) == (0, "removed")
    assert good.answers().startswith("ok")


def test_old_releases_go_and_those_that_matter_stay(good: AgentTarget) -> None:
    for name in ("v2", "v3", "v4", "v5", "v6", "v7"):
        assert good.activate(good.release(name))[0] == 0
    assert good.sh("ls -A /opt/hello/releases") == "v3\nv4\nv5\nv6\nv7"
    good.activate(good.release("v8", service("crash")))
    code, record = good.activate("v3")
    assert (code, record["previous"], record["pruned"]) == (0, "v7", ["v8"])


def test_the_timers_check_tells_journald_of_changes_and_failures_only(good: AgentTarget) -> None:
    run = "systemctl reset-failed hello-health.service; systemctl start hello-health.service"
    good.sh(f"{run}; {run}; {run}; systemctl stop hello.service; {run}; {run}", check=False)
    good.sh(f"systemctl start hello.service; sleep 0.5; {run}; {run}")
    # Not by _SYSTEMD_UNIT: journald asks for that after the short-lived process may have ended.
    journal = good.sh("journalctl --sync; journalctl -o json GOFALLBACK_SERVICE=hello | grep GOFALLBACK_HEALTH")
    entries = [json.loads(line) for line in journal.splitlines()]
    seen = [(entry["GOFALLBACK_HEALTH"], entry["PRIORITY"], entry["GOFALLBACK_RELEASE"]) for entry in entries][-4:]
    assert seen == [("ok", "6", "v1"), ("bad", "3", "v1"), ("bad", "3", "v1"), ("ok", "6", "v1")]
    assert "connection refused" in entries[-2]["MESSAGE"]


def test_a_check_by_command_runs_as_the_services_user_and_dies_with_its_children(target: AgentTarget) -> None:
    config: dict[str, Any] = {
        "service": "hello",
        "check": {"type": "command", "argv": ["sh", "-c", "id -un"], "user": "hello"},
    }
    target.host.put("/root/health.json", json.dumps(config).encode())
    assert target.sh(f"{AGENT} check -config /root/health.json") == "healthy: sh: hello"
    config = {
        "service": "hello",
        "timeout": 0.5,
        "check": {"type": "command", "argv": ["sh", "-c", "sleep 4711 & wait"]},
    }
    target.host.put("/root/health.json", json.dumps(config).encode())
    slow = target.host.run(f"{AGENT} check -config /root/health.json", check=False)
    assert (slow.returncode, slow.stdout) == (1, "unhealthy: no answer within 500ms\n")
    assert target.sh("pgrep -f '[s]leep 4711'", check=False) == ""


def test_state_tells_everything_about_a_service(good: AgentTarget, tmp_path: Path) -> None:
    good.activate(good.release("v2", service("crash")))
    state = json.loads(good.sh(f"{AGENT} state -service hello"))
    assert (state["current"], state["last_known_good"], state["record"]["state"]) == ("v1", "v1", "reverted")
    releases = {release["name"]: release for release in state["releases"]}
    assert releases["v2"]["bad"]["cause"] == "crashed" and releases["v1"]["bad"] is None
    assert releases["v1"]["binaries"]["hello"] == good.sh("sha256sum /root/programs/hello").split()[0]
    unit = state["units"]["hello.service"]
    assert unit["sha256"] == good.sh("sha256sum /etc/systemd/system/hello.service").split()[0]
    assert (unit["active"], unit["file"]) == ("active", "enabled")
    assert state["main"]["pid"] == int(good.sh("systemctl show -P MainPID hello.service"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("rm -r /opt/hello/releases/v2/conf/hello.service", "is incomplete"),
        (
            "sed -i s/hello-health.timer/..evil/ /opt/hello/releases/v2/conf/activation.json",
            "units: expected file names",
        ),
        ("rm /opt/hello/releases/v2/conf/health.json", "health.json"),
        ("echo '{' > /opt/hello/releases/v2/conf/activation.json", "activation.json"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_before_anything_changes(good: AgentTarget, damage: str, says: str) -> None:
    before, record = good.units(), good.record()
    good.release("v2")
    good.sh(damage)
    done = good.host.run(
        f"{AGENT} activate -plan /opt/hello/releases/v2/conf/activation.json -run-id refused", check=False
    )
    assert done.returncode == 2 and says in done.stderr and len(done.stderr.splitlines()) == 1
    assert (good.units(), good.record(), good.current()) == (before, record, "v1")


def test_a_full_disk_leaves_the_old_release_running(good: AgentTarget) -> None:
    good.release("v2")
    pid = good.sh("systemctl show -P MainPID hello.service")
    good.host.fill_disk()
    try:
        done = good.host.run(
            f"{AGENT} activate -plan /opt/hello/releases/v2/conf/activation.json -run-id full", check=False
        )
    finally:
        good.host.free_disk()
    assert done.returncode in (2, 3) and "no space left" in done.stderr
    assert good.current() == "v1" and good.answers().startswith("ok")
    assert good.sh("systemctl show -P MainPID hello.service") == pid, "it was not even restarted"
    assert good.activate("v2", "room")[0] == 0


def test_a_disk_that_fills_up_in_the_gate_does_not_keep_the_old_release_from_coming_back(good: AgentTarget) -> None:
    before = good.units()
    run_id = good.start(good.release("v2", service("flap", "2s", socket=True, minimum_healthy=4)))
    good.await_stage(run_id, "gate")
    good.host.fill_disk()
    try:
        code, lines = good.follow(run_id)
        assert (code, lines[-1]["state"]) == (3, "reverted"), lines[-1]
        assert good.current() == "v1" and good.answers().startswith("ok")
    finally:
        good.host.free_disk()
    good.activate("v1", "room")  # whoever comes next writes down what could not be written
    assert good.units() == before
    history = [json.loads(line) for line in good.sh("cat /var/lib/gofallback/hello/history.jsonl").splitlines()]
    assert [(run["run_id"], run["state"]) for run in history][1:] == [(run_id, "reverted"), ("room", "confirmed")]
