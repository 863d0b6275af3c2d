"""A Linux standby builder's bad days in mid-build: network cut, controller killed, cancelled; and generated code."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.artifact.binary import inspect
from gofallback.gobuild.detached import DetachedJob, DetachedResult
from gofallback.operations.command import Command
from gofallback.operations.detached import run_detached
from gofallback.operations.detached_helper import cancel
from lab import Lab
from lab.linux.builder import ROOT, LinuxBuilder
from tests.lab.conftest import fresh_name
from tests.lab.fleet import Fleet, Result, Running
from tests.lab.pyinfra_host import connected
from tests.lab.test_detached_builds import XML
from tests.lab.waiting import wait
from tests.lab.windows_builder import commit, repository

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A Linux builder that has built for its own platform, and so has the keeper."""
    with Lab.up(fresh_name(), targets=0, builders=0, linux_builders=1) as lab:
        made = Fleet(lab, tmp_path_factory.mktemp("controller"))
        small = repository(tmp_path_factory.mktemp("source") / "small")
        result = made.run("drill", data=wanted(small, "linux/amd64"))
        assert result.code == 0, result.output
        yield made


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of work for a compiler that has nothing of it yet."""
    return repository(tmp_path_factory.mktemp("source") / "hello", XML)


def wanted(program: Path, platform: str, **build: Any) -> dict[str, Any]:
    return {
        "repository": str(program),
        "hello": {"build": {"package": ".", "version_variable": "main.version", "platforms": [platform], **build}},
        "hosts": {"b1": {"ssh_silence_seconds": 6}},
    }


def machine(fleet: Fleet) -> LinuxBuilder:
    found = fleet.lab.host("b1")
    assert isinstance(found, LinuxBuilder)
    return found


def below(fleet: Fleet) -> Path:
    """The builder's root, seen from this machine."""
    return machine(fleet).root / ROOT.lstrip("/")


def running(fleet: Fleet) -> set[str]:
    """Programs of the builder's login."""
    return set(machine(fleet).run("ps -u builder -o comm=", check=False).stdout.split())


def logs(fleet: Fleet, platform: str) -> list[Path]:
    """The log of the platform's build; a further start has one of another name."""
    jobs = (
        file.parent for file in (below(fleet) / "jobs").glob("hello-build-*/status") if platform in file.read_text()
    )
    return sorted(log for job in jobs for log in job.glob("log-*"))


def compiling(run: Running, fleet: Fleet, platform: str) -> list[Path]:
    """Wait until the compiler is at work; the log of its job."""
    run.wait_for(rf"{platform}: building", 200)
    wait(lambda: logs(fleet, platform) and "compile" in running(fleet), 100, message=lambda: "\n".join(run.lines))
    return logs(fleet, platform)


def built(fleet: Fleet, result: Result, platform: str) -> Path:
    """The program that a run has brought to its controller."""
    assert result.code == 0, result.output
    (found,) = (fleet.home / "artifacts/hello").glob(f"*/{platform.replace('/', '-')}/*/hello")
    return found


def nothing_runs(fleet: Fleet) -> bool:
    return not {"go", "compile", "link", "keeper"} & running(fleet)


def test_a_network_that_is_cut_in_mid_build_costs_no_second_build(fleet: Fleet, program: Path) -> None:
    platform = "linux/riscv64"
    run = fleet.start("drill", "-v", data=wanted(program, platform))
    before = compiling(run, fleet, platform)
    cut = time.time()
    machine(fleet).cut()
    time.sleep(10)
    machine(fleet).uncut()
    built(fleet, result := run.end(300), platform)
    result.line(r"connection lost: .*it goes on there")
    assert logs(fleet, platform) == before
    status = (before[0].parent / "status").read_text()
    ended = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("ended "))
    assert ended / 1000 > cut + 0.5, "it was not built while the network was cut"
    assert nothing_runs(fleet)


def test_a_killed_controllers_build_is_taken_up_by_another_controller(
    fleet: Fleet, program: Path, tmp_path: Path
) -> None:
    platform, data = "linux/ppc64le", wanted(program, "linux/ppc64le")
    first = fleet.start("drill", "-v", data=data)
    before = compiling(first, fleet, platform)
    first.kill()
    other = Fleet(fleet.lab, tmp_path / "home")
    listed = other.run("builds", "--limit", "builders")
    assert "running" in listed.line(platform)
    result = other.run("drill", data=data)
    built(other, result, platform)
    result.line(rf"{platform}: (another run began it|an earlier run left it finished)")
    assert logs(fleet, platform) == before
    assert nothing_runs(fleet)


def test_a_cancelled_build_leaves_no_process_and_its_run_says_so(fleet: Fleet, program: Path) -> None:
    platform = "linux/s390x"
    run = fleet.start("drill", "-v", data=wanted(program, platform))
    compiling(run, fleet, platform)
    ended = fleet.run("builds", "--limit", "builders", "--data", "cancel=all")
    assert ended.code == 0, ended.output
    ended.line(r"ended 1 build\(s\), no process of theirs is left")
    assert nothing_runs(fleet)
    result = run.end(60)
    assert result.code != 0
    result.line(r"cancelled: somebody ended it on the builder")


