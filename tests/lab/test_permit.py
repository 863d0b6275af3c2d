"""Approvals, freeze windows and overrides on real hosts: what is refused touches nothing; what goes on is audited."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.fleet import Fleet, Result
from tests.paths import PROJECT
from tests.unit.approvals import Project
from tests.unit.approvals import project as make_people

pytestmark = pytest.mark.lab

RULES: dict[str, Any] = {"environment": "production", "approval": {"required": 2}}
WHY = "the site is down and Kim is on a plane"


@pytest.fixture(scope="module")
def live(stocked: Fleet) -> Fleet:
    """v1.0.0 runs on both targets; tests that are refused leave it so."""
    result = stocked.rollout("v1.0.0")
    assert result.code == 0, result.output
    return stocked


@pytest.fixture
def old(live: Fleet) -> Fleet:
    """v1.0.0 runs on both targets, whatever the test before did."""
    if {live.answer("t1"), live.answer("t2")} != {"ok v1.0.0"}:
        live.fresh_targets()
        assert live.rollout("v1.0.0").code == 0
    return live


@pytest.fixture
def people(tmp_path: Path) -> Project:
    """A checkout of its own with allowed_signers, beside the keys of alice, bob, carol and dave."""
    made = make_people(tmp_path)
    for name in ("deploys", "group_data", "templates", "lab", "config.py"):
        (made.root / name).symlink_to(PROJECT / name)
    return made


@pytest.fixture
def production(old: Fleet, people: Project) -> Fleet:
    return dataclasses.replace(old, project=people.root, data=RULES)


def approve(fleet: Fleet, people: Project, *names: str, version: str = "v1.1.0") -> None:
    for name in names:
        key = str(people.keys / name)
        words = ("--service", "hello", "--environment", "production", "--key", key, "--yes")
        done = fleet.command("approve", version, *words)
        assert done.code == 0, done.output


def footprint(fleet: Fleet) -> dict[str, str]:
    """All of a target that a run could have touched, with the times of last change."""
    look = (
        "find /opt/hello /opt/gofallback /var/lib/gofallback /run/gofallback /etc/systemd/system "
        "-not -name 'health-*' -not -path /run/gofallback -printf '%p %T@ %s %l\\n' | sort; "
        "systemctl show -p ActiveEnterTimestampMonotonic,MainPID hello"
    )
    return {host.name: host.run(look).stdout for host in fleet.lab.targets}


def refused(fleet: Fleet, *args: str, **data: Any) -> Result:
    """A rollout of v1.1.0 that is refused, and leaves no trace on any target."""
    before = footprint(fleet)
    result = fleet.run("rollout", "--data", "version=v1.1.0", *args, data=data)
    assert result.code == 2, result.output
    assert "Traceback" not in result.output
    assert footprint(fleet) == before
    return result


def events(fleet: Fleet, kind: str) -> list[dict[str, Any]]:
    """Of the newest run's journal."""
    newest = max(fleet.home.glob("runs/*/journal.jsonl"))
    return [row for row in map(json.loads, newest.read_text().splitlines()) if row["event"] == kind]


def test_without_approvals_a_rollout_is_refused_and_touches_nothing(production: Fleet) -> None:
    line = refused(production).line("refused: ")
    assert "hello v1.1.0 for production: 0 of 2 approvals" in line
    assert "who could still approve: alice@example.com, bob@example.com" in line
    assert "gofallback approve v1.1.0 --environment production" in line


def test_one_approval_and_the_requesters_own_are_not_enough(production: Fleet, people: Project) -> None:
    approve(production, people, "alice", "bob")
    said = refused(production, "--data", "requester=bob@example.com")
    assert "1 of 2 approvals (alice@example.com)" in said.line("refused: ")
    assert said.line("bob@example.com.json: ").strip().endswith("requests this run, and cannot approve it as well")


def test_the_key_of_the_run_is_known_as_the_requesters(production: Fleet, people: Project) -> None:
    """The lab's own key, with which the hosts are reached, is bob's: nobody had to say so."""
    key = production.lab.file.key
    public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
    with (people.root / "allowed_signers").open("a") as file:
        file.write(f"bob@example.com {public}\n")
    approve(production, people, "alice", "bob")
    assert "bob@example.com requests this run" in refused(production).output


def test_an_approval_of_another_version_or_environment_is_not_one_of_this(production: Fleet, people: Project) -> None:
    approve(production, people, "alice", "bob", version="v1.0.0")
    assert "0 of 2 approvals" in refused(production).line("refused: ")
    folder = people.root / "approvals" / "production" / "hello"
    (folder / "v1.0.0").rename(folder / "v1.1.0")
    assert "approves version v1.0.0, not v1.1.0" in refused(production).output


def test_with_two_approvals_the_rollout_goes_and_keeps_who_gave_them(production: Fleet, people: Project) -> None:
    approve(production, people, "alice", "carol")
    result = production.run("rollout", "--data", "version=v1.1.0")
    assert result.code == 0, result.output
    assert production.answer("t1") == production.answer("t2") == "ok v1.1.0"
    expected = {"alice@example.com": people.fingerprint("alice"), "carol@example.com": people.fingerprint("carol")}
    assert {row["principal"]: row["key"] for row in production.report()["approvals"]} == expected
    assert {row["principal"]: row["key"] for row in events(production, "approval")} == expected
    assert production.report()["overrides"] == []


