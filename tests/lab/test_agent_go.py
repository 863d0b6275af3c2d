"""The agent's own Go tests, with the toolchain the lab has."""

from __future__ import annotations

import pytest

from tests.lab.agent_target import AGENT_SOURCE, go

pytestmark = pytest.mark.lab


def test_the_agent_passes_vet_its_unit_tests_and_gofmt() -> None:
    assert go("-l", ".", cwd=AGENT_SOURCE, program="gofmt").stdout == ""
    go("vet", "./...", cwd=AGENT_SOURCE)
    go("test", "./...", cwd=AGENT_SOURCE)


def test_the_agent_builds_for_arm64_too() -> None:
    go("build", "-trimpath", "-buildvcs=false", "-o", "/dev/null", ".", cwd=AGENT_SOURCE, goarch="arm64")
