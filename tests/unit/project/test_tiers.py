"""`make check` is quick, and leaves out nothing but what needs a lab; `make test` is everything."""

from __future__ import annotations

import re

from hypothesis import settings

from tests.paths import PROJECT
from tests.unit.examples import QUICK, examples


def commands(target: str) -> str:
    """The commands of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (PROJECT / "Makefile").read_text(), re.M)
    assert found is not None, target
    return found[1]


def test_what_make_check_does_not_collect_needs_a_lab() -> None:
    assert commands("check-unit").rstrip().endswith(" tests/unit")
    others = [path for path in (PROJECT / "tests").rglob("test_*.py") if PROJECT / "tests" / "unit" not in path.parents]
    assert others
    for path in others:
        assert re.search(r"^pytestmark = .*\bpytest\.mark\.lab\b", path.read_text(), re.M), path


def test_make_test_generates_every_example_and_make_check_a_quarter() -> None:
    assert f"--hypothesis-profile={QUICK}" in commands("check-unit")
    assert "hypothesis" not in commands("test")
    quick = settings.get_current_profile_name() == QUICK
    assert examples(600) == (150 if quick else 600)
    assert settings.get_profile(QUICK).max_examples == 25
