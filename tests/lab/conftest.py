"""Labs for tests: each with a name of its own, so that runs beside each other do not meet, and each taken down."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from lab.lab import end
from lab.stock import stock
from tests.lab.fleet import Fleet
from tests.lab.pyinfra_host import connected
from tests.lab.target import Target


def fresh_name() -> str:
    """A lab name that nobody else uses."""
    return "t" + secrets.token_hex(2)


@pytest.fixture(autouse=True)
def _root_only(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("lab") and os.geteuid() != 0:
        pytest.skip("the lab needs root")


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A name no lab has; whatever the test raised under it is gone afterwards."""
    name = fresh_name()
    yield name
    end(name)


@pytest.fixture(scope="module")
def two_targets() -> Iterator[Lab]:
    """A lab with t1 and t2, shared by one file of tests, which leave its hosts up and whole."""
    with Lab.up(fresh_name(), targets=2, builders=0) as lab:
        yield lab


@pytest.fixture(scope="module")
def stocked(two_targets: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Two targets, no builder, and v1.0.0 and v1.1.0 in the controller's store as if one had built them."""
    return stocked_fleet(two_targets, tmp_path_factory.mktemp("controller"))


def stocked_fleet(lab: Lab, home: Path) -> Fleet:
    """A fleet whose controller has v1.0.0 and v1.1.0 in its store."""
    stock(home, ["v1.0.0", "v1.1.0"])
    return Fleet(lab, home)


@pytest.fixture(scope="module")
def one_target() -> Iterator[Lab]:
    """A lab with t1 alone, on a small disk."""
    with Lab.up(fresh_name(), targets=1, builders=0, target_disk_mb=256) as lab:
        yield lab


@pytest.fixture
def target(one_target: Lab) -> Iterator[Target]:
    """t1 as on the first day, connected, for tests of single steps."""
    one_target.targets[0].reset()
    with connected(one_target) as (state, hosts, said):
        yield Target(one_target, state, hosts[0], said)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two targets and a Windows builder that has built v1.0.0 and v1.1.0 for them; shared, see `targets_anew`."""
    with Lab.up(fresh_name(), targets=2, builders=1) as lab:
        # GOFALLBACK_TEST_HOME keeps the artifacts of one test run for the next: two minutes less while writing tests.
        kept = os.environ.get("GOFALLBACK_TEST_HOME")
        made = Fleet(lab, Path(kept) if kept else tmp_path_factory.mktemp("controller"))
        for ref in ("v1.0.0", "v1.1.0"):
            result = made.run("drill", "--data", f"ref={ref}", seconds=900)
            assert result.code == 0, result.output
        yield made


@pytest.fixture
def targets_anew(fleet: Fleet) -> Fleet:
    """The shared fleet with targets as on the first day."""
    fleet.fresh_targets()
    return fleet


@pytest.fixture
def running(targets_anew: Fleet) -> Fleet:
    """The shared fleet with v1.0.0 live and healthy on every target."""
    result = targets_anew.rollout("v1.0.0")
    assert result.code == 0, result.output
    return targets_anew
