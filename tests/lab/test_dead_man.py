"""A release that nobody confirms: whatever becomes of controller, network or host, the old one comes back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest

from gofallback.journal.verify import verify
from lab import Lab
from lab.model import DEFAULT_SUITE
from tests.lab.agent_target import AGENT, AgentTarget, built, service
from tests.lab.conftest import fresh_name
from tests.lab.dead_man import (
    KILLER,
    OTHER,
    RUN,
    STATE,
    assert_v1_is_back,
    decide,
    drop_lease,
    events,
    final,
    go_down,
    hold_lease,
    journal,
    provisional,
    slack,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentTarget]:
    programs = built(tmp_path_factory.mktemp("programs"))
    suite = os.environ.get("GOFALLBACK_TEST_SUITE", DEFAULT_SUITE)
    with Lab.up(fresh_name(), targets=1, builders=0, suite=suite) as lab:
        yield AgentTarget(lab.host("t1"), programs)


@pytest.fixture
def good(machine: AgentTarget) -> AgentTarget:
    """A target on which v1 runs, is well and needs no confirmation."""
    machine.wipe()
    code, record = machine.activate(machine.release("v1"), "first")
    assert (code, record["state"]) == (0, "confirmed"), record
    return machine


def test_a_release_that_nobody_confirms_is_taken_back_when_the_window_is_over(good: AgentTarget) -> None:
    before = good.units()
    record = provisional(good, 3, "-reason 'ticket 7' -fence 4")
    assert record["confirm"]["window"] == 3 and record["confirm"]["deadline"] > record["confirm"]["since"]
    assert good.sh(f"cat {STATE}/last-known-good") == "v1", "not before it is confirmed"
    code, record = final(good, 20)
    times = record["timings"]
    assert (code, record["state"], record["cause"]) == (3, "reverted", "unconfirmed")
    assert record["reason"] == "not confirmed within 3 s" and record["runs_now"] == "v1"
    assert 3 <= times["answering"] - times["healthy"] < 3 + slack()
    assert_v1_is_back(good, before)
    assert "BAD" not in good.sh("ls /opt/hello/releases/v2"), "nobody knows that it is bad"
    lines = [line for line in journal(good) if line["run"] == RUN]
    assert [line["event"] for line in lines] == ["intended", "provisional", "reverted"]
    assert (lines[0]["why"], lines[0]["fence"], lines[0]["by"], lines[0]["previous"]) == ("ticket 7", 4, "test", "v1")
    assert (lines[2]["cause"], lines[2]["by"], lines[2].get("fence")) == ("unconfirmed", "dead-man's switch", None)
    entries = [
        json.loads(line)
        for line in good.sh(f"journalctl --sync; journalctl -o json GOFALLBACK_RUN={RUN} | tail -n 3").splitlines()
    ]
    assert [entry["GOFALLBACK_OUTCOME"] for entry in entries] == ["intended", "provisional", "reverted"]
    assert entries[2]["GOFALLBACK_CAUSE"] == "unconfirmed" and entries[0]["GOFALLBACK_WHY"] == "ticket 7"


def test_a_confirmed_release_stays_and_confirming_again_changes_nothing(good: AgentTarget) -> None:
    provisional(good, 30)
    assert decide(good, "confirm", f"-by al@ctl -head {'a' * 64}").returncode == 0
    assert good.current() == "v2" and good.sh(f"cat {STATE}/last-known-good") == "v2"
    pid = good.sh("systemctl show -P MainPID hello.service")
    again = decide(good, "confirm")
    assert again.returncode == 0 and json.loads(again.stdout)["state"] == "confirmed"
    assert good.sh("systemctl show -P MainPID hello.service") == pid
    refused = decide(good, "revert")
    assert refused.returncode == 2 and "is confirmed" in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert events(good) == ["intended", "provisional", "confirmed"]
    assert journal(good)[-1]["head"] == "a" * 64
    assert "deadman" not in " ".join(good.units()) and "recover" not in " ".join(good.units())


def test_a_release_that_is_not_well_when_it_is_to_be_confirmed_is_taken_back(good: AgentTarget) -> None:
    before = good.units()
    provisional(good, 30, fault="flap", after="2s", minimum_healthy=0.5)
    time.sleep(2.5)
    done = decide(good, "confirm")
    assert done.returncode == 3 and json.loads(done.stdout)["cause"] == "unhealthy", done
    assert_v1_is_back(good, before)


def test_renewals_by_the_same_run_put_it_off(good: AgentTarget) -> None:
    provisional(good, 3)
    hold_lease(good, RUN + "-r1")
    time.sleep(6)
    assert good.current() == "v2" and good.record()["state"] == "provisional"
    drop_lease(good)
    assert final(good, 20)[0] == 3


def test_renewals_by_another_run_do_not_put_it_off(good: AgentTarget) -> None:
    hold_lease(good, OTHER)
    provisional(good, 3)
    code, record = final(good, 20)
    drop_lease(good)
    assert code == 3 and record["timings"]["answering"] - record["timings"]["healthy"] < 3 + slack()


def test_a_host_whose_network_is_cut_goes_back_alone(good: AgentTarget) -> None:
    before = good.units()
    provisional(good, 2)
    good.host.cut()
    try:
        assert final(good, 30)[0] == 3
        assert good.current() == "v1"
    finally:
        good.host.uncut()
    assert_v1_is_back(good, before)


@pytest.mark.parametrize("how", ["reboot", "power cut"])
@pytest.mark.parametrize("then", ["nobody confirms", "confirmed"])
def test_an_unconfirmed_release_runs_after_a_reboot_and_its_window_begins_anew(
    good: AgentTarget, how: str, then: str
) -> None:
    before = good.units()
    first = provisional(good, 8)
    go_down(good, how)
    assert good.current() == "v2" and good.answers().startswith("ok"), good.sh("cat /var/lib/gofallback/hello/*.json")
    if then == "confirmed":
        assert decide(good, "confirm").returncode == 0
        assert good.current() == "v2" and "deadman" not in " ".join(good.units())
        return
    code, record = final(good, 30)
    assert (code, record["cause"]) == (3, "unconfirmed")
    assert record["confirm"]["boot_id"] != first["confirm"]["boot_id"]
    assert_v1_is_back(good, before)
    assert events(good) == ["intended", "provisional", "reverted"]


def test_a_reboot_in_the_gate_takes_the_release_back_and_disarms_the_timer(good: AgentTarget) -> None:
    before = good.units()
    good.start(good.release("v2", service(minimum_healthy=5)), RUN, flags="-window 60")
    good.await_stage(RUN, "gate")
    go_down(good, "power cut")
    code, record = final(good, 30)
    assert (code, record["cause"]) == (3, "interrupted")
    assert_v1_is_back(good, before)
    assert events(good) == ["intended", "reverted"]


def test_daemon_reloads_of_others_do_not_put_the_way_back_off(good: AgentTarget) -> None:
    before = good.units()
    good.sh("systemd-run --quiet --collect --unit=reloads sh -c 'while sleep 1; do systemctl daemon-reload; done'")
    try:
        provisional(good, 4)
        code, record = final(good, 15)
    finally:
        good.sh("systemctl stop reloads", check=False)
    assert (code, record["cause"]) == (3, "unconfirmed"), "each one begins OnActiveSec= of the timer anew"
    assert_v1_is_back(good, before)


def test_a_killed_switch_is_started_again_and_still_goes_back(good: AgentTarget) -> None:
    before = good.units()
    provisional(good, 2)
    hold_lease(good, RUN)
    time.sleep(3.5)
    pid = good.sh("systemctl show -P MainPID gofallback-deadman-hello.service")
    assert pid != "0", "it waits for the renewals to end"
    good.sh(f"kill -9 {pid}")
    time.sleep(1)
    assert good.sh("systemctl show -P MainPID gofallback-deadman-hello.service") not in ("0", pid)
    drop_lease(good)
    assert final(good, 20)[0] == 3
    assert_v1_is_back(good, before)


def test_a_switch_killed_on_the_way_back_goes_on(good: AgentTarget) -> None:
    before = good.units()
    good.host.put("/root/killer", KILLER.encode(), 0o755)
    provisional(good, 2, socket=True)
    good.sh("setsid /root/killer >/dev/null 2>&1 </dev/null &")
    code, record = final(good, 30)
    assert (code, record["cause"], good.sh("cat /root/killed")) == (3, "unconfirmed", "restore")
    assert_v1_is_back(good, before)
    assert events(good) == ["intended", "provisional", "reverted"]


def test_the_switch_takes_over_when_the_agent_is_killed_for_good(good: AgentTarget) -> None:
    before = good.units()
    good.start(good.release("v2", service(minimum_healthy=3)), RUN, heal=False, flags="-window 4")
    good.await_stage(RUN, "gate")
    good.sh("systemctl kill --signal=KILL gofallback-activate-hello.service")
    code, record = final(good, 20)
    assert (code, record["cause"]) == (3, "interrupted")
    assert_v1_is_back(good, before)


def test_a_confirmation_at_the_last_moment_wins_or_loses_but_never_both(good: AgentTarget) -> None:
    outcomes = set()
    for early in (-0.15, -0.05, 0.0, 0.02, 0.05, 0.1):
        good.wipe()
        good.activate(good.release("v1"), "first")
        record = provisional(good, 3)
        due = record["confirm"]["since_uptime"] + 3 - early
        done = good.host.run(
            f"while read -r up rest </proc/uptime; [ $(echo $up | tr -d .) -lt {due * 100:.0f} ]; do :; done; "
            f"{AGENT} confirm -service hello -run-id {RUN}",
            check=False,
        )
        state = json.loads(done.stdout)["state"]
        assert (done.returncode, state) in ((0, "confirmed"), (3, "reverted")), done
        time.sleep(1.5)
        assert good.record()["state"] == state
        assert good.current() == ("v2" if state == "confirmed" else "v1") and good.answers().startswith("ok")
        assert events(good) == ["intended", "provisional", state]
        outcomes.add(state)
    assert outcomes == {"confirmed", "reverted"}, "the moments tried were all on one side"


def test_whoever_was_fenced_off_is_refused_and_nothing_changes(good: AgentTarget) -> None:
    provisional(good, 60, "-fence 5")
    good.sh(f"printf '6\\t{OTHER}\\tbo@ctl\\t2026-11-22T04:12:44Z\\t30\\n' > {STATE}/lease")
    before, record, lines = good.units(), good.record(), journal(good)
    plan = "-plan /opt/hello/releases/v1/conf/activation.json"
    for command in ("confirm", "revert"):
        done = decide(good, command, "-fence 5")
        assert done.returncode == 2
        assert done.stderr.endswith(f"fenced: run {OTHER} of bo@ctl took over (number 6, ours 5)\n")
    done = good.host.run(f"{AGENT} activate {plan} -run-id later -fence 5", check=False)
    assert done.returncode == 2 and "fenced: run" in done.stderr
    started = good.start("v1", "later", flags="-fence 5")
    code, found = good.follow(started)
    assert code == 2 and found[-1]["event"] == "refused" and "fenced: run" in found[-1]["why"]
    assert (good.units(), good.record(), journal(good), good.current()) == (before, record, lines, "v2")
    assert decide(good, "confirm", "-fence 6").returncode == 0


def test_on_a_full_disk_the_old_release_comes_back_all_the_same(good: AgentTarget) -> None:
    before = good.units()
    provisional(good, 2, socket=True)
    good.host.fill_disk()
    try:
        code, record = final(good, 20)
        assert (code, record["state"], record["cause"]) == (3, "reverted", "unconfirmed"), record
        assert good.current() == "v1" and good.answers().startswith("ok")
        pid = good.sh("systemctl show -P MainPID hello.service")
        time.sleep(7)
        assert good.sh("systemctl show -P MainPID hello.service") == pid, "it is not restarted again and again"
    finally:
        good.host.free_disk()
    time.sleep(7)
    assert good.record()["state"] == "reverted", "written down once there is room"
    assert_v1_is_back(good, before)
    assert events(good)[-1] == "reverted"


def test_a_new_run_takes_over_from_an_unconfirmed_one(good: AgentTarget) -> None:
    before = good.units()
    provisional(good, 60, socket=True)
    code, record = good.activate(good.release("v3", service("crash")), OTHER)
    assert (code, record["previous"], record["runs_now"]) == (3, "v1", "v1")
    assert_v1_is_back(good, before)
    assert events(good) == ["intended", "provisional", "reverted"] and events(good, OTHER) == ["intended", "reverted"]
    late = decide(good, "confirm")
    assert late.returncode == 3 and json.loads(late.stdout)["cause"] == "superseded"


def test_a_journal_that_a_power_cut_tore_goes_on_and_says_so(good: AgentTarget) -> None:
    good.sh(f'printf \'{{"prev":"torn by a pow\' >> {STATE}/journal.jsonl')
    good.activate("v1", "second")
    good.activate("v1", "third")
    lines = good.sh(f"cat {STATE}/journal.jsonl").encode().splitlines()
    assert [problem.text.split(":")[:2] for problem in verify(lines, ends=False)] == [["line 3", " torn"]]
    assert [json.loads(line).get("torn") for line in lines[3:]] == [True, None, None, None]


def test_a_failed_release_stays_when_nothing_is_to_be_taken_back(good: AgentTarget) -> None:
    code, record = good.activate(
        good.release("v2", service("unhealthy", start_deadline=1, minimum_healthy=0.5)), RUN, "-keep-failed"
    )
    assert (code, record["state"], record["runs_now"]) == (4, "failed", "v2")
    assert json.loads(good.sh("cat /opt/hello/releases/v2/BAD"))["cause"] == "deadline"
    assert good.current() == "v2"
