"""Output of activations, leases and smoke commands on a target, and the messages made of it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gofallback.lease import holder
from gofallback.operations.target.activate import describe
from gofallback.release import activation, smoke
from gofallback.release.activation import Order
from tests.unit.services import service

RECORD = {
    "state": "reverted",
    "release": "v2-b",
    "previous": "v1-a",
    "runs_now": "v1-a",
    "healthy": True,
    "reason": "crashed: exit status 3",
    "journal": ["hello: giving up"],
    "timings": {"switched": 0.2, "verified": 4.5},
    "run_id": "r1",
}
STAGE = '{"event":"stage","stage":"gate","at":"x","elapsed":1.5,"detail":"d","run_id":"r1"}'


def outcome(code: int, *lines: str) -> activation.ActivationOutcome:
    return activation.outcome(Order("hello", "/opt/hello", "v2-b", "r1", "al@ctl"), list(lines), code)


def test_a_reverted_activation_says_why_and_what_runs_now() -> None:
    found = outcome(3, STAGE, json.dumps(RECORD))
    assert (found.state, found.live, found.previous, found.seconds) == ("reverted", "v1-a", "v1-a", 4.5)
    assert found.evidence == ("hello: giving up",) and not found.ok
    assert describe(found) == "v2-b reverted: crashed: exit status 3; v1-a runs now"


def test_an_activated_release_is_the_only_good_outcome() -> None:
    record = RECORD | {"state": "confirmed", "runs_now": "v2-b", "reason": None}
    assert outcome(0, json.dumps(record)).ok
    for code in (2, 3, 4, 5, 6, 127):
        assert not outcome(code, json.dumps(record)).ok


def test_a_provisional_release_is_good_and_says_until_when_it_has_to_be_confirmed() -> None:
    confirm = {"window": 60, "since": "2026-11-22T03:12:44Z", "deadline": "2026-11-22T03:13:44Z"}
    record = RECORD | {"state": "provisional", "runs_now": "v2-b", "reason": None, "confirm": confirm}
    found = outcome(0, json.dumps(record))
    assert (found.state, found.ok, found.reason, found.deadline) == ("provisional", True, "", confirm["deadline"])
    assert outcome(0, json.dumps(record | {"state": "confirmed"})).deadline == ""
    assert outcome(5, json.dumps(record)).state == "interrupted", "it was on its way back"


@pytest.mark.parametrize(
    "line",
    [
        '{"event":"refused","why":"fenced: run r9 of al@ctl took over (number 8, ours 7)","run_id":"r1"}',
        "gofallback-agent confirm: fenced: run r9 of al@ctl took over (number 8, ours 7)",
        "refuse\tfenced: run r9 of al@ctl took over (number 8, ours 7)",
    ],
)
def test_whoever_was_fenced_off_reads_by_whom(line: str) -> None:
    expected = "v2-b refused: fenced: run r9 of al@ctl took over (number 8, ours 7)"
    assert describe(outcome(2, line)) == expected


def test_an_agent_is_given_only_flags_that_are_set() -> None:
    def start(fence: int = 0, **options: Any) -> str:
        return activation.start(Order("x", "/opt/x", "v1", "r", "w", fence), timeout=9, **options)

    plain = start()
    assert not any(flag in plain for flag in ("-fence", "-window", "-keep-failed", "-reason"))
    full = start(fence=1234567, window=2.5, reason="it's due", keep_failed=True)
    assert "-fence 1234567 -window 2.5 -reason 'it'\"'\"'s due' -keep-failed" in full


def test_a_joined_activation_keeps_the_run_it_belongs_to() -> None:
    assert outcome(0, "join\tr0", json.dumps(RECORD | {"run_id": "r0"})).run_id == "r0"


@pytest.mark.parametrize(
    ("code", "lines", "expected"),
    [
        (2, ["refuse\trelease v2-b is not on this target"], "v2-b refused: release v2-b is not on this target"),
        (127, ["sh: 1: x: not found"], "v2-b unknown: sh: 1: x: not found"),
        (4, [json.dumps(RECORD | {"state": "failed", "runs_now": None})], "exit status 3; nothing runs now"),
    ],
)
def test_every_other_outcome_is_one_line(code: int, lines: list[str], expected: str) -> None:
    assert expected in describe(outcome(code, *lines)) and "\n" not in describe(outcome(code, *lines))


def test_no_name_can_become_a_command_on_the_target(tmp_path: Path) -> None:
    odd = f"v1'; touch {tmp_path}/x; '$(touch {tmp_path}/x)"
    (tmp_path / "releases" / odd.replace("/", "_")).mkdir(parents=True)
    for release in (odd, odd.replace("/", "_")):
        order = Order("none", str(tmp_path), release, run_id=odd, who=odd)
        texts = [
            activation.start(replace(order, run_id="r1"), timeout=1, sha256="0" * 64, window=1, reason=odd),
            activation.confirm(order, head=odd),
            activation.revert(order, timeout=1, reason=odd),
        ]
        for text in texts:
            done = subprocess.run(["dash", "-c", text], capture_output=True, text=True, check=False)
            assert done.returncode != 0 and done.stdout.startswith("refuse\t"), done
    assert not (tmp_path / "x").exists()


def test_only_lines_of_stages_are_stages() -> None:
    assert activation.stage(STAGE) == ("gate", 1.5, "d")
    for line in (json.dumps(RECORD), "{", "", "join\tx", '["event"]'):
        assert activation.stage(line) is None


def test_an_error_of_a_lease_request_is_reported_as_the_target_printed_it() -> None:
    assert holder.parse_result(["sh: 1: flock: not found"]).error == "sh: 1: flock: not found"
    assert holder.parse_result([]).error == "the target's answer is cut short; run again"


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (0, ["hello v1.2 linux"], ""),
        (0, ["warming up", "hello v1x2"], "printed 'hello v1x2', expected"),
        (0, [], "printed 'nothing'"),
        (3, ["boom", ""], "exit status 3; last line: boom"),
        (124, ["..."], "did not end within 30 s"),
        (126, ["timeout: failed to run command: Exec format error"], "not for this machine's processor"),
    ],
)
def test_a_smoke_command_is_judged_by_status_and_output(code: int, output: list[str], expected: str) -> None:
    of = service(smoke=["--version"], smoke_expect="^hello {version}")
    found = smoke.problem(of, "v1.2", code, output)
    assert (found == "") if not expected else (expected in found and found.startswith("hello --version: "))


def test_values_of_group_data_are_quoted_in_the_scripts() -> None:
    odd: dict[str, Any] = {"smoke": ["$(touch /x)", "a'b; rm"], "root": "/opt/a b$(x)"}
    text = smoke.script(service(**odd), "v1-a", "r1")
    assert "'$(touch /x)' 'a'\"'\"'b; rm'" in text and "'/opt/a b$(x)/releases/v1-a/bin/hello'" in text
