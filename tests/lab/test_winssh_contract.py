"""What `@winssh` promises, on a Windows host: the lab's, or yours (`GOFALLBACK_WINDOWS=inventory.py`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gofallback.connectors.winssh import REFUSED
from gofallback.windows import quoting, text
from tests.lab.conftest import fresh_name
from tests.lab.controller import Controller
from tests.lab.ssh_host import REAL_WINDOWS, SshHost, lab_host, real_windows, windows_probe
from tests.lab.waiting import wait
from tests.paths import PROJECT
from tests.unit.windows.test_quoting import NASTY

pytestmark = pytest.mark.lab

FOLDER = "C:\\gofallback-test"
PROBE = f"{FOLDER}\\probe.exe"
SECOND = 1.0


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    if REAL_WINDOWS:
        yield real_windows(REAL_WINDOWS)
    else:
        with lab_host(fresh_name(), windows=True) as one:
            yield one


@pytest.fixture(scope="module")
def windows(host: SshHost) -> Iterator[Controller]:
    with host.controller() as controller:
        assert controller.errors == []
        controller.run(f"rmdir /s /q {FOLDER} 2>nul & mkdir {FOLDER}")
        assert controller.put(windows_probe(), PROBE)["ok"]
        yield controller
        controller.run(f"rmdir /s /q {FOLDER}")


def probe(*arguments: str) -> str:
    return quoting.command_line([PROBE, *arguments])


# ---- exit codes and output


@pytest.mark.parametrize("code", [0, 1, 7, 255, 256, 9009, 70000, 2**31, 2**32 - 1])
def test_exit_codes_keep_all_32_bits(windows: Controller, code: int) -> None:
    result = windows.run(probe("exit", str(code)))
    assert (result["ok"], result["code"]) == (code == 0, code)


def test_success_codes_decide_what_success_is(windows: Controller) -> None:
    assert windows.run("exit 7", _success_exit_codes=[0, 7])["ok"]
    assert windows.run("exit -1", _success_exit_codes=[-1])["ok"]
    assert not windows.run("exit 0", _success_exit_codes=[7])["ok"]


def test_an_unknown_program_fails_and_says_so(windows: Controller) -> None:
    result = windows.run("no-such-program")
    assert not result["ok"] and result["code"] != 0
    assert "no-such-program" in " ".join(result["stderr"])


def test_stdout_and_stderr_stay_apart(windows: Controller) -> None:
    result = windows.run(probe("both"))
    assert (result["stdout"], result["stderr"]) == (["to stdout"], ["to stderr"])


def test_lines_end_without_carriage_returns_and_empty_ones_stay(windows: Controller) -> None:
    assert windows.run("echo one&echo.&echo two")["stdout"] == ["one", "", "two"]
    assert windows.run("exit 0")["stdout"] == []
    assert windows.run(probe("cat"), _stdin=b"no line end")["stdout"] == ["no line end"]


def test_ten_megabytes_of_output_arrive_whole(windows: Controller) -> None:
    lines = windows.run(probe("spew", str(10_000_000)))["stdout"]
    assert len(lines) == 100_000 and set(lines) == {"x" * 99}


def test_output_in_utf8_and_in_the_hosts_code_page_is_readable(windows: Controller) -> None:
    codec = text.code_page(windows.run(text.CODE_PAGE_QUERY)["stdout"])
    result = windows.run(probe("cat"), _stdin="构建 é\n".encode() + b"caf\x82 \xe9t\xe9\r\n")
    assert result["stdout"] == ["构建 é", b"caf\x82 \xe9t\xe9".decode(codec)]


# ---- what reaches a program


@pytest.mark.parametrize("argument", NASTY)
def test_a_program_gets_the_argument_unchanged(windows: Controller, argument: str) -> None:
    assert json.loads(windows.run(probe("args", argument, "end"))["stdout"][0]) == [argument, "end"]


def test_many_arguments_at_once_do_not_mix(windows: Controller) -> None:
    assert json.loads(windows.run(probe("args", *NASTY))["stdout"][0]) == NASTY


@pytest.mark.parametrize("value", [one for one in NASTY if one])
def test_a_variable_gets_the_value_unchanged(windows: Controller, value: str) -> None:
    result = windows.run(probe("env", "GOFALLBACK_TEST"), _env={"GOFALLBACK_TEST": value})
    assert json.loads(result["stdout"][0]) == value


def test_a_command_reads_the_variables_set_for_it(windows: Controller) -> None:
    command = probe("args") + " %GOFALLBACK_TEST% %OS%"
    for value in ["linux", "50%"]:
        result = windows.run(command, _env={"GOFALLBACK_TEST": value})
        assert json.loads(result["stdout"][0]) == [value, "Windows_NT"]


def test_an_empty_variable_is_none_on_windows(windows: Controller) -> None:
    result = windows.run(probe("env", "OS"), _env={"OS": "", "GOFALLBACK_NEVER_SET": ""})
    assert (result["ok"], result["stdout"]) == (True, ["null"])


@pytest.mark.parametrize("name", ["plain", "two words", "a & b (c)", "100% ^ !x!", "构建 机", "%OS%", "it's, = ; +"])
def test_a_command_runs_in_the_folder_whatever_its_name(windows: Controller, name: str) -> None:
    folder = f"{FOLDER}\\{name}"
    assert windows.run(["mkdir", ["quote", folder]])["ok"]
    assert windows.put(b"here", f"{folder}\\file.txt")["ok"]
    result = windows.run(f"{PROBE} cwd & type file.txt", _chdir=folder, _env={"GOFALLBACK_TEST": "x"})
    assert json.loads(result["stdout"][0]).lower() == folder.lower()
    assert result["stdout"][1] == "here"


def test_a_missing_folder_fails_before_the_command(windows: Controller) -> None:
    result = windows.run("echo not reached", _chdir=f"{FOLDER}\\missing")
    assert (result["ok"], result["stdout"]) == (False, [])


def test_stdin_reaches_the_program(windows: Controller) -> None:
    assert windows.run(probe("cat"), _stdin="one line")["stdout"] == ["one line"]
    assert windows.run(probe("cat"), _stdin=["one", "two\n"])["stdout"] == ["one", "two"]
    assert windows.run(probe("cat"))["stderr"] == ["0"]


def test_five_megabytes_pass_through_a_program(windows: Controller) -> None:
    data = b"".join(b"%099d\n" % number for number in range(50_000))
    result = windows.run(probe("cat"), _stdin=data)
    assert result["stderr"] == [str(len(data))]
    assert result["stdout"] == data.decode().split()


# ---- long commands


def test_several_lines_run_one_after_the_other(windows: Controller) -> None:
    lines = [
        "echo first",
        probe("args", "100%", 'a"b', "构建"),
        "for %i in (a b) do @echo %i %GOFALLBACK_TEST%",
        "exit /b 5",
    ]
    result = windows.run("\n".join(lines), _env={"GOFALLBACK_TEST": "50%"}, _chdir=FOLDER)
    assert result["code"] == 5
    assert [result["stdout"][0], *result["stdout"][2:]] == ["first", "a 50%", "b 50%"]
    assert json.loads(result["stdout"][1]) == ["100%", 'a"b', "构建"]


def test_a_long_environment_is_carried_and_leaves_no_file(windows: Controller) -> None:
    env = {f"GOFALLBACK_{number}": f"{number} " + "x" * 1000 for number in range(12)}
    result = windows.run(probe("env", "GOFALLBACK_11"), _env=env)
    assert json.loads(result["stdout"][0]) == env["GOFALLBACK_11"]
    assert windows.run("dir /b gofallback-*.cmd 2>nul & exit 0")["stdout"] == []


def test_a_line_that_cmd_cannot_read_is_refused_by_name(windows: Controller) -> None:
    result = windows.run("echo " + "x" * 9000)
    assert not result["ok"] and len(result["stderr"]) == 1
    assert "9005 characters" in result["stderr"][0]


# ---- time


def test_a_timeout_ends_the_whole_process_tree(windows: Controller) -> None:
    beat = f"{FOLDER}\\beat.txt"
    result = windows.run(probe("tree", beat), _timeout=3)
    assert result["timed_out"] and result["stdout"] == ["started"]
    assert result["stderr"] == ["the command took longer than 3 s and was ended"]
    assert result["seconds"] < 7 * SECOND
    first = windows.run(f"type {beat}")["stdout"]
    time.sleep(0.5)
    assert first != [] and windows.run(f"type {beat}")["stdout"] == first


def test_commands_run_at_the_same_time(windows: Controller) -> None:
    commands = [probe("args", str(number)) for number in range(16)]
    answers = windows.parallel(commands)
    assert [json.loads(answer["stdout"][0]) for answer in answers] == [[str(number)] for number in range(16)]


# ---- files


@pytest.mark.parametrize("data", [b"", b"x", b"line\r\n\x00\xff" * 10_000])
def test_small_files_go_and_come_back(windows: Controller, tmp_path: Path, data: bytes) -> None:
    remote = f"{FOLDER}\\构建 & (1).bin"
    assert windows.put(data, remote)["ok"]
    assert windows.get(remote, tmp_path / "back")["ok"]
    assert (tmp_path / "back").read_bytes() == data


def test_a_large_file_is_streamed(windows: Controller, tmp_path: Path) -> None:
    size = 200 * 1024 * 1024
    block = os.urandom(1024 * 1024)
    with (tmp_path / "large").open("wb") as file:
        for number in range(size // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    windows.ask("numbers")
    before = windows.ask("numbers")["memory_kb"]
    assert windows.put(tmp_path / "large", f"{FOLDER}\\large.bin")["ok"]
    assert windows.get(f"{FOLDER}\\large.bin", tmp_path / "back")["ok"]
    assert windows.ask("numbers")["memory_kb"] - before < 48 * 1024
    assert subprocess.run(["cmp", tmp_path / "large", tmp_path / "back"], check=False).returncode == 0
    windows.run(f"del {FOLDER}\\large.bin")


def test_an_upload_replaces_the_file_at_once(windows: Controller) -> None:
    assert windows.put(b"old", f"{FOLDER}\\replaced.txt")["ok"]
    assert windows.put(b"new and longer", f"{FOLDER}\\replaced.txt")["ok"]
    assert windows.run(f"type {FOLDER}\\replaced.txt")["stdout"] == ["new and longer"]


def test_an_interrupted_upload_leaves_the_old_file_and_the_next_one_cleans_up(
    host: SshHost, windows: Controller, tmp_path: Path
) -> None:
    remote = f"{FOLDER}\\interrupted.bin"
    assert windows.put(b"old", remote)["ok"]
    with (tmp_path / "large").open("wb") as file:
        file.truncate(400 * 1024 * 1024)
    with host.controller() as other:
        other.send("put", local={"path": str(tmp_path / "large")}, remote=remote)
        wait(lambda: windows.run(f"dir /b {FOLDER}\\interrupted.bin.*")["ok"], 20, every=0)
        other.kill()
    assert windows.run(f"type {remote}")["stdout"] == ["old"]
    assert windows.put(b"new", remote)["ok"]
    assert windows.run(f"type {remote}")["stdout"] == ["new"]
    assert windows.run(f"dir /b {FOLDER}\\interrupted.*")["stdout"] == ["interrupted.bin"]


@pytest.mark.parametrize(
    ("remote", "because"),
    [("C:\\no\\such\\folder\\x", "folder it should go to is not there"), (FOLDER, "cannot be")],
)
def test_a_failed_upload_says_why_in_one_line(windows: Controller, remote: str, because: str) -> None:
    result = windows.put(b"x", remote)
    assert not result["ok"] and len(result["log"]) == 1
    assert remote in result["log"][0] and because in result["log"][0]


def test_a_failed_download_says_why_and_leaves_no_local_file(windows: Controller, tmp_path: Path) -> None:
    result = windows.get(f"{FOLDER}\\missing.bin", tmp_path / "missing")
    assert not result["ok"] and len(result["log"]) == 1 and "no such file" in result["log"][0]
    assert list(tmp_path.iterdir()) == []


# ---- arguments that cannot be honoured


@pytest.mark.parametrize("name", REFUSED)
def test_an_argument_windows_cannot_honour_is_refused_by_name(windows: Controller, name: str) -> None:
    marker = f"{FOLDER}\\{name}.txt"
    result = windows.run(f"echo ran > {marker}", **{name: True})
    assert not result["ok"] and len(result["stderr"]) == 1 and name in result["stderr"][0]
    assert not windows.run(f"dir {marker}")["ok"]
    refused = windows.put(b"x", marker, **{name: True})
    assert not refused["ok"] and name in refused["log"][0]


@pytest.mark.parametrize("shell", ["bash", "pwsh", "/bin/zsh"])
def test_another_shell_is_refused_by_name(windows: Controller, shell: str) -> None:
    result = windows.run("echo ran", _shell_executable=shell)
    assert (result["ok"], result["stdout"]) == (False, [])
    assert shell in result["stderr"][0] and "powershell" in result["stderr"][0]


@pytest.mark.parametrize("shell", [None, "sh", "cmd", "cmd.exe"])
def test_pyinfras_default_shell_means_cmd(windows: Controller, shell: str | None) -> None:
    assert windows.run("echo %OS%", _shell_executable=shell)["stdout"] == ["Windows_NT"]


def test_pyinfra_prints_a_refusal_as_one_line_in_operations_and_facts(
    host: SshHost, windows: Controller, tmp_path: Path
) -> None:
    (tmp_path / "inventory.py").write_text(f"builders = [({host.name!r}, {host.data!r})]\n")
    (tmp_path / "operation.py").write_text(
        "from pyinfra.operations import server\nserver.shell(name='as root', commands=['ver'], _sudo=True)\n"
    )
    (tmp_path / "fact.py").write_text(
        "from pyinfra import host\nfrom pyinfra.facts.server import Command\n"
        "host.get_fact(Command, 'ver', _sudo=True)\n"
    )
    for deploy in ["operation.py", "fact.py"]:
        done = _pyinfra(tmp_path, deploy)
        lines = done.stderr.splitlines()
        assert done.returncode != 0 and "Traceback" not in done.stderr
        assert len([line for line in lines if "_sudo cannot be honoured" in line]) == 1, done.stderr


# ---- connections that fail: each is one line


def _one_error(controller: Controller) -> str:
    assert not controller.connected and len(controller.errors) == 1, controller.errors
    assert "\n" not in controller.errors[0]
    return controller.errors[0]


def test_another_host_key_is_refused_with_the_command_that_mends_it(host: SshHost, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    address, known = host.machine.address, tmp_path / "known_hosts"
    known.write_text(f"{address} {(tmp_path / 'other.pub').read_text()}")
    with host.controller(ssh_known_hosts_file=str(known)) as controller:
        error = _one_error(controller)
    assert f"ssh-keygen -f {known} -R '{address}'" in error and "SHA256:" in error
    assert subprocess.run(["ssh-keygen", "-q", "-f", known, "-R", address], check=False).returncode == 0


def test_an_unknown_host_key_is_refused_when_checking_is_strict(host: SshHost, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with host.controller(ssh_known_hosts_file=str(tmp_path / "empty")) as controller:
        assert "is not in" in _one_error(controller)


def test_a_wrong_key_names_the_key_and_the_file_it_belongs_in(host: SshHost, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "wrong"], check=True)
    with host.controller(ssh_key=str(tmp_path / "wrong")) as controller:
        error = _one_error(controller)
    assert str(tmp_path / "wrong") in error and "administrators_authorized_keys" in error


def test_a_missing_key_file_is_named(host: SshHost) -> None:
    with host.controller(ssh_key="/nowhere/key") as controller:
        assert "/nowhere/key" in _one_error(controller)


def test_a_refused_port_is_named(host: SshHost) -> None:
    with host.controller(ssh_port=2) as controller:
        assert ":2 refuses connections" in _one_error(controller)


def test_a_host_that_is_not_there_is_given_up_in_time(host: SshHost) -> None:
    absent = host.machine.address.rsplit(".", 1)[0] + ".250"
    started = time.monotonic()
    with host.controller(absent, {"CONNECT_TIMEOUT": 2}) as controller:
        error = _one_error(controller)
    assert absent in error and ("cannot be reached" in error or "does not answer" in error)
    assert time.monotonic() - started < 15 * SECOND


def test_a_frozen_host_is_given_up_in_time(host: SshHost) -> None:
    host.machine.freeze()
    try:
        started = time.monotonic()
        with host.controller(config={"CONNECT_TIMEOUT": 2}) as controller:
            assert "does not answer within 2 s" in _one_error(controller)
        assert time.monotonic() - started < 15 * SECOND
    finally:
        host.machine.thaw()


def test_a_name_that_does_not_exist_is_named(host: SshHost) -> None:
    with host.controller("no-such-host.invalid") as controller:
        assert "no-such-host.invalid cannot be resolved" in _one_error(controller)


# ---- hosts that go away


def _dies_in(host: SshHost, doing: Any, **data: Any) -> tuple[Controller, dict[str, Any]]:
    controller = host.controller(**data)
    controller.send("run", command=probe("tree", f"{FOLDER}\\gone.txt"), arguments={})
    time.sleep(1.5)
    doing()
    return controller, controller.answer()


def _check_lost(result: dict[str, Any]) -> None:
    assert result["lost"] and not result["ok"] and result["stdout"] == ["started"]
    assert len(result["stderr"]) == 1 and "broke while the command ran" in result["stderr"][0]


def test_a_service_killed_in_mid_command_fails_it_and_the_next_one_reconnects(
    host: SshHost, windows: Controller
) -> None:
    machine: Any = host.machine
    controller, result = _dies_in(host, machine.stop_sshd)
    with controller:
        _check_lost(result)
        refused = controller.run("ver")
        assert not refused["ok"] and "refuses connections" in refused["stderr"][0]
        machine.start_sshd()
        machine.wait_up(30)
        assert controller.run("echo back")["stdout"] == ["back"]


@pytest.mark.parametrize(("fault", "end"), [("cut", "uncut"), ("freeze", "thaw")])
def test_a_silent_host_fails_the_command_in_time_and_the_next_one_reconnects(
    host: SshHost, windows: Controller, fault: str, end: str
) -> None:
    try:
        controller, result = _dies_in(host, getattr(host.machine, fault), ssh_silence_seconds=3)
        with controller:
            _check_lost(result)
            assert "no sign of life for 3 s" in result["stderr"][0]
            getattr(host.machine, end)()
            assert controller.run("echo back")["stdout"] == ["back"]
    finally:
        getattr(host.machine, end)()


def test_an_upload_to_a_host_that_falls_silent_fails_in_time(
    host: SshHost, windows: Controller, tmp_path: Path
) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1024 * 1024 * 1024)
    try:
        with host.controller(ssh_silence_seconds=3) as controller:
            controller.send("put", local={"path": str(tmp_path / "large")}, remote=f"{FOLDER}\\silent.bin")
            time.sleep(1)
            host.machine.freeze()
            result = controller.answer()
            assert not result["ok"] and len(result["log"]) == 1 and "broke" in result["log"][0]
    finally:
        host.machine.thaw()


def test_round_trips_and_bytes_are_counted(host: SshHost, windows: Controller) -> None:
    with host.controller() as controller:
        controller.run("ver")
        controller.put(b"x" * 100_000, f"{FOLDER}\\counted.bin")
        numbers = controller.ask("numbers")
    assert numbers["round_trips"] == 2
    assert 100_000 < numbers["bytes_sent"] < 120_000


def _pyinfra(folder: Path, deploy: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("pyinfra")
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src")}
    command = [str(program), "-y", "inventory.py", deploy]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
