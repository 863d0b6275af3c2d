"""The state of targets on which version 0.1.0 worked, and what today's code makes of it."""

from __future__ import annotations

import pytest

from gofallback.rollout.phases import TargetPhase
from gofallback.rollout.records import phase_of_record
from tests.unit.compatibility.files import DATA, TARGETS, state_of

each_target = pytest.mark.parametrize("case", TARGETS)


def test_every_file_is_a_row_of_the_table() -> None:
    assert {path.stem for path in (DATA / "targets").iterdir()} == set(TARGETS)


@each_target
def test_a_target_is_read_as_it_was(case: str) -> None:
    expected, state = TARGETS[case], state_of(case)
    found = state.services["hello"]
    assert (state.platform, state.systemd, state.libc, state.missing) == ("linux/amd64", 252, "glibc", ())
    record = found.outcome or {}
    lease = found.lease
    assert {
        "live": found.current,
        "unit": found.unit.active,
        "health": found.health.healthy if found.health else None,
        "unconfirmed_run": found.unconfirmed_run,
        "releases": sorted(found.releases),
        "bad": sorted(found.bad),
        "last_good": found.last_good,
        "lease": [lease.run_id, lease.who, lease.number, lease.expired] if lease else None,
        "activating": found.activating,
        "history": len(found.history),
        "record": {key: record.get(key) for key in ("run_id", "release", "state", "stage", "cause")},
    } == {key: value for key, value in expected.items() if key not in ("host", "phases")}


def phase_now(case: str, phase: str | None) -> TargetPhase | None:
    """The phase that was called so in 0.1.0, which had one for a release that stays and for a release taken back."""
    if phase == "confirmed" and TARGETS[case]["record"]["state"] == "reverted":
        return TargetPhase.TAKEN_BACK
    return None if phase is None else TargetPhase(phase)


@each_target
def test_a_target_that_was_lost_has_the_phase_of_its_record(case: str) -> None:
    service = state_of(case).services["hello"]
    for run_id, release, phase in TARGETS[case]["phases"]:
        assert phase_of_record(service, run_id, release) is phase_now(case, phase), (run_id, release)


def test_the_phases_of_the_table_are_all_that_a_record_can_give() -> None:
    given = {phase_now(case, phase) for case, row in TARGETS.items() for _, _, phase in row["phases"]}
    assert given == {
        None,
        *(TargetPhase(name) for name in ("confirmed", "taken-back", "reverted", "failed", "untouched")),
    }
