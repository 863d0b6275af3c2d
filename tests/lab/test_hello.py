"""The example service, built and run for real: what demo and fault tests rely on."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from lab import Host, Lab, example
from lab.cache import cache_dir, print_progress
from lab.windows import pins
from lab.windows.trees import ensure

pytestmark = pytest.mark.lab


def go(folder: Path, *words: str) -> str:
    """Run the Linux Go toolchain of the lab."""
    goroot = ensure(cache_dir(), print_progress).go_linux[pins.GO_DEFAULT]
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(cache_dir()),
        "GOCACHE": str(cache_dir() / "trees/gocache-linux"),
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOTELEMETRY": "off",
        "CGO_ENABLED": "0",
    }
    done = subprocess.run([goroot / "bin/go", *words], cwd=folder, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("example") / "hello.git"
    example.make_repository(path)
    return path


@pytest.fixture(scope="module")
def binary(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    work = tmp_path_factory.mktemp("checkout")
    subprocess.run(["git", "clone", "--quiet", str(repository), str(work / "hello")], check=True)
    go(
        work / "hello",
        "build",
        "-trimpath",
        "-ldflags=-s -w -X main.version=v1.1.0",
        "-o",
        str(work / "out"),
        "./cmd/hello",
    )
    return (work / "out").read_bytes()


@pytest.fixture(scope="module")
def t1(two_targets: Lab, binary: bytes) -> Host:
    host = two_targets.host("t1")
    host.put("/opt/hello", binary, mode=0o755)
    return host


def start(host: Host, unit: str, *settings: str) -> subprocess.CompletedProcess[str]:
    """Start the service as a transient unit on port 8080."""
    options = " ".join(f"--property={setting}" for setting in settings)
    host.run(f"systemctl stop {unit}.service {unit}.socket; systemctl reset-failed", check=False)
    return host.run(f"systemd-run --quiet --unit={unit} {options} /opt/hello", check=False)


def get(host: Host, path: str = "/healthz", timeout: float = 5) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{host.address}:8080{path}", timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_its_own_tests_pass() -> None:
    assert "ok  \texample.test/hello/cmd/hello" in go(example.HELLO, "test", "./...")


def commit(repository: Path, ref: str) -> str:
    words = ["git", "-C", str(repository), "rev-parse", f"{ref}^{{commit}}"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_the_repository_has_the_same_commits_whoever_makes_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text(
        "[core]\nautocrlf = true\n[user]\nname = Somebody\nemail = else@example.test\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody Else")
    before = os.umask(0o077)
    try:
        example.make_repository(tmp_path / "again.git")
    finally:
        os.umask(before)
    refs = ("v1.0.0", "v1.1.0", "main")
    assert [commit(tmp_path / "again.git", ref) for ref in refs] == [commit(repository, ref) for ref in refs]
    assert commit(repository, "main") == commit(repository, "v1.1.0") != commit(repository, "v1.0.0")


def test_version_names_the_stamp_the_commit_and_the_platform(t1: Host, repository: Path) -> None:
    words = t1.run("/opt/hello --version").stdout.split()
    assert words[:3] == ["hello", "v1.1.0", commit(repository, "main")]
    assert words[3] == f"go{pins.GO_DEFAULT}" and words[4] == "linux/amd64"


def test_it_tells_systemd_when_it_is_ready_and_stops_in_order(t1: Host) -> None:
    assert start(t1, "ready", "Type=notify").returncode == 0
    assert get(t1) == (200, "ok v1.1.0\n")
    assert get(t1, "/?name=SRE") == (200, "Hello, SRE, from v1.1.0.\n")
    t1.run("systemctl stop ready")
    assert "Deactivated successfully" in t1.run("journalctl --no-pager --unit=ready").stdout


def test_it_takes_the_socket_systemd_hands_over_and_a_restart_refuses_nobody(t1: Host) -> None:
    t1.put("/run/systemd/system/sock.socket", b"[Socket]\nListenStream=8080\n")
    t1.put(
        "/run/systemd/system/sock.service", b"[Service]\nType=notify\nExecStart=/opt/hello\nEnvironment=HELLO_ADDR=:1\n"
    )
    t1.run("systemctl daemon-reload; systemctl start sock.socket")
    assert get(t1) == (200, "ok v1.1.0\n")
    t1.run("systemctl restart --no-block sock.service")
    assert [get(t1)[0] for _ in range(50)] == [200] * 50
    t1.run("systemctl stop sock.socket sock.service; rm /run/systemd/system/sock.*; systemctl daemon-reload")


def test_crash_ends_with_status_3_and_says_so(t1: Host) -> None:
    start(t1, "crash", "Environment=HELLO_FAULT=crash")
    time.sleep(0.5)
    assert t1.run("systemctl show --property=ExecMainStatus --value crash").stdout == "3\n"
    assert "HELLO_FAULT=crash" in t1.run("journalctl --no-pager --unit=crash").stdout


def test_unhealthy_serves_and_says_no(t1: Host) -> None:
    assert start(t1, "sick", "Type=notify", "Environment=HELLO_FAULT=unhealthy").returncode == 0
    assert get(t1)[0] == 503
    assert get(t1, "/")[0] == 200
    t1.run("systemctl stop sick")


def test_flap_is_healthy_first(t1: Host) -> None:
    settings = ("Type=notify", "Environment=HELLO_FAULT=flap", "Environment=HELLO_FAULT_AFTER=1s")
    assert start(t1, "flap", *settings).returncode == 0
    assert get(t1)[0] == 200
    time.sleep(1.1)
    assert get(t1)[0] == 503
    t1.run("systemctl stop flap")


def test_slow_is_ready_only_after_its_time(t1: Host) -> None:
    begun = time.monotonic()
    settings = ("Type=notify", "Environment=HELLO_FAULT=slow", "Environment=HELLO_FAULT_AFTER=1s")
    assert start(t1, "slow", *settings).returncode == 0
    assert time.monotonic() - begun >= 1
    assert get(t1)[0] == 200
    t1.run("systemctl stop slow")


def test_hang_accepts_and_never_answers(t1: Host) -> None:
    start(t1, "hang", "Environment=HELLO_FAULT=hang")
    time.sleep(0.3)
    with socket.create_connection((t1.address, 8080), 2) as connection:
        connection.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    t1.run("systemctl stop hang")


def test_an_unknown_fault_is_refused(t1: Host) -> None:
    done = t1.run("HELLO_FAULT=explode /opt/hello", check=False)
    assert done.returncode == 1
    assert done.stderr == 'hello: HELLO_FAULT="explode": expected one of crash, unhealthy, flap, slow, hang\n'
