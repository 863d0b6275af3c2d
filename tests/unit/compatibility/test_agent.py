"""Answers of the agent of version 0.1.0: what each one means for the target and for the run."""

from __future__ import annotations

import pytest

from gofallback.release.activation import Order, outcome
from gofallback.rollout.phases import after_activation
from tests.unit.compatibility.files import ANSWERS, DATA

#: Case: the phase in a rollout, and the phase where the run takes the release back.
PHASES = {
    "confirm-confirmed": ("confirmed", "failed"),
    "confirm-too-late": ("reverted", "taken-back"),
    "follow-after-interrupted": ("confirmed", "failed"),
    "follow-confirmed": ("confirmed", "failed"),
    "follow-confirmed-again": ("confirmed", "failed"),
    "follow-failed": ("failed", "failed"),
    "follow-failed-kept": ("failed", "failed"),
    # it had no window, so no dead-man's switch: nothing ends it before the next run or boot
    "follow-interrupted": ("failed", "failed"),
    "follow-joined": ("provisional", "provisional"),
    "follow-killed-and-healed": ("provisional", "provisional"),
    "follow-provisional": ("provisional", "provisional"),
    "follow-reverted": ("reverted", "taken-back"),
    "follow-timeout": ("lost", "lost"),
    "refused-fenced": ("failed", "failed"),
    "refused-missing": ("failed", "failed"),
    "revert-refused-confirmed": ("confirmed", "failed"),
    "revert-reverted": ("reverted", "taken-back"),
}


def test_every_answer_has_a_row_and_an_expected_phase() -> None:
    assert {path.stem for path in (DATA / "agent").iterdir()} == set(ANSWERS) == set(PHASES)


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_is_read_as_0_1_0_read_it_and_gives_its_phase(case: str) -> None:
    row = ANSWERS[case]
    order = Order("hello", "/opt/hello", row["requested"], row["run_id"], "al@ctl", row["fence"])
    found = outcome(order, (DATA / "agent" / f"{case}.jsonl").read_text().splitlines(), row["exit"])
    read = {key: getattr(found, key) for key in ("state", "release", "previous", "live", "healthy", "reason", "ok")}
    assert {**read, "deadline": found.deadline, "by": found.run_id} == {
        key: value for key, value in row.items() if key not in ("run_id", "requested", "fence", "exit")
    }
    ends_alone = found.ends_alone
    forward = after_activation(found.state, ends_alone=ends_alone)
    assert (forward, after_activation(found.state, taking_back=True, ends_alone=ends_alone)) == PHASES[case]