@pytest.fixture
def noisy(fleet: Fleet) -> Iterator[Path]:
    """What the login's shell reads before every command: it says something on standard output."""
    profile = machine(fleet).root / "home/builder/.bashrc"
    profile.write_text("echo Welcome\n")
    yield profile
    profile.unlink()
    (profile.parent / ".once").unlink(missing_ok=True)


def sleeper(fleet: Fleet, folder: Path, state: State, host: Host) -> DetachedResult | None:
    job = DetachedJob("hello-noise-1", ROOT, "go")
    command = Command("hello noise", "sleep 60; true", {}, 100, folder / "log", ROOT, job=job)
    return run_detached(state, host, command)


def test_what_began_is_ended_before_it_is_done_again_while_the_connection_lasts(
    fleet: Fleet, noisy: Path, tmp_path: Path
) -> None:
    with connected(fleet.lab, machine(fleet)) as (state, (host,), messages):
        assert sleeper(fleet, tmp_path, state, host) is None
        assert "unexpected answer: b'Welcome" in messages.text
        assert "hello noise: what was begun there has been ended" in messages.text
        assert "sleep" not in running(fleet)


def test_what_runs_and_cannot_be_ended_is_not_started_a_second_time(fleet: Fleet, noisy: Path, tmp_path: Path) -> None:
    noisy.write_text("echo Welcome; [ -e .once ] && exit 1; touch .once\n")
    with connected(fleet.lab, machine(fleet)) as (state, (host,), _):
        ended = sleeper(fleet, tmp_path, state, host)
        assert ended is not None and ended.state is None
        assert "what was begun may go on there and cannot be ended" in ended.lost
        noisy.write_text("")
        cancel(state, host, ROOT, "all")


def test_code_is_generated_on_a_linux_builder_and_its_tree_is_the_commits_again(fleet: Fleet, tmp_path: Path) -> None:
    """The generator is a program of the repository."""
    repo = repository(tmp_path / "made", {"main.go": "package main\n\nfunc main() { println(made) }\n"})
    write = 'os.WriteFile("made.go", []byte("package main\\n\\nconst made = \\"by \\" + `"+runtime.GOOS+"`\\n"), 0o644)'
    generator = f'package main\n\nimport ("os"; "runtime")\n\nfunc main() {{ if {write} != nil {{ os.Exit(1) }} }}\n'
    sha = commit(repo, "made", **{"doc.go": "package main\n\n//go:generate go run ./gen\n", "gen/main.go": generator})
    data = wanted(repo, "linux/amd64", generate=True)
    own = Fleet(fleet.lab, tmp_path / "home")
    result = own.run("drill", "--data", f"ref={sha}", data=data)
    program = built(own, result, "linux/amd64")
    result.line(r"go generate: passed in .*: made.go")
    assert subprocess.run([program], capture_output=True, text=True, check=True).stderr == "by linux\n"
    info = inspect(program)
    assert info.build is not None and info.build.settings["vcs.modified"] == "false"
    tree = below(fleet) / "work/hello" / sha
    assert (tree / "doc.go").exists() and not (tree / "made.go").exists()
    assert not list((below(fleet) / "tmp").glob("generated-*"))


def test_a_full_builder_is_refused_with_what_makes_room_unless_it_has_nothing_to_build(
    fleet: Fleet, program: Path
) -> None:
    machine(fleet).fill_disk(leave_mb=300)
    try:
        refused = fleet.run("drill", data=wanted(program, "linux/arm64"))
        stored = fleet.run("drill", data=wanted(program, "linux/riscv64"))
    finally:
        machine(fleet).free_disk()
    assert refused.code == 2, refused.output
    refused.line(
        r"b1: 3\d\d MB free on the disk of /home/builder/gofallback, expected at least 2048 MB .*deploys/wipe.py"
    )
    assert stored.code == 0, stored.output


def test_a_connection_that_breaks_while_the_keeper_is_compiled_costs_no_detached_build(
    fleet: Fleet, tmp_path: Path
) -> None:
    machine(fleet).run(f"chmod -R u+w {ROOT}/cache; rm -rf {ROOT}/tools {ROOT}/cache/gocache")  # as on its first day
    own = Fleet(fleet.lab, tmp_path / "home")
    run = own.start("drill", data=wanted(repository(tmp_path / "first", {"note.txt": "another commit"}), "linux/amd64"))
    run.wait_for("gofallback-keeper: compiling it", 100)
    wait(lambda: "compile" in running(fleet), 60, message=lambda: "\n".join(run.lines))
    machine(fleet).run("pkill -u builder sshd")
    built(own, result := run.end(200), "linux/amd64")
    result.line("connection lost: .*trying again")
    assert "builds on this builder end with their connection" not in result.output
    assert nothing_runs(fleet)
