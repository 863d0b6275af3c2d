"""Leases on a real target: two controllers, their deaths, a cut cable, a reboot, a full disk, and what is fenced."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.journal.events import LeaseTaken, LeaseTakenOver
from gofallback.lease.holder import parse_fenced
from gofallback.operations.target import lease
from gofallback.operations.target.activate import TargetHost, activate
from gofallback.operations.target.channel import reconnect, run
from gofallback.operations.target.release import put_release
from gofallback.release.activation import Order
from gofallback.release.upload_script import install_script
from tests.lab.pyinfra_host import connected
from tests.lab.target import Target, hello
from tests.lab.waiting import wait
from tests.paths import PROJECT

pytestmark = pytest.mark.lab

TTL = 6
ONE, TWO = "20261122T031244Z-0001", "20261122T031300Z-0002"
HOLDER = """
from gevent import monkey; monkey.patch_all()
import sys, time
from lab import Lab
from tests.lab.pyinfra_host import connected
from gofallback.operations.target import lease
name, run_id, takeover = sys.argv[1:4]
with connected(Lab.load(name)) as (state, hosts, _):
    lease.acquire(state, hosts[0], ["hello"], run_id, "bo@ctl2", ttl=6, takeover=takeover or None)
    print(f"held {lease.number(hosts[0], 'hello')}", flush=True)
    while True:
        time.sleep(0.2)
        if lease.lost(hosts[0]):
            print(lease.lost(hosts[0]), flush=True)
            break
"""


@contextmanager
def other_controller(target: Target, run_id: str, takeover: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another run, in a process of its own, and its first word."""
    command = [sys.executable, "-c", HOLDER, target.lab.name, run_id, takeover]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


@pytest.fixture
def target(target: Target) -> Iterator[Target]:
    yield target
    lease.release(target.state, target.host)


def take(target: Target, run_id: str = ONE, *services: str, **options: Any) -> bool:
    """Whether the run gets the leases; the problem is the last line of what was said."""
    names = services or ("hello",)
    try:
        lease.acquire(target.state, target.host, names, run_id, "al@ctl1", ttl=TTL, **options)
    except lease.LeaseError as error:
        target.said.lines.append(f"lease: {error}")
        return False
    return True


def written(target: Target) -> list[str]:
    """The lease as the target has it."""
    return target.lab.targets[0].run("cat /var/lib/gofallback/hello/lease").stdout.rstrip("\n").split("\t")


def test_a_second_run_is_refused_with_the_name_of_the_first_until_that_is_killed(target: Target) -> None:
    with other_controller(target, ONE) as (process, word):
        assert word == "held 1"
        assert not take(target, TWO, "hello", "shop") and not lease.is_held(target.host)
        line = target.said.lines[-1]
        assert f"hello is leased to run {ONE} of bo@ctl2 since 20" in line
        assert f"wait for it to end, or take over: --data takeover={ONE}" in line
        seen = target.see(hello()).lease
        assert seen is not None and (seen.run_id, seen.number, seen.expired) == (ONE, 1, False)
        assert target.see(hello(name="shop")).lease is None, "all services, or none"
        time.sleep(TTL + 2)
        assert not take(target, TWO), "heartbeats keep it past its ttl"
        process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        wait(lambda: take(target, TWO, "hello", "shop"), 5)
        assert time.monotonic() - killed < 3, "at once, not after the ttl"
    assert (lease.number(target.host, "hello"), lease.number(target.host, "shop")) == (2, 1)
    assert lease.release(target.state, target.host)
    assert target.see(hello()).lease is None and written(target) == ["2", "", "", "", ""]


def test_taking_it_costs_one_round_trip(target: Target) -> None:
    before = target.host.connector_data.get("round_trips", 0)
    assert take(target, ONE, "hello", "shop", "web")
    assert target.host.connector_data["round_trips"] - before == 1


def test_a_run_cut_off_for_longer_than_the_ttl_is_fenced_when_its_network_comes_back(target: Target) -> None:
    machine = target.lab.targets[0]
    files, upload = target.upload(hello(), "v1.0.0")
    assert upload is not None and take(target)
    machine.cut()
    cut = time.monotonic()
    try:
        wait(lambda: lease.lost(target.host) is not None, TTL + 5)
        assert time.monotonic() - cut >= TTL - 4, "the last renewal was at most a heartbeat ago"
        wait(lambda: written(target)[1] == "", TTL)
    finally:
        machine.uncut()
    with other_controller(target, TWO) as (_, word):
        assert word == "held 2"
        wait(lambda: reconnect(target.host), 10)
        late = f"fenced: run {TWO} of bo@ctl2 took over (number 2, ours 1)"
        assert not put_release(target.state, target.host, upload)
        assert late in target.said.lines[-1] and "nothing was changed" in target.said.lines[-1]
        assert machine.run("ls -A /opt/hello/releases").stdout == ""
        machine.run(f"mkdir -p {upload.temporary}")
        code, lines = run(target.state, target.host, install_script(dataclasses.replace(upload, number=1)), sudo=True)
        assert code == 76 and str(parse_fenced(lines)) == late
        assert not lease.renew(target.state, target.host)
        assert files.id not in machine.run("ls -A /opt/hello/releases").stdout.split()
        assert written(target)[:2] == ["2", TWO]


