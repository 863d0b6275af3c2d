"""A rollout in waves on four real hosts: who is switched when, what stops it, and what becomes of the rest."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from tests.lab.conftest import fresh_name, stocked_fleet
from tests.lab.fleet import Fleet, Result

pytestmark = pytest.mark.lab

LABELS = {"t1": "eu", "t2": "us", "t3": "eu", "t4": "us"}
HOSTS = {name: {"target": {"labels": {"region": region}}} for name, region in LABELS.items()}
QUICK = {"confirm_window": 8, "lease_ttl": 6}
MOVED: dict[str, Any] = {
    "unit": {"environment": {"HELLO_ADDR": ":9191"}},
    "port": 9191,
    "health": {"check": {"type": "http", "url": "http://127.0.0.1:9191/healthz", "status": 200, "body": "^ok"}},
}
"""v1.1.0 with another port: what sits on it already makes the release fail on that host alone."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Lab.up(fresh_name(), targets=4, builders=0) as lab:
        yield stocked_fleet(lab, tmp_path_factory.mktemp("controller"))


@pytest.fixture
def four(made: Fleet) -> Fleet:
    """Four targets with v1.0.0 live."""
    made.fresh_targets()
    made.data = {"hosts": HOSTS, "rollout": QUICK}
    result = made.rollout("v1.0.0")
    assert result.code == 0, result.output
    return made


def roll(fleet: Fleet, *, moved: bool = False, **rollout: Any) -> Result:
    data = {"rollout": {**QUICK, **rollout}, **({"hello": MOVED} if moved else {})}
    return fleet.run("rollout", "--data", "version=v1.1.0", data=data)


def squat(fleet: Fleet, host: str) -> None:
    """Something unhealthy sits on the port that v1.1.0 is moved to."""
    fleet.lab.host(host).run(
        "systemd-run --collect --unit=squatter --setenv=HELLO_ADDR=:9191 --setenv=HELLO_FAULT=unhealthy "
        "/opt/hello/current/bin/hello"
    )


def journal(fleet: Fleet, run: str | None = None) -> list[dict[str, Any]]:
    path = fleet.home / "runs" / run / "journal.jsonl" if run else max(fleet.home.glob("runs/*/journal.jsonl"))
    return [json.loads(line) for line in path.read_text().splitlines()]


def versions(fleet: Fleet) -> dict[str, str]:
    return {host: (fleet.live(host) or "nothing").rpartition("-")[0] for host in LABELS}


def outcomes(fleet: Fleet) -> dict[str, str]:
    return {row["host"]: row["outcome"] for row in fleet.report()["targets"]}


OLD, NEW = dict.fromkeys(LABELS, "v1.0.0"), dict.fromkeys(LABELS, "v1.1.0")


def test_waves_go_one_after_the_other_in_the_stated_order_and_all_are_confirmed_at_the_end(four: Fleet) -> None:
    result = roll(four, canary=["t2"], waves=[{"label": "region", "value": "eu"}])
    assert result.code == 0, result.output
    assert versions(four) == NEW
    lines = journal(four)
    begun = [(line["name"], line["hosts"]) for line in lines if line["event"] == "wave" and line["state"] == "begun"]
    assert begun == [("canary", ["t2"]), ("wave 1 (region eu)", ["t1", "t3"]), ("wave 2", ["t4"])]
    order = [line["host"] for line in lines if line["event"] == "provisional"]
    assert order[0] == "t2" and set(order[1:3]) == {"t1", "t3"} and order[3] == "t4"
    first_confirmed = next(place for place, line in enumerate(lines) if line["event"] == "confirmed")
    assert all(line["event"] != "provisional" for line in lines[first_confirmed:])
    again = roll(four, canary=["t2"], waves=[{"label": "region", "value": "eu"}])
    assert again.code == 0 and "nothing was changed" in again.output


def test_a_target_that_fails_in_a_later_wave_puts_every_target_back(four: Fleet) -> None:
    squat(four, "t3")
    result = roll(four, moved=True, canary=1, waves=[2])
    assert result.code == 3, result.output
    assert versions(four) == OLD
    assert outcomes(four) == {"t1": "reverted", "t2": "reverted", "t3": "reverted", "t4": "untouched"}
    assert {four.answer(host) for host in LABELS} == {"ok v1.0.0"}


