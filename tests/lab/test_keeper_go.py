"""The Go tests of the keeper, with the lab's toolchain."""

from __future__ import annotations

import pytest

from tests.lab.agent_target import go
from tests.paths import PROJECT

pytestmark = pytest.mark.lab

SOURCE = PROJECT / "src/gofallback/keeper"


def test_the_keeper_passes_vet_its_tests_and_gofmt() -> None:
    assert go("-l", ".", cwd=SOURCE, program="gofmt").stdout == ""
    go("vet", "./...", cwd=SOURCE)
    go("test", "./...", cwd=SOURCE)
