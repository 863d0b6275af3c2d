"""The Windows host as an SSH client meets it: commands, files, Windows' own tools, Go and Git."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import os
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from lab import Lab
from lab.builders import Builder
from lab.cache import cache_dir
from lab.windows.msi import ensure_msi
from lab.windows.trees import ensure
from tests.lab.conftest import fresh_name
from tests.lab.windows_client import Client, eventually

pytestmark = pytest.mark.lab

WORK = r"C:\gofallback"
GO = rf"{WORK}\go\bin\go.exe"
GIT = rf"{WORK}\git\cmd\git.exe"
HELLO = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello 世界") }\n'
CREATE_BREAKAWAY_FROM_JOB, DETACHED_PROCESS = 0x01000000, 0x8
STARTER = """package main

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

func main() {
	flags, _ := strconv.ParseUint(os.Args[1], 0, 32)
	ping := exec.Command("ping", "-n", "60", "127.0.0.1")
	ping.SysProcAttr = &syscall.SysProcAttr{CreationFlags: uint32(flags)}
	if ping.Start() != nil {
		os.Exit(1)
	}
}
"""
BUILD = "build -trimpath -buildvcs=false -ldflags=-buildid="


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(fresh_name(), targets=0, builders=1, builder_disk_mb=2048) as lab:
        yield lab


@pytest.fixture(scope="module")
def host(lab: Lab) -> Builder:
    host = lab.host("w1")
    assert isinstance(host, Builder)
    return host


@pytest.fixture
def w1(lab: Lab) -> Iterator[Client]:
    client = Client(lab, "w1")
    yield client
    client.ssh.close()


@pytest.fixture(scope="module")
def tools(lab: Lab) -> Iterator[Client]:
    """A connection to the host with Go and Git unpacked from the lab's archives."""
    client = Client(lab, "w1")
    sftp = client.ssh.open_sftp()
    archives = lab.file.toolchains
    for kind, version, folder in (("go", "1.26.6", WORK), ("git", "2.45.2", rf"{WORK}\git")):
        client.ok(f"if not exist {folder} mkdir {folder}")
        sftp.put(archives[kind][version]["file"], f"/C:/gofallback/{kind}.zip")
        client.ok(rf"tar -xf {WORK}\{kind}.zip -C {folder} && del {WORK}\{kind}.zip")
    yield client
    client.ssh.close()


def write(client: Client, path: str, data: bytes) -> None:
    with client.ssh.open_sftp() as sftp, sftp.open(path, "wb") as file:
        file.write(data)


def zip_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 0", 0), ("exit 7", 7), ("no-such-program", 9009), ("exit 70000", 70000), ("exit -1", 0xFFFFFFFF)],
)
def test_exit_code_arrives_with_all_its_bits(w1: Client, command: str, code: int) -> None:
    assert w1.run(command).code == code


def test_output_and_errors_arrive_apart(w1: Client) -> None:
    result = w1.run("(echo out) & (echo err 1>&2) & exit 3")
    assert (result.code, result.out.split(), result.err.split()) == (3, ["out"], ["err"])


def test_quotes_reach_the_command_untouched(w1: Client) -> None:
    assert w1.ok('set "LABQ=b c" && set LABQ').strip() == "LABQ=b c"


def test_letters_of_any_script_survive_in_output_and_file_names(w1: Client) -> None:
    w1.ok(r"mkdir C:\目录 && echo 内容 é> C:\目录\é文.txt")
    assert w1.ok(r"dir /b C:\目录 && type C:\目录\é文.txt").split("\r\n")[:2] == ["é文.txt", "内容 é"]


def test_standard_input_reaches_the_command(w1: Client) -> None:
    channel = w1.start("findstr needle")
    channel.sendall(b"hay\r\na needle\r\n")
    channel.shutdown_write()
    assert channel.makefile().read() == b"a needle\r\n"


def test_command_line_over_the_limit_is_refused_in_windows_words(w1: Client) -> None:
    result = w1.run("echo " + "x" * 8200)
    assert (result.code, result.err) == (1, "The command line is too long.\r\n")
    assert len(w1.ok("echo " + "x" * 8000).strip()) == 8000


def running(client: Client, marker: str) -> bool:
    return marker in client.ok("tasklist")


def test_what_a_command_started_ends_with_its_connection(lab: Lab, w1: Client) -> None:
    other = Client(lab, "w1")
    channel = other.start("start /b ping -n 120 127.0.0.1 & ping -n 120 127.0.0.1")
    assert eventually(lambda: running(w1, "ping.exe"))
    assert not channel.exit_status_ready()
    other.drop()
    assert eventually(lambda: not running(w1, "ping.exe"))


