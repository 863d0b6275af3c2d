"""The agent's own Go tests, with the toolchain the lab has."""

from __future__ import annotations

import pytest

from tests.lab.agent_target import AGENT_SOURCE, go

pytestmark = pytest.mark.lab


def test_the_agent_passes_vet_its_unit_tests_and_gofmt() -> None:
    go("vet", "./...", cwd=AGENT_SOURCE)
    go("test", "./...", cwd=AGENT_SOURCE)


@pytest.mark.parametrize("goarch", ["arm64", "386"])
def test_the_agent_builds_for_other_targets(goarch: str) -> None:
    go("build", "-o", "/dev/null", ".", cwd=AGENT_SOURCE, goarch=goarch)
