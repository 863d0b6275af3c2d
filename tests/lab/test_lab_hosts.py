"""Linux targets are real hosts, and what befalls them shows."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from lab import Host, Lab, LabError
from lab.cli import ssh_command
from tests.lab.machine import boot_id, ssh

pytestmark = pytest.mark.lab


@pytest.fixture
def t1(two_targets: Lab) -> Iterator[Host]:
    """A host that is made whole again after the test."""
    host = two_targets.host("t1")
    yield host
    Lab.up(two_targets.name, targets=2, builders=0)
    host.uncut()
    host.latency(0)
    host.loss(0)
    host.free_disk()


def connect_ms(host: Host) -> float:
    """Milliseconds of one round trip: a TCP connection made."""
    begun = time.monotonic()
    socket.create_connection((host.address, 22), 10).close()
    return (time.monotonic() - begun) * 1000


def test_a_target_runs_systemd_without_a_failed_unit(two_targets: Lab) -> None:
    assert ssh(two_targets, "t1", "systemctl is-system-running --wait").stdout == "running\n"


def test_the_user_of_a_target_becomes_root_without_a_password(two_targets: Lab) -> None:
    assert ssh(two_targets, "t1", "id -un; sudo -n id -u").stdout == "deploy\n0\n"


@pytest.mark.parametrize("tool", ["curl", "wget", "python3"])
def test_a_target_lacks_what_the_product_must_not_need(two_targets: Lab, tool: str) -> None:
    assert ssh(two_targets, "t1", f"command -v {tool}").stdout == ""


def test_targets_have_different_host_keys_and_both_are_known(two_targets: Lab) -> None:
    keys = {ssh(two_targets, name, "cat /etc/ssh/ssh_host_ed25519_key.pub").stdout for name in ("t1", "t2")}
    assert len(keys) == 2 and "" not in keys


def test_targets_reach_each_other_and_nothing_else(two_targets: Lab) -> None:
    peer = two_targets.host("t2").address
    assert two_targets.host("t1").run(f"timeout 3 bash -c '</dev/tcp/{peer}/22'", check=False).returncode == 0
    outside = two_targets.host("t1").run("timeout 3 bash -c '</dev/tcp/192.0.2.1/80'", check=False)
    assert "unreachable" in outside.stderr


def test_many_connections_at_once_are_all_let_in(two_targets: Lab) -> None:
    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*ssh_command(two_targets.file, "t1"), "true"], stdin=subprocess.DEVNULL)

    assert [process.wait(60) for process in [start() for _ in range(40)]] == [0] * 40


def test_a_memory_limit_of_a_unit_is_enforced(two_targets: Lab) -> None:
    host = two_targets.host("t1")
    if "[not set]" in host.run("systemctl show --property=MemoryCurrent --value ssh").stdout:
        pytest.skip("this machine gives hosts no memory controller")
    greedy = "systemd-run --quiet --wait --unit=greedy --property=MemoryMax=40M tail /dev/zero"
    assert host.run(greedy, check=False).returncode != 0
    said = host.run("journalctl --no-pager --unit=greedy").stdout
    assert "status=9/KILL" in said or "oom-kill" in said


def test_run_reports_status_and_output_and_refuses_failure_by_default(two_targets: Lab) -> None:
    host = two_targets.host("t1")
    done = host.run("echo out; echo err >&2; exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    with pytest.raises(LabError, match="exit status 7, expected 0"):
        host.run("exit 7")


def test_put_writes_bytes_as_they_are(two_targets: Lab) -> None:
    host = two_targets.host("t1")
    data = bytes(range(256)) * 10
    host.put("/var/tmp/new/folder/file", data, mode=0o640)
    digest = host.run("sha256sum < /var/tmp/new/folder/file; stat -c %a /var/tmp/new/folder/file").stdout.split()
    assert digest == [hashlib.sha256(data).hexdigest(), "-", "640"]


def test_after_cut_nothing_answers_and_uncut_ends_it(two_targets: Lab, t1: Host) -> None:
    t1.cut()
    with pytest.raises(TimeoutError):
        socket.create_connection((t1.address, 22), 1)
    assert t1.run("echo the host lives on").stdout == "the host lives on\n"
    t1.uncut()
    assert ssh(two_targets, "t1", "true").returncode == 0


def test_latency_delays_both_ways_and_ends(t1: Host) -> None:
    t1.latency(40)
    assert 80 <= min(connect_ms(t1) for _ in range(5)) < 120
    t1.latency(0)
    assert min(connect_ms(t1) for _ in range(5)) < 20


def test_a_delayed_link_can_be_cut_and_put_back(two_targets: Lab, t1: Host) -> None:
    t1.latency(10)
    t1.cut()
    assert not t1.is_up()
    t1.uncut()
    assert ssh(two_targets, "t1", "true").returncode == 0


def test_big_transfers_pass_a_delayed_link_unharmed(two_targets: Lab, t1: Host) -> None:
    t1.latency(2)
    done = ssh(two_targets, "t1", "yes 0123456789abcde | head -c 16000000", timeout=60)
    assert done.stdout == "0123456789abcde\n" * 1_000_000


def test_loss_loses_about_its_part_and_ends(t1: Host) -> None:
    def lost(count: int = 200) -> int:
        # Each datagram to a closed port is answered with an error, unless it or the answer is lost.
        silent = 0
        for _ in range(count):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.settimeout(0.02)
                probe.connect((t1.address, 9))
                probe.send(b"x")
                try:
                    probe.recv(1)
                except TimeoutError:
                    silent += 1
                except ConnectionRefusedError:
                    pass
        return silent

    t1.run("sysctl -q -w net.ipv4.icmp_ratelimit=0", check=False)
    t1.loss(30)
    assert 60 <= lost() <= 150  # 1 - 0.7 * 0.7 = 51 % expected
    t1.loss(0)
    assert lost(20) == 0


def test_frozen_hosts_accept_and_never_answer_until_thawed(two_targets: Lab, t1: Host) -> None:
    t1.freeze()
    with socket.create_connection((t1.address, 22), 2) as connection:
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    t1.thaw()
    assert ssh(two_targets, "t1", "true").returncode == 0


def test_a_killed_host_is_silent_and_boots_on_the_disk_it_had(two_targets: Lab, t1: Host) -> None:
    before = boot_id(two_targets, "t1")
    t1.run("echo kept > /var/tmp/kept; sync")
    t1.kill()
    with pytest.raises(TimeoutError):
        socket.create_connection((t1.address, 22), 1)

    t1.boot()
    t1.wait_up()

    assert ssh(two_targets, "t1", "cat /var/tmp/kept").stdout == "kept\n"
    assert boot_id(two_targets, "t1") != before


def test_a_host_killed_while_frozen_boots_again(two_targets: Lab, t1: Host) -> None:
    t1.freeze()
    t1.kill()
    t1.boot()
    t1.wait_up(20)
    assert ssh(two_targets, "t1", "true").returncode == 0


def test_a_host_that_reboots_itself_comes_back(two_targets: Lab, t1: Host) -> None:
    before = boot_id(two_targets, "t1")
    ssh(two_targets, "t1", "sudo systemctl reboot")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if t1.is_up() and boot_id(two_targets, "t1") != before:
            return
        time.sleep(0.05)
    pytest.fail("not back after 20 s")


def test_a_wrong_clock_is_what_date_says_until_it_is_set_right(two_targets: Lab, t1: Host) -> None:
    def ahead() -> float:
        return float(ssh(two_targets, "t1", "sudo -n date +%s").stdout) - time.time()

    t1.set_clock(86_400)
    assert ahead() == pytest.approx(86_400, abs=3)
    t1.set_clock(-3600)
    assert ahead() == pytest.approx(-3600, abs=3)
    t1.set_clock(0)
    assert ahead() == pytest.approx(0, abs=3)


def test_a_full_disk_refuses_writes_until_it_is_freed(two_targets: Lab, t1: Host) -> None:
    t1.fill_disk(leave_mb=1)
    done = ssh(two_targets, "t1", "sudo dd if=/dev/zero of=/opt/big bs=1M count=5")
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert ssh(two_targets, "t1", "df --output=pcent / | tail -n 1").stdout.strip() == "100%"
    t1.free_disk()
    assert ssh(two_targets, "t1", "sudo dd if=/dev/zero of=/opt/big bs=1M count=5").returncode == 0


def test_reset_gives_back_the_first_day_under_the_same_key(two_targets: Lab, t1: Host) -> None:
    t1.run("touch /opt/mine; systemctl mask --now cron.service 2>/dev/null || :")
    t1.reset()
    assert ssh(two_targets, "t1", "ls /opt; hostname").stdout == "t1\n"