def test_failures_within_the_budget_do_not_stop_the_others_and_the_run_is_partly_done(four: Fleet) -> None:
    squat(four, "t3")
    result = roll(four, moved=True, canary=1, budget={"count": 1})
    assert result.code == 5, result.output
    assert versions(four) == {**NEW, "t3": "v1.0.0"}
    assert result.line("^t3: reverted")


@pytest.mark.parametrize(("revert", "t3"), [("failed", "v1.0.0"), ("none", "v1.1.0")])
def test_without_revert_all_what_was_switched_stays(four: Fleet, revert: str, t3: str) -> None:
    squat(four, "t3")
    result = roll(four, moved=True, canary=1, waves=[2], revert=revert)
    assert result.code == 5, result.output
    assert versions(four) == {"t1": "v1.1.0", "t2": "v1.1.0", "t3": t3, "t4": "v1.0.0"}
    assert (outcomes(four)["t1"], outcomes(four)["t4"]) == ("confirmed", "untouched")


@pytest.mark.parametrize("word", ["continue", "stop"])
def test_a_rollout_waits_for_a_persons_answer(four: Fleet, word: str) -> None:
    run = four.start("rollout", "--data", "version=v1.1.0", data={"rollout": {**QUICK, "canary": 1, "pause": "ask"}})
    line = run.wait_for("waiting for an answer")
    assert versions(four) == {**OLD, "t1": "v1.1.0"}
    said = four.command(word, line.partition("gofallback continue ")[2].split()[0])
    assert said.code == 0, said.output
    result = run.end()
    assert result.code == (0 if word == "continue" else 3), result.output
    assert versions(four) == (NEW if word == "continue" else OLD)


def test_a_canary_that_falls_ill_in_the_pause_is_seen_before_the_next_wave(four: Fleet) -> None:
    run = four.start("rollout", "--data", "version=v1.1.0", data={"rollout": {**QUICK, "canary": 1, "pause": 6}})
    run.wait_for("the next wave follows")
    four.lab.host("t1").run("systemctl stop hello")
    result = run.end()
    assert result.code == 3, result.output
    assert outcomes(four) == {"t1": "reverted", "t2": "untouched", "t3": "untouched", "t4": "untouched"}
    assert versions(four) == OLD


def test_a_connection_that_ends_in_a_pause_ends_no_rollout(four: Fleet) -> None:
    run = four.start("rollout", "--data", "version=v1.1.0", data={"rollout": {**QUICK, "canary": 1, "pause": 14}})
    run.wait_for("the next wave follows")
    four.lab.host("t1").run("pkill -f '^sshd(-session)?: deploy'")
    result = run.end()
    assert result.code == 0, result.output
    assert versions(four) == NEW
    again = [line["host"] for line in journal(four) if line["event"] == "lease" and line["again"]]
    assert again == ["t1"]


def test_a_run_that_is_stopped_says_which_target_goes_back_and_the_next_one_has_seen_that_it_did(four: Fleet) -> None:
    run = four.start("rollout", "--data", "version=v1.1.0", data={"hello": {"health": {"minimum_healthy": 4}}})
    run.wait_for(r"\[t1\].*gate")
    run.process.send_signal(signal.SIGINT)
    result = run.end(60)
    assert result.code == 130, result.output
    assert "what runs there now is not known" in " ".join(result.output.split())
    assert outcomes(four) == {"t1": "switching", "t2": "untouched", "t3": "untouched", "t4": "untouched"}
    gone_back(four, "t1")
    assert versions(four) == OLD
    assert "it is reverted there" in four.run("status").line("t1.*was lost by run")


def gone_back(fleet: Fleet, host: str) -> None:
    """Wait until a target has gone back alone."""
    back = 'until grep -q \'"state": "reverted"\' /var/lib/gofallback/hello/outcome.json; do sleep 0.2; done'
    fleet.lab.host(host).run(f"timeout 30 sh -c {shlex.quote(back)}")


