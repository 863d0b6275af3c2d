"""The Go tests of the helper that keeps builds, with the toolchain the lab has."""

from __future__ import annotations

import pytest

from tests.lab.agent_target import go
from tests.paths import PROJECT

pytestmark = pytest.mark.lab

SOURCE = PROJECT / "src/gofallback/keeper"


def test_the_helper_passes_vet_its_tests_and_gofmt() -> None:
    assert go("-l", ".", cwd=SOURCE, program="gofmt").stdout == ""
    go("vet", "./...", cwd=SOURCE)
    go("test", "./...", cwd=SOURCE)