def test_an_activation_of_a_run_that_was_overtaken_is_refused_by_the_target(target: Target) -> None:
    assert take(target)
    old = target.live(hello(), "v1.0.0")
    new = target.put(hello(), "v1.1.0")
    lease.release(target.state, target.host)
    with other_controller(target, TWO) as (_, word):
        assert word == "held 2"
        order = Order("hello", "/opt/hello", new.id, run_id=ONE, who="al", fence=1)
        late = activate(TargetHost(target.state, target.host, 20), order)
        assert late.state == "refused" and f"fenced: run {TWO} of bo@ctl2 took over (number 2, ours 1)" in str(
            late.reason
        )
        assert target.see(hello()).current == old.id and target.answers() == "ok v1.0.0"


def test_a_run_that_was_cut_off_and_overtaken_by_nobody_goes_on_with_its_number(target: Target) -> None:
    machine = target.lab.targets[0]
    _, upload = target.upload(hello(), "v1.0.0")
    assert upload is not None and take(target)
    machine.cut()
    try:
        wait(lambda: written(target)[1] == "", TTL + 5)
    finally:
        machine.uncut()
    assert not lease.is_held(target.host)
    assert lease.renew(target.state, target.host) and lease.is_held(target.host)
    assert written(target)[:2] == ["1", ONE]
    assert put_release(target.state, target.host, upload), target.said.text


def test_a_takeover_is_reported_journaled_and_ends_what_the_other_run_may_write(target: Target) -> None:
    events: list[Any] = []
    with other_controller(target, ONE) as (process, word):
        assert word == "held 1"
        assert not take(target, TWO, takeover="20260101T000000Z-aaaa")
        assert "it is not held by run 20260101T000000Z-aaaa" in target.said.lines[-1]
        assert take(target, TWO, takeover=ONE, emit=events.append)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == f"fenced: run {TWO} of al@ctl1 took over (number 2, ours 1)"
    assert any(f"hello: lease taken over from run {ONE} of bo@ctl2" in line for line in target.said.lines)
    assert [(type(event), event.service, event.number) for event in events] == [
        (LeaseTakenOver, "hello", 2),
        (LeaseTaken, "hello", 2),
    ]
    assert events[0].from_run == ONE and events[0].from_who == "bo@ctl2"
    journal = f"journalctl --no-pager -o cat GOFALLBACK_EVENT=takeover GOFALLBACK_RUN={TWO} GOFALLBACK_FROM={ONE}"
    said = target.lab.targets[0].run(journal).stdout
    assert f"hello: run {TWO} of al@ctl1 took the lease over from run {ONE} of bo@ctl2, number 2" in said


def test_a_reboot_ends_no_lease_that_its_run_comes_back_for(target: Target) -> None:
    assert take(target)
    machine = target.lab.targets[0]
    before = machine.first_process()
    machine.reboot()
    wait(lambda: machine.is_up() and machine.first_process() != before, 30)
    assert written(target)[0] == "1", "the number is on the disk"
    wait(lambda: reconnect(target.host), 10)
    wait(lambda: lease.lost(target.host) is not None, TTL)
    assert lease.renew(target.state, target.host)
    assert written(target)[:2] == ["1", ONE]


def test_a_full_disk_gives_no_lease_and_keeps_and_ends_one_that_was_given(target: Target) -> None:
    machine = target.lab.targets[0]
    machine.fill_disk(leave_mb=0)
    try:
        assert not take(target)
        assert "lease:" in target.said.lines[-1] and "0 MB free there" in target.said.lines[-1]
        assert "nothing was changed" in target.said.lines[-1]
        assert machine.run("ls -A /var/lib/gofallback/hello 2>/dev/null", check=False).stdout == ""
    finally:
        machine.free_disk()
    assert take(target)
    machine.fill_disk(leave_mb=0)
    try:
        time.sleep(TTL + 1)
        assert lease.is_held(target.host), "renewals need no disk"
        lease.release(target.state, target.host)
        found = target.see(hello()).lease
        assert found is None or found.expired, "nobody has to wait"
    finally:
        machine.free_disk()
    assert take(target, TWO)
    assert lease.number(target.host, "hello") == 2


def test_two_controllers_that_race_twenty_times_never_both_win(target: Target) -> None:
    with connected(target.lab) as (state, hosts, _):
        rivals: list[tuple[State, Host, str]] = [(target.state, target.host, ONE), (state, hosts[0], TWO)]
        for turn in range(1, 21):
            won: list[Host] = []
            start = threading.Barrier(2)

            def race(state: State, host: Host, run_id: str, start: Any = start, won: list[Host] = won) -> None:
                start.wait()
                with suppress(lease.LeaseError):
                    lease.acquire(state, host, ["hello"], run_id, "x@y", ttl=TTL)
                    won.append(host)

            both = [threading.Thread(target=race, args=rival) for rival in rivals]
            for thread in both:
                thread.start()
            for thread in both:
                thread.join()
            assert len(won) == 1 and lease.number(won[0], "hello") == turn
            assert written(target)[0] == str(turn)
            for rival_state, host, _ in rivals:
                lease.release(rival_state, host)
