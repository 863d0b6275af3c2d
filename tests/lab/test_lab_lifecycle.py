"""A lab comes up, again and again, beside others, after any interruption, and goes without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import Lab, LabError
from lab.lab import end
from tests.lab.conftest import fresh_name
from tests.lab.machine import boot_id, kill_start, ssh, traces
from tests.paths import PROJECT

pytestmark = pytest.mark.lab


def command(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m lab ...` as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "lab", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**os.environ, **env},
    )


def test_up_again_touches_no_host_that_is_up(lab_name: str) -> None:
    lab = Lab.up(lab_name, targets=2, builders=0)
    boots = [boot_id(lab, host.name) for host in lab.targets]

    said: list[str] = []
    again = Lab.up(lab_name, targets=2, builders=0, report=said.append)

    assert [boot_id(again, host.name) for host in again.targets] == boots
    assert said[-1] == f"lab {lab_name}: every host was up already"


def test_up_with_other_numbers_adds_and_removes_hosts_and_keeps_the_rest(lab_name: str) -> None:
    lab = Lab.up(lab_name, targets=2, builders=0)
    boot = boot_id(lab, "t1")

    lab = Lab.up(lab_name, targets=3, builders=0)
    assert ssh(lab, "t3", "hostname").stdout == "t3\n"
    lab = Lab.up(lab_name, targets=1, builders=0)

    assert boot_id(lab, "t1") == boot
    assert [host.name for host in Lab.load(lab_name).targets] == ["t1"]
    assert not [trace for trace in traces(lab_name) if f"{lab_name}-t2" in trace or f"{lab_name}-t3" in trace]


def test_up_with_another_debian_for_one_target_makes_that_one_anew_and_keeps_the_rest(lab_name: str) -> None:
    def versions(lab: Lab) -> list[str]:
        return [target.run(". /etc/os-release; echo $VERSION_ID").stdout.strip() for target in lab.targets]

    lab = Lab.up(lab_name, targets=2, builders=0, suite=["bullseye", "bookworm"])
    assert versions(lab) == ["11", "12"]
    boot = boot_id(lab, "t1")

    lab = Lab.up(lab_name, targets=2, builders=0, suite=["bullseye", "trixie"])

    assert versions(lab) == ["11", "13"]
    assert boot_id(lab, "t1") == boot
    assert [host.record.suite for host in Lab.load(lab_name).targets] == ["bullseye", "trixie"]


def test_up_mends_hosts_that_are_frozen_cut_or_dead(lab_name: str) -> None:
    lab = Lab.up(lab_name, targets=3, builders=0)
    lab.host("t1").freeze()
    lab.host("t2").cut()
    lab.host("t3").kill()

    lab = Lab.up(lab_name, targets=3, builders=0)

    assert [ssh(lab, host.name, "hostname").stdout for host in lab.targets] == ["t1\n", "t2\n", "t3\n"]


def test_two_labs_stand_side_by_side_and_do_not_see_each_other(lab_name: str) -> None:
    with Lab.up(lab_name, targets=1, builders=0) as one, Lab.up(fresh_name(), targets=1, builders=0) as other:
        assert one.file.network != other.file.network
        assert ssh(one, "t1", "hostname -I").stdout.strip() == one.host("t1").address
        assert ssh(other, "t1", "hostname -I").stdout.strip() == other.host("t1").address
        knock = f"timeout 3 bash -c '</dev/tcp/{other.host('t1').address}/22'"
        assert "unreachable" in one.host("t1").run(knock, check=False).stderr


def test_down_leaves_no_process_mount_namespace_interface_or_cgroup(lab_name: str) -> None:
    lab = Lab.up(lab_name, targets=2, builders=0)
    lab.host("t1").latency(5)
    lab.host("t1").run("systemd-run --quiet sleep 1000")
    lab.host("t2").freeze()
    assert traces(lab_name), "the look at the machine must see a lab that is up"

    lab.down()

    assert traces(lab_name) == []
    assert lab_name not in command("list").stdout


def test_down_of_a_lab_that_is_not_there_is_fine() -> None:
    done = command("down", "--name", fresh_name())
    assert (done.returncode, done.stderr) == (0, "")


def test_down_needs_nothing_of_what_was_written_down(lab_name: str) -> None:
    lab = Lab.up(lab_name, targets=1, builders=0)
    Path(lab.file.key).with_name("lab.json").unlink()
    end(lab_name)
    assert traces(lab_name) == []


@pytest.mark.parametrize("moment", [0.15, 0.25, 0.35, 0.5, 0.8])
def test_a_start_killed_at_any_moment_can_be_started_again(lab_name: str, moment: float) -> None:
    kill_start(lab_name, moment, targets=3)
    with Lab.up(lab_name, targets=3, builders=0) as lab:
        assert [ssh(lab, host.name, "hostname").stdout for host in lab.targets] == ["t1\n", "t2\n", "t3\n"]
    assert traces(lab_name) == []


def test_a_start_killed_and_never_repeated_can_be_taken_down(lab_name: str) -> None:
    kill_start(lab_name, 0.4, targets=3)
    assert command("down", "--name", lab_name).returncode == 0
    assert traces(lab_name) == []


def test_a_name_in_use_from_another_cache_is_refused_by_name(lab_name: str, tmp_path: Path) -> None:
    Lab.up(lab_name, targets=1, builders=0)
    trees = Path(os.environ.get("GOFALLBACK_CACHE") or Path.home() / ".cache/gofallback") / "trees"
    (tmp_path / "trees").symlink_to(trees)

    (tmp_path / "labs" / lab_name).mkdir(parents=True)
    for words in (("up", "--targets", "1", "--builders", "0"), ("down",)):
        done = command(*words, "--name", lab_name, GOFALLBACK_CACHE=str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.startswith(f"lab: lab {lab_name}: runs already from ")

    assert ssh(Lab.load(lab_name), "t1", "true").returncode == 0


def test_without_root_the_lab_says_so_in_one_line(tmp_path: Path) -> None:
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "lab", "up"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=PROJECT, env={"HOME": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr.startswith("lab: the lab needs root")
    assert done.stderr.count("\n") == 1


def test_another_system_than_debian_or_ubuntu_is_refused_by_its_name(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('ID=fedora\nPRETTY_NAME="Fedora Linux 43"\n')
    done = command("up", "--name", "nope", GOFALLBACK_OS_RELEASE=str(release))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("lab: the lab runs on Debian or Ubuntu, this is Fedora Linux 43")


def test_a_derivative_of_ubuntu_passes(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('ID=linuxmint\nID_LIKE="ubuntu debian"\n')
    assert command("list", GOFALLBACK_OS_RELEASE=str(release)).returncode == 0


@pytest.mark.parametrize("name", ["", "toolong", "Demo", "a-b", "../x"])
def test_a_name_a_lab_cannot_have_is_refused(name: str) -> None:
    done = command("up", "--name", name)
    assert done.returncode == 1
    assert done.stderr == f"lab: lab name {name!r}: expected 1 to 6 of a-z and 0-9, such as demo\n"


def test_an_unknown_host_is_answered_with_those_there_are(two_targets: Lab) -> None:
    with pytest.raises(LabError, match="no host 't9'; expected one of: t1, t2"):
        two_targets.host("t9")
