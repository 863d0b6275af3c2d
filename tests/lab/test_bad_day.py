"""The bad day, on real hosts: a target that ran a good release still runs one, and the next run succeeds."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet, Result

pytestmark = pytest.mark.lab

GOOD = "ok v1.0.0"


def assert_fleet_is_on_the_old_release(fleet: Fleet) -> None:
    """Every target runs v1.0.0, answers, and has no half release in the way."""
    for target in ("t1", "t2"):
        assert fleet.answer(target) == GOOD
        assert (fleet.live(target) or "").startswith("v1.0.0-")


def assert_fails_in_lines(result: Result) -> None:
    """A run that did not do what it was asked says so, in lines and by its status."""
    assert result.code != 0, result.output
    assert "Traceback" not in result.output, result.output


def assert_next_run_succeeds(fleet: Fleet) -> None:
    result = fleet.rollout("v1.1.0")
    assert result.code == 0, result.output
    assert fleet.answer("t1") == fleet.answer("t2") == "ok v1.1.0"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"HELLO_FAULT": "crash"}, "exit|crash|start"),
        ({"HELLO_FAULT": "unhealthy"}, "503|unhealthy"),
        ({"HELLO_FAULT": "flap", "HELLO_FAULT_AFTER": "1s"}, "503|healthy"),
    ],
    ids=["crashes at start", "starts but is unhealthy", "unhealthy within the minimum healthy time"],
)
def test_a_bad_release_goes_back_on_the_canary_and_reaches_nobody_else(
    running: Fleet, fault: dict[str, str], reason: str
) -> None:
    result = running.rollout("v1.1.0", unit={"environment": {"HELLO_ADDR": ":8080", **fault}})
    assert_fails_in_lines(result)
    assert_fleet_is_on_the_old_release(running)
    outcomes = {row["host"]: row for row in running.report()["targets"]}
    assert outcomes["t1"]["outcome"] == "reverted"
    assert outcomes["t1"]["running"].startswith("v1.0.0-")
    assert outcomes["t2"]["outcome"] == "untouched"
    result.line(rf"t1.*(reverted|{reason})")
    assert "v1.0.0-" in result.line("runs now")
    assert_next_run_succeeds(running)


def test_a_first_release_that_fails_is_stopped_and_leaves_its_evidence(targets_anew: Fleet) -> None:
    result = targets_anew.rollout("v1.1.0", unit={"environment": {"HELLO_ADDR": ":8080", "HELLO_FAULT": "crash"}})
    assert_fails_in_lines(result)
    assert targets_anew.live("t1") is None
    left = targets_anew.lab.host("t1").run("systemctl is-active hello; ls /etc/systemd/system/hello*", check=False)
    assert left.stdout.split() == ["inactive"]
    result.line(r"\[t1\].*hello.*(fault|crash)")
    assert_next_run_succeeds(targets_anew)


def test_one_failed_target_puts_the_whole_fleet_back(running: Fleet) -> None:
    """The canary is well, the next one is not: a port that only there is taken."""
    running.lab.host("t2").run(
        "systemd-run --collect --unit=squatter --setenv=HELLO_ADDR=:9191 --setenv=HELLO_FAULT=unhealthy "
        "/opt/hello/current/bin/hello"
    )
    result = running.rollout("v1.1.0", unit={"environment": {"HELLO_ADDR": ":9191"}}, port=9191, health={
        "check": {"type": "http", "url": "http://127.0.0.1:9191/healthz", "body": "^ok"}})  # fmt: skip
    assert_fails_in_lines(result)
    assert_fleet_is_on_the_old_release(running)
    outcomes = {row["host"]: row["outcome"] for row in running.report()["targets"]}
    assert outcomes == {"t1": "reverted", "t2": "reverted"}
    running.lab.host("t2").run("systemctl stop squatter")
    assert_next_run_succeeds(running)


@pytest.mark.parametrize(
    ("offset", "value", "stopped_by"),
    [(18, (183).to_bytes(2, "little"), "architecture"), (24, bytes(8), "smoke")],
    ids=["for another architecture (e_machine)", "that cannot run (e_entry)"],
)
def test_a_binary_that_is_not_for_this_machine_is_stopped_before_the_switch(
    running: Fleet, tmp_path: Path, offset: int, value: bytes, stopped_by: str
) -> None:
    """A store that lies: its manifest says that all is well, and nobody asks for a signature, which would tell."""
    liar = Fleet(running.lab, tmp_path / "home", {"trust": {"provenance": "off"}})
    shutil.copytree(running.home / "artifacts", liar.home / "artifacts")
    folder = next((liar.home / "artifacts/hello/v1.1.0").glob("linux-amd64/*"))
    binary, manifest = folder / "hello", json.loads((folder / "manifest.json").read_text())
    content = bytearray(binary.read_bytes())
    content[offset : offset + len(value)] = value
    binary.write_bytes(content)
    manifest["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    result = liar.rollout("v1.1.0")
    assert_fails_in_lines(result)
    result.line(stopped_by)
    assert_fleet_is_on_the_old_release(running)
    assert_next_run_succeeds(running)


def test_an_artifact_changed_in_the_store_is_not_released(running: Fleet, tmp_path: Path) -> None:
    thief = Fleet(running.lab, tmp_path / "home")
    for name in ("artifacts", "keys"):
        shutil.copytree(running.home / name, thief.home / name)
    binary = next((thief.home / "artifacts/hello/v1.1.0").glob("*/*/hello"))
    binary.write_bytes(binary.read_bytes()[:-1] + b"x")
    result = thief.rollout("v1.1.0")
    assert_fails_in_lines(result)
    assert_fleet_is_on_the_old_release(running)


def test_a_binary_changed_on_a_target_is_replaced(running: Fleet) -> None:
    running.lab.host("t2").run("cp /opt/hello/current/bin/hello /tmp/h && echo x >> /tmp/h && "
                               "mv /tmp/h /opt/hello/current/bin/hello")  # fmt: skip
    result = running.rollout("v1.0.0")
    assert result.code == 0, result.output
    result.line(r"\[t2\] hello: upload release .* again: bin/hello has sha256")
    one, two = (target.run("sha256sum < /opt/hello/current/bin/hello").stdout for target in running.lab.targets)
    assert one == two


def test_a_full_disk_stops_before_the_switch(running: Fleet) -> None:
    running.lab.host("t2").fill_disk(leave_mb=3)
    try:
        result = running.rollout("v1.1.0")
        assert_fails_in_lines(result)
        assert "t2" in result.line("MB free|disk is full|disk full")
        assert_fleet_is_on_the_old_release(running)
        left = running.lab.host("t2").run("ls -A /opt/hello/releases").stdout.split()
        assert not [name for name in left if name.startswith(".tmp")]
    finally:
        running.lab.host("t2").free_disk()
    assert_next_run_succeeds(running)


def test_an_unreachable_target_stops_the_run_before_any_change(running: Fleet) -> None:
    running.lab.host("t2").cut()
    try:
        result = running.rollout("v1.1.0")
        assert_fails_in_lines(result)
        assert "nothing was changed on any host" in result.line("t2.*cannot be reached")
        assert running.answer("t1") == GOOD
        without = running.rollout("v1.1.0", "--data", "skip_unreachable=true")
        assert running.answer("t1") == "ok v1.1.0", without.output
        assert "t2" in without.line("left out, cannot be reached")
    finally:
        running.lab.host("t2").uncut()
    assert running.answer("t2") == GOOD
    assert_next_run_succeeds(running)


def test_a_target_lost_during_the_upload_is_not_switched_and_nobody_else_is(running: Fleet) -> None:
    for target in running.lab.targets:
        target.latency(150)
    run = running.start("rollout", "-v", "--data", "version=v1.1.0")  # -v: headings at once
    run.wait_for(r"Starting operation: release \| hello v1.1.0")
    time.sleep(0.7)
    running.lab.host("t2").cut()
    try:
        result = run.end()
    finally:
        running.lab.host("t2").uncut()
        for target in running.lab.targets:
            target.latency(0)
    assert_fails_in_lines(result)
    assert_fleet_is_on_the_old_release(running)
    assert_next_run_succeeds(running)


def test_a_target_cut_off_during_activation_goes_on_alone_and_is_followed_again(running: Fleet) -> None:
    run = running.start("rollout", "--data", "version=v1.1.0", data={"hello": {"health": {"minimum_healthy": 4}}})
    run.wait_for(r"\[t1\].*gate")
    running.lab.host("t1").cut()
    time.sleep(8)
    running.lab.host("t1").uncut()
    result = run.end()
    assert result.code == 0, result.output
    assert running.answer("t1") == running.answer("t2") == "ok v1.1.0"


@pytest.mark.parametrize("moment", [r"Starting operation: release \| hello v1.1.0", r"\[t1\].*(switch|restart|gate)"],
                         ids=["upload", "activation"])  # fmt: skip
def test_a_killed_controller_leaves_good_releases_and_the_same_command_goes_on(running: Fleet, moment: str) -> None:
    run = running.start("rollout", "-v", "--data", "version=v1.1.0")  # -v: headings at once
    run.wait_for(moment)
    run.kill()
    time.sleep(6)  # longer than the gate: what was begun has ended, on the target alone
    for target in ("t1", "t2"):
        assert running.answer(target) in (GOOD, "ok v1.1.0")
    assert_next_run_succeeds(running)


def test_a_second_run_is_refused_and_names_the_first(running: Fleet) -> None:
    first = running.start("rollout", "--data", "version=v1.1.0", data={"hello": {"health": {"minimum_healthy": 8}}})
    first.wait_for(r"\[t1\].*gate")
    second = running.rollout("v1.0.0", unit={"memory_max": "77M"})
    assert_fails_in_lines(second)
    line = second.line("leased to run")
    ended = first.end()
    assert ended.code == 0, ended.output
    run_id = Path(ended.line(r"^report: ").removeprefix("report: ")).parent.name
    assert run_id[:16] in line or run_id[:16] in second.output
    assert running.answer("t2") == "ok v1.1.0"


def test_a_misspelt_version_variable_is_reported_before_anything_is_built(running: Fleet) -> None:
    wanted = {"hello": {"build": {"package": "./cmd/hello", "version_variable": "main.verison"}}}
    result = running.run("drill", "--dry", data=wanted)
    assert result.code == 0, result.output
    line = result.line("main.verison")
    assert "no Go file of ./cmd/hello names verison" in line
    assert "check build.version_variable" in line


def test_sshd_of_the_builder_restarted_in_mid_build(running: Fleet) -> None:
    builder = running.lab.host("w1")
    wanted = {"hello": {"build": {"package": "./cmd/hello", "version_variable": "main.version",
                                  "platforms": ["linux/riscv64"]}}}  # fmt: skip
    run = running.start("drill", "-v", data=wanted)
    run.wait_for(r"linux/riscv64: building", 300)
    time.sleep(3)
    builder.stop_sshd()  # type: ignore[attr-defined]
    time.sleep(1)
    builder.start_sshd()  # type: ignore[attr-defined]
    result = run.end(600)
    assert result.code == 0, result.output  # the build went on without its connection
    assert list((running.home / "artifacts/hello").glob("*/linux-riscv64/*/hello"))
    assert running.answer("t1") == GOOD
