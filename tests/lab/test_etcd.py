"""A run's lease in a real etcd: one holder, expiry after SIGKILL, restarts, freezes, logins, TLS, members away."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from gofallback.etcd.lease import EtcdLease, LeaseError
from lab import Lab
from lab.etcd import Etcd
from tests.lab.conftest import fresh_name
from tests.paths import PROJECT

pytestmark = pytest.mark.lab

TTL = 3
ONE, TWO = "20261122T031244Z-0001", "20261122T031300Z-0002"
HOLDER = """
import sys, time
from gofallback.etcd.lease import EtcdLease
lease = EtcdLease(sys.stdin.readline().strip(), "prod", ["hello"], 3, sys.argv[1], "bo@ctl2")
lease.acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab.up(fresh_name(), targets=0, builders=0) as lab:
        yield lab


@pytest.fixture
def etcd(lab: Lab) -> Etcd:
    return Etcd.start(lab)


def lease_of(
    url: str,
    run_id: str = ONE,
    *services: str,
    ttl: int = TTL,
    takeover: str | None = None,
    say: Callable[[str], None] | None = None,
) -> EtcdLease:
    said = say or (lambda line: None)
    return EtcdLease(url, "prod", services or ("hello",), ttl, run_id, "al@ctl1", takeover, said)


def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until something is so; how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not so within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


def can(lease: EtcdLease) -> bool:
    try:
        lease.acquire()
    except LeaseError:
        return False
    return True


def test_one_run_has_it_until_it_gives_it_back(etcd: Etcd) -> None:
    first, second = lease_of(etcd.url(), ONE, "hello", "shop"), lease_of(etcd.url(), TWO, "web", "shop")
    first.acquire()
    assert '"run": "20261122T031244Z-0001"' in etcd.contents()["/gofallback/prod/hello"]
    for refused in (second.acquire, second.check):
        with pytest.raises(LeaseError, match=f"shop is leased to run {ONE} of al@ctl1 since .* takeover={ONE}"):
            refused()
    assert "/gofallback/prod/web" not in etcd.contents(), "all services, or none"
    time.sleep(2 * TTL)
    assert first.lost_reason() is None and ONE in etcd.contents()["/gofallback/prod/shop"], "renewed past its ttl"
    first.release()
    assert etcd.contents() == {}
    second.acquire()
    second.release()
    assert etcd.contents() == {}


def test_other_environments_and_services_are_not_in_the_way(etcd: Etcd) -> None:
    first = lease_of(etcd.url())
    first.acquire()
    for other in (
        lease_of(etcd.url(), TWO, "shop"),
        EtcdLease(etcd.url(), "staging", ["hello"], TTL, TWO, "bo@ctl2"),
    ):
        other.acquire()
        other.release()
    first.release()


