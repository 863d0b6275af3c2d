"""Labs for tests: each with a name of its own, so that runs beside each other do not meet, and each taken down."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from lab import Lab
from lab.lab import end


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
