"""Confirming over a second connection and taking back from the controller, on a real target."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.operations.target.activate import TargetHost, activate, confirm, describe, revert
from gofallback.operations.target.channel import BrokenError, SecondConnection
from gofallback.release.activation import ActivationOutcome, Order
from lab import Lab
from tests.lab.agent_target import AgentTarget, built, service
from tests.lab.conftest import fresh_name
from tests.lab.pyinfra_host import connected
from tests.lab.waiting import wait

pytestmark = pytest.mark.lab

RUN = "20261122T031244Z-9f3a"


@dataclass
class Reached:
    """One target, as the controller and as its own root see it."""

    state: State
    host: Host
    target: AgentTarget

    def activate(self, release: str, run_id: str = RUN, fence: int = 0, **options: Any) -> ActivationOutcome:
        sha256 = self.target.sh(f"sha256sum /opt/hello/releases/{release}/bin/hello").split()[0]
        return activate(self.reach(), order(release, run_id, fence), sha256=sha256, **options)

    def confirm(self, timeout: float = 20, fence: int = 0, **options: Any) -> ActivationOutcome:
        return confirm(self.reach(timeout), order(fence=fence), **options)

    def revert(self, fence: int = 0) -> ActivationOutcome:
        return revert(self.reach(), order(fence=fence), reason="it's bad")

    def reach(self, timeout: float = 30) -> TargetHost:
        return TargetHost(self.state, self.host, timeout)


def order(release: str = "v2", run_id: str = RUN, fence: int = 0) -> Order:
    return Order("hello", "/opt/hello", release, run_id, "al@ctl", fence)


@pytest.fixture(scope="module")
def lab_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, AgentTarget]]:
    programs = built(tmp_path_factory.mktemp("programs"))
    with Lab.up(fresh_name(), targets=1, builders=0) as lab:
        yield lab, AgentTarget(lab.host("t1"), programs)


@pytest.fixture
def reached(lab_target: tuple[Lab, AgentTarget]) -> Iterator[Reached]:
    """A target on which v1 is live and v2 waits to be confirmed within 6 s."""
    lab, target = lab_target
    target.wipe()
    with connected(lab) as (state, (host,), _):
        found = Reached(state, host, target)
        target.release("v1")
        target.release("v2", service(socket=True))
        assert found.activate("v1", "first").state == "confirmed"
        outcome = found.activate("v2", window=6, fence=3, reason="ticket 7")
        assert (outcome.state, outcome.ok, outcome.live, outcome.previous) == ("provisional", True, "v2", "v1")
        assert outcome.deadline == outcome.record["confirm"]["deadline"] and outcome.record["why"] == "ticket 7"
        yield found


def connections(target: AgentTarget) -> int:
    """How many connections of ours sshd has on the target."""
    return len(target.sh("ss -Hnt state established 'sport = :22'").splitlines())


def test_a_release_is_confirmed_over_a_connection_of_its_own(reached: Reached) -> None:
    own, before = reached.host.connector, connections(reached.target)
    trips = reached.host.connector_data["round_trips"]
    with SecondConnection(reached.state, reached.host) as second:
        assert connections(reached.target) == before + 1
        outcome = reached.confirm(via=second, fence=3, head="a" * 64)
        assert second.run("id -un", sudo=True) == (0, ["root"])
    assert (outcome.state, outcome.live, outcome.healthy) == ("confirmed", "v2", True), describe(outcome)
    assert reached.host.connector_data["round_trips"] == trips + 2
    wait(lambda: connections(reached.target) == before)
    assert reached.host.connector is own and reached.host.run_shell_command("true")[0], "the first one still works"
    assert reached.confirm().state == "confirmed", "again, over the first one"
    assert reached.revert().state == "refused"
    assert "is confirmed" in reached.revert().reason


def test_a_confirmation_that_comes_too_late_learns_that_the_target_went_back(reached: Reached) -> None:
    reached.target.host.cut()
    try:
        with pytest.raises(BrokenError):
            SecondConnection(reached.state, reached.host).__enter__()
        time.sleep(8)
    finally:
        reached.target.host.uncut()
    with SecondConnection(reached.state, reached.host) as second:
        outcome = reached.confirm(via=second)
    assert (outcome.state, outcome.live, outcome.record["cause"]) == ("reverted", "v1", "unconfirmed")
    assert describe(outcome) == "v2 reverted: not confirmed within 6 s; v1 runs now"


def test_a_broken_second_connection_is_made_again(reached: Reached) -> None:
    with SecondConnection(reached.state, reached.host) as second:
        second.connector.client.close()
        assert reached.confirm(via=second).state == "confirmed"


def test_a_target_that_cannot_be_reached_leaves_the_confirmation_unknown(reached: Reached) -> None:
    with SecondConnection(reached.state, reached.host) as second:
        reached.target.host.cut()
        try:
            outcome = reached.confirm(timeout=3, via=second)
        finally:
            reached.target.host.uncut()
    assert outcome.state == "unknown" and "goes back by itself unless the confirmation reached it" in outcome.reason


def test_a_release_is_taken_back_when_the_controller_asks(reached: Reached) -> None:
    outcome = reached.revert(fence=3)
    assert (outcome.state, outcome.live, outcome.healthy, outcome.reason) == ("reverted", "v1", True, "it's bad")
    assert outcome.record["decided"] == {"by": "al@ctl", "fence": 3} and outcome.record["cause"] == "asked"
    assert reached.target.answers().startswith("ok")
    assert reached.revert().state == "reverted", "again"
    assert reached.confirm().state == "reverted", "too late"


def test_a_connection_that_breaks_does_not_stop_the_way_back(reached: Reached) -> None:
    found: list[ActivationOutcome] = []
    asking = threading.Thread(target=lambda: found.append(reached.revert()))
    asking.start()
    deadline = time.monotonic() + 5
    while reached.target.record()["stage"] == "confirm" and time.monotonic() < deadline:
        pass
    reached.target.sh(
        "pkill -f 'follow -final'; for p in $(pgrep -f 'sshd: .*notty'); do kill -9 $p; done", check=False
    )
    asking.join()
    assert (found[0].state, found[0].live) == ("reverted", "v1"), describe(found[0])
    assert reached.target.answers().startswith("ok")


def test_whoever_was_fenced_off_is_refused(reached: Reached) -> None:
    reached.target.sh("printf '9\\tr9\\tbo@ctl\\tthen\\t30\\n' > /var/lib/gofallback/hello/lease")
    line = "fenced: run r9 of bo@ctl took over (number 9, ours 3)"
    for outcome in (reached.confirm(fence=3), reached.revert(fence=3), reached.activate("v1", "later", fence=3)):
        assert (outcome.state, outcome.reason) == ("refused", line)
    assert reached.target.current() == "v2"


def test_a_refusal_that_systemd_takes_for_a_program_that_was_never_started_is_reported_in_full(
    reached: Reached,
) -> None:
    # https://github.com/systemd/systemd/issues/28304, every time
    silent, host = "/usr/local/sbin/systemd-run", reached.target.host
    host.put(silent, b'#!/bin/sh\n/usr/bin/systemd-run "$@" >/dev/null 2>&1\nexit 1\n', 0o755)
    try:
        reached.target.sh("printf '9\\tr9\\tbo@ctl\\tthen\\t30\\n' > /var/lib/gofallback/hello/lease")
        for outcome in (reached.revert(fence=3), reached.activate("v1", "later", fence=3)):
            assert (outcome.state, outcome.reason[:22]) == ("refused", "fenced: run r9 of bo@c")
    finally:
        reached.target.sh(f"rm {silent}")


def test_the_way_back_to_a_release_with_an_older_agent_uses_a_newer_one(reached: Reached) -> None:
    old = "#!/bin/sh\necho flag provided but not defined >&2\nexit 2\n"
    reached.target.sh("rm /opt/hello/releases/v1/lib/gofallback-agent")
    reached.target.host.put("/opt/hello/releases/v1/lib/gofallback-agent", old.encode(), 0o755)
    outcome = reached.activate("v1", "back", window=30)
    assert (outcome.state, outcome.live) == ("provisional", "v1"), describe(outcome)
    for _ in range(2):  # the second time v1's old agent is the live one
        outcome = confirm(reached.reach(20), order("v1", "back"))
        assert (outcome.state, outcome.live) == ("confirmed", "v1"), describe(outcome)
