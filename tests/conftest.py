"""Switches of the whole suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True)  # a wrapper runs before xdist's own hook, which reads the groups first thing
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Under several workers (`-n`) a file of tests stays with one of them, and so do all that share the fleet."""
    for item in items:
        shared = "fleet" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("fleet" if shared else item.path.stem))
    yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites tests/unit/golden from what is rendered now; look at `git diff` after it."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files from what is rendered now")
