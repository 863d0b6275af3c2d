"""Switches of the whole suite."""

from __future__ import annotations

import pytest

from tests.schedule import LongestFirst
from tests.unit.examples import register_profile

register_profile()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites tests/unit/release/golden from what is rendered now; look at `git diff` after it."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files from what is rendered now")
    parser.addoption("--update-durations", action="store_true", help="write how long each file took, for the order")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(LongestFirst(update=config.getoption("update_durations")))