def test_runs_that_race_never_both_win(etcd: Etcd) -> None:
    from threading import Barrier, Thread

    for turn in range(20):
        rivals = [lease_of(etcd.url(), f"{turn}-{name}") for name in ("one", "two")]
        start, won = Barrier(2), []

        def race(mine: EtcdLease, start: Barrier = start, won: list[EtcdLease] = won) -> None:
            start.wait()
            if can(mine):
                won.append(mine)

        threads = [Thread(target=race, args=(rival,)) for rival in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        won[0].release()


def test_a_killed_controllers_lease_expires_and_preflight_waits_for_it(etcd: Etcd) -> None:
    command = [sys.executable, "-c", HOLDER, ONE]
    pipe, root = subprocess.PIPE, PROJECT
    with subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(etcd.url() + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    said: list[str] = []
    second = lease_of(etcd.url(), TWO, say=said.append)
    began = time.monotonic()
    second.check()
    assert time.monotonic() - began < TTL + 3, "etcd lets it go within a second or so of its ttl"
    second.acquire()
    assert any("has stopped renewing its lease; waiting for the lease to end" in line for line in said)
    second.release()


def test_a_restart_of_etcd_in_mid_run_is_a_note_and_no_more(etcd: Etcd) -> None:
    said: list[str] = []
    lease = lease_of(etcd.url(), say=said.append, ttl=12)
    lease.acquire()
    etcd.members[0].kill()
    until(lambda: bool(said), 12)
    assert lease.lost_reason() is None
    etcd.members[0].start()
    until(lambda: len(said) == 2, 12)
    assert "does not answer (connection refused); the run goes on" in said[0]
    assert "answers again; the lease was kept" in said[1]
    time.sleep(13)
    assert lease.lost_reason() is None
    lease.release()


def test_etcd_frozen_for_longer_than_the_ttl_loses_the_lease_and_it_stays_lost(etcd: Etcd) -> None:
    lease = lease_of(etcd.url())
    lease.acquire()
    etcd.members[0].freeze()
    took = until(lambda: lease.lost_reason() is not None, TTL + 2)
    assert took > TTL / 3
    assert f"was not renewed for {TTL} s, as etcd did not answer" in str(lease.lost_reason())
    etcd.members[0].thaw()
    second = lease_of(etcd.url(), TWO)
    until(lambda: can(second), TTL + 5)
    assert lease.lost_reason() is not None
    lease.release()
    assert '"20261122T031300Z-0002"' in etcd.contents()["/gofallback/prod/hello"], "gives back only what is its own"
    second.release()


def test_etcd_away_at_the_start_is_one_line(etcd: Etcd) -> None:
    etcd.members[0].kill()
    with pytest.raises(LeaseError, match=r"^etcd://[0-9.]+:2379: does not answer \(connection refused\); nothing was"):
        lease_of(etcd.url()).check()
    etcd.members[0].start()
    etcd.wait_up()
    etcd.members[0].freeze()
    with pytest.raises(LeaseError, match="no answer in time"):
        lease_of(etcd.url()).acquire()
    etcd.members[0].thaw()


def test_a_takeover_names_the_run_and_the_other_one_sees_it_at_its_next_renewal(etcd: Etcd) -> None:
    first = lease_of(etcd.url())
    first.acquire()
    with pytest.raises(LeaseError, match="it is not held by run 20260101T000000Z-aaaa"):
        lease_of(etcd.url(), TWO, takeover="20260101T000000Z-aaaa").acquire()
    second = lease_of(etcd.url(), TWO, takeover=ONE)
    second.check()
    second.acquire()
    assert [(taken.service, taken.run_id) for taken in second.takeovers] == [("hello", ONE)]
    until(lambda: first.lost_reason() is not None, TTL)
    assert f"run {TWO} of al@ctl1 took over /gofallback/prod/hello" in str(first.lost_reason())
    first.release()
    assert second.lost_reason() is None and "/gofallback/prod/hello" in etcd.contents()
    second.release()


def test_a_continuation_takes_it_from_a_dead_predecessor_only(etcd: Etcd) -> None:
    ttl = 3 * TTL  # room for a renewal that a busy disk delays: this is about who lives, not about how fast etcd is
    first = lease_of(etcd.url(), ttl=ttl)
    first.acquire()
    time.sleep(ttl / 2)
    second = lease_of(etcd.url(), f"{ONE}-r1", ttl=ttl)
    with pytest.raises(LeaseError, match="is leased to run"):
        second.acquire()
    first._stop.set()  # its controller is dead
    assert until(lambda: can(second), ttl) < ttl
    second.release()


def test_a_login_is_needed_used_renewed_and_never_shown(etcd: Etcd, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    etcd.require_login("gofallback", "correct horse")
    said: list[str] = []
    for login, words in (
        ("", "user name is empty.*expected a user who may read and write below /gofallback/"),
        ("gofallback:battery-staple@", "authentication failed.*correct user and password in rollout.lease"),
        ("nobody:battery-staple@", "authentication failed"),
    ):
        with pytest.raises(LeaseError, match=words) as refused:
            lease_of(etcd.url(login)).acquire()
        said.append(str(refused.value))
    lease = lease_of(etcd.url("gofallback:correct%20horse@"), say=said.append, ttl=9)
    lease.acquire()
    etcd.members[0].kill()  # and with it every token it has given
    etcd.members[0].start()
    time.sleep(10)
    assert lease.lost_reason() is None, said
    lease.release()
    everything = "\n".join([*said, caplog.text, repr(lease)])
    assert "horse" not in everything and "battery-staple" not in everything


def test_every_member_is_tried(lab: Lab) -> None:
    etcd = Etcd.start(lab, members=3)
    lease = lease_of(etcd.url(), ttl=9)
    lease.acquire()
    for member in etcd.members[:2]:
        member.kill()
        time.sleep(TTL)  # with one of three gone the others elect a leader; with two gone nobody can
        if member is etcd.members[0]:
            assert lease.lost_reason() is None, "two of three are enough"
    until(lambda: lease.lost_reason() is not None, 12)


def test_tls_with_an_authority_of_ones_own(lab: Lab) -> None:
    etcd = Etcd.start(lab, tls=True)
    lease = lease_of(etcd.url())
    lease.acquire()
    lease.release()
    with pytest.raises(LeaseError, match=r"its certificate is not trusted: name its authority with \?ca=FILE"):
        lease_of(etcd.url().partition("?")[0]).acquire()
    with pytest.raises(LeaseError, match="if it speaks TLS, write etcds://"):
        lease_of(etcd.url().partition("?")[0].replace("etcds", "etcd")).acquire()
