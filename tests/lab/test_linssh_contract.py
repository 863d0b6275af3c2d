"""What `@linssh` promises, on a Linux host of the lab."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.conftest import fresh_name
from tests.lab.controller import Controller
from tests.lab.ssh_host import SshHost, lab_host
from tests.lab.waiting import wait

pytestmark = pytest.mark.lab

FOLDER = "/tmp/gofallback-test"


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with lab_host(fresh_name(), windows=False) as one:
        yield one


@pytest.fixture(scope="module")
def linux(host: SshHost) -> Iterator[Controller]:
    with host.controller() as controller:
        assert controller.errors == []
        assert controller.run(f"mkdir -p {FOLDER}")["ok"]
        yield controller


# ---- commands


@pytest.mark.parametrize("code", [0, 1, 7, 127, 255])
def test_exit_codes_arrive(linux: Controller, code: int) -> None:
    result = linux.run(f"exit {code}")
    assert (result["ok"], result["code"]) == (code == 0, code)
    assert linux.run(f"exit {code}", _success_exit_codes=[code])["ok"]


def test_stdout_and_stderr_stay_apart(linux: Controller) -> None:
    result = linux.run("echo out; echo err >&2; echo; printf last")
    assert (result["stdout"], result["stderr"]) == (["out", "", "last"], ["err"])


def test_pyinfras_arguments_mean_what_they_mean_for_ssh(linux: Controller) -> None:
    result = linux.run('echo "$WHAT" $(pwd) $(id -un)', _sudo=True, _env={"WHAT": "a 'b' $c & 构建"}, _chdir="/var/log")
    assert result["stdout"] == ["a 'b' $c & 构建 /var/log root"]
    assert linux.run("id -un", _sudo=True, _sudo_user="nobody")["stdout"] == ["nobody"]
    assert linux.run("test -t 0 && echo terminal", _get_pty=True)["stdout"][0].strip() == "terminal"
    assert linux.run("cat", _stdin=["one", "two\n"])["stdout"] == ["one", "two"]
    assert linux.run(["echo", ["quote", "it's; $HOME"]])["stdout"] == ["it's; $HOME"]


def test_ten_megabytes_pass_through_a_command(linux: Controller) -> None:
    data = b"".join(b"%099d\n" % number for number in range(100_000))
    assert linux.run("cat", _stdin=data)["stdout"] == data.decode().split()


def test_a_timeout_ends_the_command(linux: Controller) -> None:
    result = linux.run("sleep 1234", _timeout=1)
    assert result["timed_out"] and result["stderr"] == ["the command took longer than 1 s and was ended"]
    assert not linux.run("pgrep -x sleep -f 'sleep 1234'")["ok"]


def test_a_command_that_will_not_end_is_left_in_time_and_reported(linux: Controller) -> None:
    result = linux.run("trap '' TERM; sleep 8; echo late", _timeout=1)
    assert result["timed_out"] and result["stdout"] == [] and result["seconds"] < 7
    assert len(result["stderr"]) == 1 and "it may still run" in result["stderr"][0]


def test_a_command_that_is_killed_says_so_at_once(linux: Controller) -> None:
    result = linux.run("kill -9 $$")
    assert not result["ok"] and len(result["stderr"]) == 1 and "killed" in result["stderr"][0]


def test_commands_run_at_the_same_time(linux: Controller) -> None:
    started = time.monotonic()
    answers = linux.parallel([f"sleep 1; echo {number}" for number in range(16)])
    assert [answer["stdout"] for answer in answers] == [[str(number)] for number in range(16)]
    assert time.monotonic() - started < 10


# ---- files


@pytest.mark.parametrize("sudo", [False, True])
@pytest.mark.parametrize("data", [b"", b"x", b"line\n\x00\xff" * 10_000])
def test_small_files_go_and_come_back(linux: Controller, tmp_path: Path, data: bytes, sudo: bool) -> None:
    remote = f"{'/opt' if sudo else FOLDER}/构建 'it's' (1).bin"
    assert linux.put(data, remote, _sudo=sudo)["ok"]
    assert linux.get(remote, tmp_path / "back", _sudo=sudo)["ok"]
    assert (tmp_path / "back").read_bytes() == data


def test_a_large_file_is_streamed(linux: Controller, tmp_path: Path) -> None:
    block = os.urandom(1024 * 1024)
    with (tmp_path / "large").open("wb") as file:
        for number in range(200):
            file.write(number.to_bytes(8, "big") + block[8:])
    linux.ask("numbers")
    before = linux.ask("numbers")["memory_kb"]
    assert linux.put(tmp_path / "large", f"{FOLDER}/large.bin")["ok"]
    assert linux.get(f"{FOLDER}/large.bin", tmp_path / "back")["ok"]
    assert linux.ask("numbers")["memory_kb"] - before < 64 * 1024
    assert subprocess.run(["cmp", tmp_path / "large", tmp_path / "back"], check=False).returncode == 0
    linux.run(f"rm {FOLDER}/large.bin")


def test_an_upload_never_writes_into_a_running_program(linux: Controller) -> None:
    program = f"{FOLDER}/program"
    assert linux.run(f"cp /bin/sleep {program} && ({program} 60 >/dev/null 2>&1 & echo started)")["stdout"] == [
        "started"
    ]
    assert linux.put(b"#!/bin/sh\necho new\n", program)["ok"]
    assert linux.run(program)["stdout"] == ["new"]  # it kept the mode of the file it replaced
    assert linux.run("pkill -x program")["ok"]  # and the old program went on


def test_modes_and_owners(linux: Controller) -> None:
    linux.put(b"x", f"{FOLDER}/fresh")
    linux.put(b"x", "/opt/roots", _sudo=True)
    linux.run(
        "touch /opt/kept && chmod 4750 /opt/kept && chown deploy:daemon /opt/kept && chmod 750 /opt/kept", _sudo=True
    )
    linux.put(b"x", "/opt/kept", _sudo=True)
    result = linux.run(f"stat -c '%a %U:%G' {FOLDER}/fresh /opt/roots /opt/kept")
    assert result["stdout"] == ["644 deploy:deploy", "644 root:root", "750 deploy:daemon"]


def test_an_unfinished_upload_is_nobody_elses_to_read_and_leaves_nothing(
    host: SshHost, linux: Controller, tmp_path: Path
) -> None:
    remote = f"{FOLDER}/interrupted"
    assert linux.put(b"old", remote)["ok"]
    with (tmp_path / "large").open("wb") as file:
        file.truncate(900 * 1024 * 1024)
    with host.controller() as other:
        other.send("put", local={"path": str(tmp_path / "large")}, remote=remote)
        modes = wait(lambda: linux.run(f"stat -c %a {FOLDER}/.interrupted.*")["stdout"], 20, every=0)
        other.kill()
    assert modes == ["600"]
    wait(lambda: linux.run(f"ls -A {FOLDER} | grep interrupted")["stdout"] == ["interrupted"], 20, every=0)
    assert linux.run(f"cat {remote}")["stdout"] == ["old"]


def test_a_full_disk_fails_the_upload_and_leaves_nothing(host: SshHost, linux: Controller) -> None:
    host.machine.fill_disk(leave_mb=2)
    try:
        result = linux.put(b"x" * 8_000_000, "/var/tmp/too-large")
        assert not result["ok"] and len(result["log"]) == 1 and "No space left on device" in result["log"][0]
        assert linux.run("ls -A /var/tmp | grep too-large")["stdout"] == []
    finally:
        host.machine.free_disk()


@pytest.mark.parametrize(
    ("remote", "because"),
    [
        ("/no/such/folder/x", "the folder it should go to is not there"),
        ("/tmp", "is a folder"),
        ("/root/x", "Permission denied"),
        ("/usr/x", "Permission denied"),
    ],
)
def test_a_failed_upload_says_why_in_one_line(linux: Controller, remote: str, because: str) -> None:
    result = linux.put(b"x", remote)
    assert not result["ok"] and len(result["log"]) == 1
    assert remote in result["log"][0] and because in result["log"][0]


@pytest.mark.parametrize(("remote", "because"), [("/no/file", "no such file"), ("/etc", "not a plain file")])
def test_a_failed_download_says_why_and_leaves_no_local_file(
    linux: Controller, tmp_path: Path, remote: str, because: str
) -> None:
    result = linux.get(remote, tmp_path / "back")
    assert not result["ok"] and len(result["log"]) == 1 and because in result["log"][0]
    assert list(tmp_path.iterdir()) == []


# ---- connections


def test_a_wrong_key_is_one_line(host: SshHost, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "wrong"], check=True)
    with host.controller(ssh_key=str(tmp_path / "wrong")) as controller:
        assert not controller.connected and len(controller.errors) == 1
        assert str(tmp_path / "wrong") in controller.errors[0]


def test_a_key_accepted_once_is_the_only_one_afterwards(host: SshHost, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.touch()
    data: dict[str, Any] = {"ssh_known_hosts_file": str(known), "ssh_strict_host_key_checking": "accept-new"}
    with host.controller(**data) as controller:
        assert controller.connected
        controller.run("pkill -u deploy sshd")  # our own connection
        assert controller.run("echo back")["stdout"] == ["back"]
    assert len(known.read_text().splitlines()) == 1


def test_a_jump_host_is_used_and_its_connection_is_fast(host: SshHost, linux: Controller, tmp_path: Path) -> None:
    address, data = host.machine.address, host.data
    (tmp_path / "config").write_text(
        f"Host inner\n  HostName {address}\n  ProxyJump jump\n"
        f"Host jump\n  HostName {address}\n  User {data['ssh_user']}\n  IdentityFile {data['ssh_key']}\n"
        f"Host *\n  UserKnownHostsFile {data['ssh_known_hosts_file']}\n"
    )
    with host.controller("inner", ssh_config_file=str(tmp_path / "config")) as controller:
        assert controller.errors == []
        assert controller.run("id -un")["stdout"] == ["deploy"]
        assert min(controller.run("true")["seconds"] for _ in range(20)) < 0.04  # Nagle's delay alone is 40 ms


@pytest.mark.parametrize(("fault", "end"), [("cut", "uncut"), ("freeze", "thaw"), ("kill", "boot")])
def test_a_host_that_goes_away_fails_the_command_in_time_and_the_next_one_reconnects(
    host: SshHost, fault: str, end: str
) -> None:
    try:
        with host.controller(ssh_silence_seconds=3) as controller:
            controller.send("run", command="echo started; sleep 100", arguments={})
            time.sleep(1)
            getattr(host.machine, fault)()
            result = controller.answer()
            assert result["lost"] and result["stdout"] == ["started"] and result["seconds"] < 15
            assert len(result["stderr"]) == 1 and "broke while the command ran" in result["stderr"][0]
            getattr(host.machine, end)()
            host.machine.wait_up(30)
            assert controller.run("echo back")["stdout"] == ["back"]
    finally:
        getattr(host.machine, end)()
        host.machine.wait_up(30)
