"""Windows hosts as part of a lab: their network, their processes and their disk can fail, and be mended."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from lab.builders import Builder
from tests.lab.conftest import fresh_name
from tests.lab.machine import kill_start, ssh, traces

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(fresh_name(), targets=1, builders=1, builder_disk_mb=256) as lab:
        yield lab


@pytest.fixture
def w1(lab: Lab) -> Iterator[Builder]:
    """The lab's Windows host, made whole again after the test."""
    host = lab.host("w1")
    assert isinstance(host, Builder)
    yield host
    Lab.up(lab.name, targets=1, builders=1, builder_disk_mb=256)
    host.uncut()
    host.latency(0)
    host.free_disk()


def test_a_command_runs_over_ssh_under_its_known_key(lab: Lab) -> None:
    assert "Microsoft Windows" in ssh(lab, "w1", "ver").stdout


def test_a_command_runs_without_ssh_while_the_link_is_cut(w1: Builder) -> None:
    w1.cut()
    with pytest.raises(TimeoutError):
        socket.create_connection((w1.address, 22), 1)
    assert w1.run("echo %OS%").stdout.strip() == "Windows_NT"


def test_the_ssh_service_alone_can_stop_and_start(lab: Lab, w1: Builder) -> None:
    w1.stop_sshd()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((w1.address, 22), 2)
    w1.start_sshd()
    assert ssh(lab, "w1", "echo back").stdout.strip() == "back"


def test_frozen_windows_answers_nothing_until_thawed(lab: Lab, w1: Builder) -> None:
    w1.freeze()
    assert not w1.is_up()
    w1.thaw()
    assert ssh(lab, "w1", "echo back").stdout.strip() == "back"


def test_killed_windows_boots_on_the_disk_it_had(lab: Lab, w1: Builder) -> None:
    w1.put("C:\\kept\\file.txt", b"kept")
    w1.kill()
    w1.boot()
    w1.wait_up()
    assert ssh(lab, "w1", "type C:\\kept\\file.txt").stdout.strip() == "kept"


def test_latency_applies_to_windows_too(w1: Builder) -> None:
    w1.latency(30)
    begun = time.monotonic()
    socket.create_connection((w1.address, 22), 5).close()
    assert time.monotonic() - begun >= 0.06


def test_a_full_windows_disk_refuses_writes_until_it_is_freed(lab: Lab, w1: Builder) -> None:
    w1.put("C:\\big.bin", b"x" * 3_000_000)
    w1.fill_disk(leave_mb=1)
    assert ssh(lab, "w1", "copy C:\\big.bin C:\\gofallback\\big.bin").returncode != 0
    w1.free_disk()
    assert ssh(lab, "w1", "copy /y C:\\big.bin C:\\gofallback\\big.bin").returncode == 0


def test_reset_gives_back_the_first_day_under_the_same_key(lab: Lab, w1: Builder) -> None:
    w1.put("C:\\mine\\file.txt", b"mine")
    w1.reset()
    assert ssh(lab, "w1", "if exist C:\\mine (echo there) else (echo gone)").stdout.strip() == "gone"


@pytest.mark.parametrize("moment", [0.3, 0.6, 0.9, 1.2])
def test_a_start_with_windows_killed_at_any_moment_can_be_started_again(lab_name: str, moment: float) -> None:
    kill_start(lab_name, moment, targets=1, builders=1)
    with Lab.up(lab_name, targets=1, builders=1) as lab:
        assert "Microsoft Windows" in ssh(lab, "w1", "ver").stdout
    assert traces(lab_name) == []


def test_down_leaves_no_wine_process_and_no_socket_folder(lab_name: str) -> None:
    with Lab.up(lab_name, targets=0, builders=2) as lab:
        assert lab.host("w2").run("hostname").returncode == 0
        notes = [host.drive_c.parent / "wineserver" for host in lab.builders if isinstance(host, Builder)]
        places = [Path(root, note.read_text().strip()) for note in notes for root in ("/run", "/tmp")]
        assert len([folder for folder in places if folder.is_dir()]) == 2
    assert traces(lab_name) == []
    assert not [folder for folder in places if folder.exists()]
