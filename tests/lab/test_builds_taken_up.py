"""Builds that outlive their controller: killed in mid-build and taken up by another one, ended by Ctrl-C or by word."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lab.builders import Builder
from tests.lab.fleet import Fleet, Running
from tests.lab.waiting import wait

pytestmark = pytest.mark.lab


def wanted(platform: str) -> dict[str, Any]:
    """The lab's service for one more platform, of which the builder has nothing compiled yet."""
    build = {"package": "./cmd/hello", "version_variable": "main.version", "platforms": [platform]}
    return {"hello": {"build": build}}


def builder(fleet: Fleet) -> Builder:
    found = fleet.lab.host("w1")
    assert isinstance(found, Builder)
    return found


def instance(fleet: Fleet, platform: str) -> str:
    """Which start of the platform's build the builder has; empty while there is none. A further start has another."""
    for file in (builder(fleet).drive_c / "gofallback/jobs").glob("hello-build-*/status"):
        status = dict(line.partition(" ")[::2] for line in file.read_text().splitlines())
        if status["label"].endswith(platform):
            return status["instance"]
    return ""


def compiling(run: Running, fleet: Fleet, platform: str, before: str = "") -> str:
    """Wait until the compiler is at work; which start of the build it is."""
    run.wait_for(rf"{platform}: building", 300)

    def at_work() -> str:
        found = instance(fleet, platform)
        return found if found not in ("", before) and "compile.exe" in programs(fleet) else ""

    return wait(at_work, 300, every=0.2, message=lambda: "\n".join(run.lines))


def programs(fleet: Fleet) -> str:
    return builder(fleet).run("tasklist").stdout.lower()


def test_a_killed_controllers_build_is_taken_up_by_another_controller(fleet: Fleet, tmp_path: Path) -> None:
    platform, data = "linux/ppc64le", wanted("linux/ppc64le")
    first = fleet.start("drill", "-v", data=data)
    began = compiling(first, fleet, platform)
    first.kill()
    time.sleep(2)
    other = Fleet(fleet.lab, tmp_path / "home")
    listed = other.run("builds", "--limit", "builders")
    assert listed.code == 0, listed.output
    assert "running" in listed.line(platform)
    result = other.run("drill", data=data, seconds=900)
    assert result.code == 0, result.output
    result.line(rf"{platform}: (another run began it|an earlier run left it finished)")
    assert list((other.home / "artifacts/hello").glob("*/linux-ppc64le/*/hello"))
    assert instance(fleet, platform) == began  # it was not built twice
    assert "keeper.exe" not in programs(fleet)


def test_ctrl_c_ends_the_build_and_leaves_no_process_unless_the_options_say_otherwise(fleet: Fleet) -> None:
    platform, data = "linux/s390x", wanted("linux/s390x")
    run = fleet.start("drill", "-v", data=data)
    ended_one = compiling(run, fleet, platform)
    run.process.send_signal(signal.SIGINT)
    result = run.end(120)
    assert result.code == 130
    result.line(rf"\[w1\] .*{platform}: ended on the builder, no process of it is left")
    assert "connection lost" not in result.output, result.output  # we hung up ourselves
    running = programs(fleet)
    assert "go.exe" not in running and "compile.exe" not in running and "keeper.exe" not in running

    run = fleet.start("drill", "-v", "--data", "leave_builds=true", data=data)
    compiling(run, fleet, platform, before=ended_one)
    run.process.send_signal(signal.SIGINT)
    result = run.end(120)
    result.line(rf"\[w1\] .*{platform}: goes on there; the same command takes it up")
    ended = fleet.run("builds", "--limit", "builders", "--data", "cancel=all")
    assert ended.code == 0, ended.output
    ended.line(r"ended \d build\(s\), no process of theirs is left")
    assert "cancelled" in ended.line(platform)
    running = programs(fleet)
    assert "go.exe" not in running and "compile.exe" not in running and "keeper.exe" not in running
    again = fleet.run("builds", "--limit", "builders", "--data", "cancel=all")
    again.line("nothing to end")


def test_an_option_for_builds_is_refused_elsewhere(fleet: Fleet) -> None:
    result = fleet.run("drill", "--data", "cancel=all")
    assert result.code == 2
    result.line(r"--data cancel=all: .*it is for deploys/builds\.py")
