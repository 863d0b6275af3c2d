"""The telling cells of the fault matrix; `make faults` plays all of them (docs/faults.md)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.ground import Ground
from tests.faults.model import Moment
from tests.faults.play import play
from tests.lab.conftest import fresh_name

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground.up(fresh_name(), tmp_path_factory.mktemp("faults"))
    try:
        yield made
    finally:
        made.down()


@pytest.mark.parametrize(
    ("fault", "moment", "resume"),
    [
        ("kill", "gate", False),
        ("kill", "between", True),
        ("cut", "provisional", True),
        ("half", "between", True),
        ("reboot", "gate", True),
        ("power", "confirm", True),
        ("disk", "provisional", True),
        ("two", "gate", True),
        ("etcd", "between", True),
    ],
)
def test_whatever_befalls_a_rollout_the_invariants_hold(
    ground: Ground, fault: str, moment: Moment, resume: bool
) -> None:
    cell = play(ground, fault, moment, resume=resume)
    assert cell.holds, "\n".join([cell.error, *cell.problems.values(), *cell.said])