def test_what_a_command_started_ends_with_its_channel(w1: Client) -> None:
    channel = w1.start("ping -n 120 127.0.0.1")
    assert eventually(lambda: running(w1, "ping.exe"))
    channel.close()
    assert eventually(lambda: not running(w1, "ping.exe"))


def test_what_a_command_left_behind_ends_with_the_command(w1: Client) -> None:
    w1.ok("start /b ping -n 120 127.0.0.1 >nul 2>nul <nul & exit 0")
    assert eventually(lambda: not running(w1, "ping.exe"))


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A Windows program that starts `ping -n 60` with the creation flags in its argument and ends."""
    folder, goroot = tmp_path_factory.mktemp("starter"), cache_dir() / "trees/go-linux/1.26.6/go"
    (folder / "go.mod").write_text("module starter\n\ngo 1.26\n")
    (folder / "main.go").write_text(STARTER)
    env = {"PATH": "/usr/bin:/bin", "GOOS": "windows", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOTELEMETRY": "off"}
    env |= {"HOME": str(folder), "GOROOT": str(goroot), "GOCACHE": str(cache_dir() / "trees/gocache-linux")}
    subprocess.run([goroot / "bin/go", "build", "-trimpath", "-o", "starter.exe", "."], cwd=folder, env=env, check=True)
    return (folder / "starter.exe").read_bytes()


def test_only_a_process_that_breaks_away_from_the_job_outlives_its_connection(lab: Lab, starter: bytes) -> None:
    client = Client(lab, "w1")
    write(client, "/C:/starter.exe", starter)
    client.ok(r"C:\starter.exe 0")
    assert not running(client, "ping.exe")
    client.ok(rf"C:\starter.exe {CREATE_BREAKAWAY_FROM_JOB | DETACHED_PROCESS}")
    client.drop()
    again = Client(lab, "w1")
    assert running(again, "ping.exe")
    again.ok("taskkill /f /im ping.exe")


def test_all_output_reaches_a_client_that_reads_late_and_slowly(w1: Client) -> None:
    transport = w1.ssh.get_transport()
    assert transport is not None
    channel = transport.open_session(window_size=32768)
    channel.exec_command("for /l %i in (1,1,5000) do @echo line %i of many, longer than the window holds")
    time.sleep(4)  # the program has ended long before its output is read
    assert len(b"".join(iter(lambda: channel.recv(4096), b"")).splitlines()) == 5000
    assert channel.recv_exit_status() == 0


def test_commands_end_when_the_ssh_service_is_killed(lab: Lab, host: Builder, w1: Client) -> None:
    channel = w1.start("ping -n 120 127.0.0.1")
    assert eventually(lambda: running(w1, "ping.exe"))
    assert not channel.exit_status_ready()
    host.stop_sshd()
    host.start_sshd()
    assert not running(Client(lab, "w1"), "ping.exe")


def accepts_a_session(client: Client) -> bool:
    with contextlib.suppress(paramiko.ChannelException):
        return client.run("exit 4").code == 4
    return False


def test_eleventh_session_of_a_connection_is_refused(w1: Client) -> None:
    channels = [w1.start("ping -n 60 127.0.0.1") for _ in range(10)]
    with pytest.raises(paramiko.ChannelException, match="Administratively prohibited"):
        w1.start("ver")
    channels[0].close()
    assert eventually(lambda: accepts_a_session(w1))


def test_users_variables_are_read_once_per_connection(lab: Lab, w1: Client) -> None:
    w1.ok(r"reg add HKCU\Environment /v LAB_USER /d yes /f")
    assert w1.ok("echo %LAB_USER%").strip() == "%LAB_USER%"
    assert Client(lab, "w1").ok("echo %LAB_USER%").strip() == "yes"


def test_machine_path_stays_as_it_was_when_the_service_started(lab: Lab, host: Builder, w1: Client) -> None:
    key = r"HKLM\System\CurrentControlSet\Control\Session Manager\Environment"
    w1.ok(rf'reg add "{key}" /v PATH /t REG_EXPAND_SZ /d "C:\windows\system32;C:\windows;C:\added" /f')
    assert "added" not in Client(lab, "w1").ok("echo %PATH%")
    host.stop_sshd()
    host.start_sshd()
    assert r"C:\added" in Client(lab, "w1").ok("echo %PATH%")


def test_file_survives_a_round_trip_under_any_spelling_of_its_path(w1: Client) -> None:
    data = os.urandom(3_000_000)
    write(w1, "/C:/Données 数据.bin", data)
    with w1.ssh.open_sftp() as sftp:
        for path in ("/c:/DONNÉES 数据.BIN", "C:\\Données 数据.bin", "../../Données 数据.bin"):
            with sftp.open(path, "rb") as file:
                file.prefetch()
                assert file.read() == data
        assert sftp.normalize(".").lower() == "/c:/users/builder"


def test_rename_keeps_an_existing_file_and_posix_rename_replaces_it(w1: Client) -> None:
    write(w1, "/C:/new.txt", b"new")
    write(w1, "/C:/old.txt", b"old")
    with w1.ssh.open_sftp() as sftp:
        with pytest.raises(OSError, match="Failure"):
            sftp.rename("/C:/new.txt", "/C:/old.txt")
        sftp.posix_rename("/C:/new.txt", "/C:/OLD.txt")
    assert w1.ok(r"type C:\old.txt") == "new"


def test_other_drives_and_forbidden_names_are_not_there(w1: Client) -> None:
    with w1.ssh.open_sftp() as sftp:
        for path in ("/D:/x", "/C:/what?.txt", "/Z:/etc/passwd"):
            with pytest.raises(FileNotFoundError):
                sftp.open(path, "wb")


def test_another_key_and_another_user_are_refused(lab: Lab, host: Builder, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", key], check=True)
    options = ["-oBatchMode=yes", "-oIdentitiesOnly=yes", f"-oUserKnownHostsFile={lab.file.known_hosts}"]
    for user, identity in (("builder", key), ("root", lab.file.key)):
        done = subprocess.run(
            ["ssh", *options, "-i", identity, f"{user}@{host.address}", "ver"], capture_output=True, text=True
        )
        assert done.returncode == 255
        assert "Permission denied" in done.stderr


def test_tar_unpacks_a_zip_and_replaces_what_is_there(w1: Client) -> None:
    write(w1, "/C:/a.zip", zip_of({"top/one.txt": b"1", "top/sub/two.txt": b"22", "top/空.txt": b"3"}))
    w1.ok(r"mkdir C:\out\top && echo older> C:\out\top\one.txt && tar -xf C:\a.zip -C C:\out")
    assert w1.ok(r"type C:\out\top\one.txt & type C:\out\top\sub\two.txt & type C:\out\top\空.txt") == "1223"
    assert w1.ok(r"tar -tf C:\a.zip").split() == ["top/one.txt", "top/sub/two.txt", "top/空.txt"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (r"tar -xf C:\none.zip", "tar: Error opening archive: Failed to open 'C:\\none.zip'"),
        (r"tar -xf C:\text.zip", "tar: Error opening archive: Unrecognized archive format"),
        (r"tar -xf C:\short.zip", "tar: Truncated ZIP file body"),
        (r"tar -xf C:\text.zip -C C:\nowhere", "tar: could not chdir to 'C:\\nowhere'"),
        (r"mkdir C:\bad & tar -xf C:\changed.zip -C C:\bad", "file.bin: ZIP bad CRC"),
        (r"mkdir C:\up & tar -xf C:\up.zip -C C:\up", "../evil.txt: Path contains '..'"),
    ],
)
def test_tar_fails_with_bsdtars_words(w1: Client, command: str, message: str) -> None:
    whole = zip_of({"file.bin": os.urandom(200_000)})
    write(w1, "/C:/short.zip", whole[:100_000])
    write(w1, "/C:/changed.zip", whole[:100_000] + bytes([whole[100_000] ^ 1]) + whole[100_001:])
    write(w1, "/C:/text.zip", b"no archive at all")
    write(w1, "/C:/up.zip", zip_of({"../evil.txt": b"out"}))
    result = w1.run(command)
    assert result.code == 1
    assert message in result.err
    assert w1.run(r"type C:\evil.txt").code == 1


def test_tar_says_when_the_disk_is_full(lab: Lab, host: Builder, w1: Client) -> None:
    write(w1, "/C:/big.zip", zip_of({"big.bin": bytes(20_000_000)}))
    host.fill_disk(leave_mb=1)
    try:
        result = w1.run(rf"tar -xf C:\big.zip -C {WORK}")
    finally:
        host.free_disk()
    assert result.code == 1
    assert "No space left on device" in result.err


def test_certutil_prints_the_hash_in_the_middle_line(w1: Client) -> None:
    data = os.urandom(100_000)
    write(w1, "/C:/hash me.bin", data)
    lines = w1.ok(r'certutil -hashfile "C:\hash me.bin" SHA256').splitlines()
    assert lines[0] == r"SHA256 hash of C:\hash me.bin:"
    assert lines[1] == hashlib.sha256(data).hexdigest()
    assert lines[2] == "CertUtil: -hashfile command completed successfully."


def test_certutil_answers_a_missing_file_with_its_hresult(w1: Client) -> None:
    result = w1.run(r"certutil -hashfile C:\none SHA256")
    assert result.code == 0x80070002
    assert "CertUtil: The system cannot find the file specified." in result.out


def test_curl_downloads_and_reports_refusals(lab: Lab, w1: Client, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"over http")
    handler = type("Handler", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    controller = lab.host("w1").address.rsplit(".", 1)[0] + ".1"
    with http.server.ThreadingHTTPServer((controller, 0), lambda *a: handler(*a, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://{controller}:{server.server_port}"
        w1.ok(rf"curl.exe -fsS -o C:\fetched.bin {url}/file.bin")
        missing = w1.run(f"curl.exe -fsS {url}/none")
        server.shutdown()
    assert w1.ok(r"type C:\fetched.bin") == "over http"
    assert missing.code == 22
    assert w1.run("curl.exe -fsS http://127.0.0.1:1/").code == 7


def test_toolchain_archives_have_the_hashes_the_lab_states(lab: Lab) -> None:
    for versions in lab.file.toolchains.values():
        for version, archive in versions.items():
            with Path(archive["file"]).open("rb") as file:
                assert hashlib.file_digest(file, "sha256").hexdigest() == archive["sha256"], version


def test_go_builds_the_bytes_the_linux_toolchain_builds(tools: Client, tmp_path: Path) -> None:
    files = {"go.mod": "module hello\n\ngo 1.26\n", "main.go": HELLO}
    tools.ok(rf"mkdir {WORK}\hello")
    for name, text in files.items():
        write(tools, f"/C:/gofallback/hello/{name}", text.encode())
        (tmp_path / name).write_text(text)
    variables = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOOS": "linux", "GOARCH": "amd64"}
    settings = "".join(f'set "{name}={value}" && ' for name, value in variables.items())
    tools.ok(rf'cd /d {WORK}\hello && set "GOCACHE={WORK}\cache" && {settings}{GO} {BUILD} -o hello .', timeout=600)
    with tools.ssh.open_sftp() as sftp:
        sftp.get("/C:/gofallback/hello/hello", str(tmp_path / "windows"))
    (tmp_path / "windows").chmod(0o755)
    assert subprocess.run([tmp_path / "windows"], capture_output=True, text=True).stdout == "hello 世界\n"
    goroot = cache_dir() / "trees/go-linux/1.26.6/go"
    env = {**variables, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GOROOT": str(goroot), "GOTELEMETRY": "off"}
    subprocess.run([goroot / "bin/go", *BUILD.split(), "-o", "linux", "."], cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "windows").read_bytes() == (tmp_path / "linux").read_bytes()


def test_msi_of_go_installs_and_goes_away_again(lab: Lab, w1: Client) -> None:
    package = ensure_msi(cache_dir(), ensure(cache_dir(), print), "1.26.6", print)
    with w1.ssh.open_sftp() as sftp:
        sftp.put(str(package.file), "/C:/go.msi")
    msiexec = r'start "" /wait msiexec.exe'
    w1.ok(rf"{msiexec} /i C:\go.msi /qn /norestart INSTALLDIR=C:\Go")
    assert w1.ok(r"C:\Go\bin\go.exe version").startswith("go version go1.26.6 windows/amd64")
    assert "C:\\Go\\" in w1.ok(r"reg query HKLM\Software\GoProgrammingLanguage")
    w1.ok(rf"{msiexec} /x C:\go.msi /qn")
    assert w1.run(r"reg query HKLM\Software\GoProgrammingLanguage").code == 1


def test_git_clones_a_repository_with_its_submodule(tools: Client) -> None:
    assert tools.ok(f"{GIT} --version").startswith("git version 2.45.2.windows")
    identity = f"{GIT} -c user.name=lab -c user.email=lab@example.org -c protocol.file.allow=always"
    tools.ok(
        rf"cd /d {WORK} && {GIT} init -q part && cd part && echo one>f && {GIT} add f && {identity} commit -qm one"
    )
    tools.ok(rf"cd /d {WORK} && {GIT} init -q all && cd all && {identity} submodule add -q C:/gofallback/part part")
    tools.ok(rf"cd /d {WORK}\all && {identity} commit -qm two")
    tools.ok(rf"cd /d {WORK} && {identity} clone -q --recurse-submodules all 副本")
    assert tools.ok(rf"type {WORK}\副本\part\f").strip() == "one"


def test_a_fresh_host_knows_nothing_of_another_ones_changes(lab: Lab) -> None:
    with Lab.up(fresh_name(), targets=0, builders=1) as second:
        Client(lab, "w1").ok(r"reg add HKCU\Software\Lab /v only /d here /f && echo ;changed>> C:\windows\win.ini")
        fresh = Client(second, "w1")
        assert fresh.run(r"reg query HKCU\Software\Lab").code == 1
        assert "changed" not in fresh.ok(r"type C:\windows\win.ini")