def test_break_glass_goes_on_loudly_and_is_kept_with_its_reason(production: Fleet, people: Project) -> None:
    approve(production, people, "alice")
    result = production.run("rollout", "--data", "version=v1.1.0", "--data", f"break_glass={WHY}")
    assert result.code == 0, result.output
    assert "GLASS BROKEN by " in result.output and WHY in result.line("why: ")
    assert production.answer("t1") == "ok v1.1.0"
    for row in (production.report()["overrides"][0], events(production, "override")[0]):
        assert (row["kind"], row["why"]) == ("break-glass", WHY)
        assert row["what"] == "hello v1.1.0 for production: 1 of 2 approvals (alice@example.com)"
    there = production.lab.host("t1").run("cat /var/lib/gofallback/hello/journal.jsonl").stdout
    assert WHY in there


def test_break_glass_without_a_reason_worth_the_name_is_refused(production: Fleet) -> None:
    assert "at least 10 characters" in refused(production, "--data", "break_glass=urgent").line("refused: ")


@pytest.mark.parametrize("rule", ['approval={"required":1}', "freeze=[]", "environment=staging"])
def test_the_rules_cannot_be_talked_away_on_the_command_line(production: Fleet, rule: str) -> None:
    line = refused(production, "--data", rule).line("refused: ")
    assert f"--data {rule.partition('=')[0]}: refused" in line


def test_a_dry_run_shows_the_plan_and_what_would_be_refused(production: Fleet) -> None:
    result = production.run("rollout", "--dry", "--data", "version=v1.1.0")
    assert result.code == 0, result.output
    assert "would be refused: hello v1.1.0 for production: 0 of 2 approvals" in result.output
    assert "-> v1.1.0" in result.output


def test_status_shows_what_waits_for_whom(production: Fleet, people: Project) -> None:
    approve(production, people, "alice")
    seen = production.run("status")
    assert seen.code == 0, seen.output
    line = seen.line("hello v1.1.0 for production: ")
    assert "1 of 2 approvals (alice@example.com); who could still approve: bob@example.com, carol" in line
    told = production.run("status", "--json").output
    (row,) = json.loads(told[told.index("{") : told.rindex("}") + 1])["approvals"]
    assert (row["version"], row["by"], row["required"]) == ("v1.1.0", ["alice@example.com"], 2)
    assert row["could_sign"] == ["bob@example.com", "carol@example.com", "dave@example.com"]


# Freeze


def freeze(hours: float = 5) -> list[dict[str, str]]:
    now = datetime.now(UTC)
    begin, end = now - timedelta(hours=1), now + timedelta(hours=hours)
    return [{"name": "holidays", "from": begin.isoformat(), "until": end.isoformat()}]


def test_in_a_freeze_a_rollout_is_refused_and_touches_nothing(old: Fleet) -> None:
    line = refused(old, environment="production", freeze=freeze()).line("refused: ")
    assert "production is frozen: 'holidays' until " in line and "--data override_freeze='why'" in line


def test_in_a_freeze_an_override_goes_on_and_is_kept(old: Fleet) -> None:
    words = ("--data", "version=v1.1.0", "--data", f"override_freeze={WHY}")
    result = old.run("rollout", *words, data={"freeze": freeze()})
    assert result.code == 0, result.output
    assert "FREEZE OVERRIDDEN by " in result.output
    (row,) = events(old, "override")
    assert (row["kind"], row["why"]) == ("freeze", WHY) and "'holidays'" in row["what"]


def test_in_a_freeze_rollback_and_status_are_not_held_up(old: Fleet) -> None:
    assert old.rollout("v1.1.0").code == 0
    data = {"freeze": freeze()}
    seen = old.run("status", data=data)
    assert seen.code == 0 and "is frozen: 'holidays' until" in seen.output
    back = old.run("rollback", data=data)
    assert back.code == 0, back.output
    assert old.answer("t1") == old.answer("t2") == "ok v1.0.0"


def test_in_a_freeze_a_run_is_not_resumed_but_may_be_taken_back(old: Fleet) -> None:
    run = str(old.report()["run_id"])
    data = {"freeze": freeze()}
    resumed = old.run("rollout", "--data", f"resume={run}", data=data)
    assert resumed.code == 2 and "is frozen: 'holidays'" in resumed.line("refused: ")
    aborted = old.run("rollout", "--data", f"abort={run}", data=data)
    assert "is frozen" not in aborted.output and "Traceback" not in aborted.output


def test_after_the_freeze_a_rollout_goes(old: Fleet) -> None:
    result = old.run("rollout", "--data", "version=v1.1.0", data={"freeze": freeze(hours=-0.5)})
    assert result.code == 0, result.output


def test_an_override_does_not_stand_in_for_approvals(production: Fleet) -> None:
    said = refused(production, "--data", f"override_freeze={WHY}", freeze=freeze())
    assert "0 of 2 approvals" in said.output


def test_fallback_brings_what_was_approved_and_refuses_what_is_not_even_built(running: Fleet, people: Project) -> None:
    """With the Windows builder: what a drill has built can be approved; other bytes cannot have been."""
    fleet = dataclasses.replace(running, project=people.root, data=RULES)
    other = {"hello": {"build": {"tags": ["unheard_of"]}}}
    result = fleet.run("fallback", "--data", "ref=v1.1.0", data=other)
    assert result.code == 2, result.output
    line = result.line("refused: ")
    assert "v1.1.0 is not built yet for linux/amd64, and needs 2 approvals: build it with deploys/drill.py" in line
    assert fleet.answer("t1") == "ok v1.0.0"
    approve(fleet, people, "alice", "bob")
    result = fleet.run("fallback", "--data", "ref=v1.1.0")
    assert result.code == 0, result.output
    assert fleet.answer("t1") == fleet.answer("t2") == "ok v1.1.0"
    assert len(fleet.report()["approvals"]) == 2