def test_a_limit_counts_only_the_targets_in_it(four: Fleet) -> None:
    result = four.run(
        "rollout",
        "--limit",
        "t3",
        "--limit",
        "t4",
        "--data",
        "version=v1.1.0",
        data={"rollout": {**QUICK, "waves": ["50%"]}},
    )
    assert result.code == 0, result.output
    assert versions(four) == {**OLD, "t3": "v1.1.0", "t4": "v1.1.0"}


@pytest.mark.parametrize("flag", ["--serial", "--no-wait", "--fail-percent=50"])
def test_flags_of_pyinfra_that_would_break_the_waves_are_refused_by_name(four: Fleet, flag: str) -> None:
    result = four.run("rollout", flag, "--data", "version=v1.1.0")
    assert result.code == 2
    assert flag.partition("=")[0] in result.line("refused")
    assert versions(four) == OLD


def test_a_killed_controller_leaves_one_version_and_another_controller_finishes_or_takes_back(
    four: Fleet, tmp_path: Path
) -> None:
    for number, (word, goal) in enumerate((("abort", OLD), ("resume", NEW))):
        run = four.start("rollout", "--data", "version=v1.1.0", data={"rollout": {**QUICK, "canary": 1, "pause": 600}})
        run.wait_for("the next wave follows")
        run.kill()
        run_id = max(path.parent.name for path in four.home.glob("runs/*/journal.jsonl"))
        other = Fleet(four.lab, tmp_path / f"other{number}", four.data)
        result = other.run("rollout", "--data", f"{word}={run_id}")
        assert result.code == 0, result.output
        assert versions(four) == goal


def test_a_controller_that_is_gone_for_good_leaves_the_old_version_everywhere(four: Fleet) -> None:
    run = four.start("rollout", "--data", "version=v1.1.0", data={"rollout": {**QUICK, "canary": 1, "pause": 600}})
    run.wait_for("the next wave follows")
    run.kill()
    gone_back(four, "t1")
    assert versions(four) == OLD
    status = four.run("status")
    assert "it is reverted there" in status.line(r"t1.*was lost by run")
    lines = journal(four)
    assert [line["state"] for line in lines if line["event"] == "seen"] == ["reverted"]


def test_a_rollback_brings_targets_that_differ_to_one_version(four: Fleet) -> None:
    squat(four, "t3")
    assert roll(four, moved=True, canary=1, budget={"count": 1}).code == 5
    result = four.run("rollback")
    assert result.code == 0, result.output
    assert versions(four) == OLD
    assert outcomes(four)["t3"] == "unchanged"


def connections(fleet: Fleet, host: str) -> int:
    """Logins that a target's sshd has accepted so far."""
    found = fleet.lab.host(host).run("journalctl --no-pager -q _COMM=sshd | grep -c 'Accepted publickey'", check=False)
    return int(found.stdout)


def test_a_rollback_needs_neither_builder_nor_store_and_one_connection_to_each_target(
    four: Fleet, tmp_path: Path
) -> None:
    assert roll(four).code == 0
    before = {host: connections(four, host) for host in LABELS}
    empty = Fleet(four.lab, tmp_path / "another", four.data)
    result = empty.run("rollback")
    assert result.code == 0, result.output
    assert versions(four) == OLD
    assert {host: connections(four, host) - before[host] for host in LABELS} == dict.fromkeys(LABELS, 1)
    order = [line["event"] for line in journal(empty) if line["event"] in ("wave", "intended", "confirmed")]
    assert order[:5] == ["wave", *["intended"] * 4]  # no canary: all at once


def test_a_rollback_has_a_deadline_for_all_targets_together(four: Fleet) -> None:
    assert roll(four).code == 0
    run = four.start("rollback", data={"rollout": {**QUICK, "rollback_deadline": 8}})
    run.wait_for(r"\[t3\].*gate")
    four.lab.host("t3").cut()
    began = time.monotonic()
    result = run.end()
    assert time.monotonic() - began < 60
    assert result.code == 5, result.output
    result.line(r"^t3: ")
    four.lab.host("t3").uncut()
    assert versions(four) == OLD  # t3 went on alone
