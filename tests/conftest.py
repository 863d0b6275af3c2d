"""Switches of the whole suite."""

from __future__ import annotations

import pytest

from tests.unit.examples import register_profile

register_profile()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites tests/unit/release/golden from what is rendered now; look at `git diff` after it."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files from what is rendered now")
