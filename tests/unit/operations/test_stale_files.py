"""What killed runs have left on a builder, and nothing else, is known by its name."""

from __future__ import annotations

import time
from pathlib import Path

from gofallback.operations.source import Checkout
from gofallback.operations.stale_files import new_mark, stale_names
from tests.unit.gobuild.test_plan import ROOT, source


def test_two_runs_use_no_name_in_common() -> None:
    one, other = (Checkout(source(), ROOT, "git", Path("scratch")) for _ in range(2))
    assert one.tree == other.tree
    names = [[run.temporary, run.beside("hello", ".bundle"), run.beside("mirror", ".git")] for run in (one, other)]
    assert len({name for run in names for name in run}) == 6


def test_only_what_a_run_left_a_day_ago_is_removed() -> None:
    now, work = time.time(), Checkout(source(), ROOT, "git", Path("scratch"))
    made = [work.temporary, work.beside("hello", ".bundle"), work.beside("hello", ".bundle.refs")]
    names = [path.rpartition("\\")[2] for path in made]
    names += [f"{names[1]}.gofallback-part", f".{names[1]}.gofallback-part"]  # Windows; Linux
    foreign = ["go-build123456", "gofallback-ab12.cmd", "build-0123456789abcdef", "generated-0123456789abcdef", "x"]
    foreign += ["hello-0123456789ab", "sysroot-0123456789abcdef-01234567"]
    assert stale_names([*names, *foreign], now + 80_000) == []
    assert stale_names([*names, *foreign], now + 90_000) == names
    assert len(new_mark()) == 12
