"""Which file of tests a worker gets first: the longest, so that none is left alone with a long one at the end.

xdist's own order is by the number of tests, which puts a file of nine slow tests behind five hundred quick ones.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

#: Files of tests that share a fleet whose builder has built (`fleet` in tests/lab/conftest.py): a worker that gets one
#: of a pair gets the other too, so that two workers raise and build such a fleet, not three.
SHARED = {
    "tests/lab/test_emergency.py": "tests/lab/test_bad_day.py",
    "tests/lab/test_builds_taken_up.py": "tests/lab/test_stages.py",
}
#: File below tests/ to its seconds in `make test`; written by ``pytest --update-durations``.
DURATIONS = Path(__file__).with_name("durations.json")
#: A file of the lab that is not in there yet.
_UNKNOWN_LAB = 120.0


def below_tests(nodeid: str) -> str:
    """The file of a test, as DURATIONS names it."""
    return nodeid.partition("::")[0].removeprefix("tests/")


class SharedFleets(LoadFileScheduling):
    """``--dist loadfile`` in which some files go to a worker together."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return SHARED.get(file, file)


class LongestFirst:
    """Sorts tests by the length of their files, keeps xdist to that order, and measures the files."""

    def __init__(self, *, update: bool) -> None:
        self._update = update
        self._known: dict[str, float] = json.loads(DURATIONS.read_text())
        self._measured: Counter[str] = Counter()

    def seconds(self, file: str) -> float:
        """How long a file takes."""
        return self._known.get(file, _UNKNOWN_LAB if file.startswith("lab/") else 0.0)

    def _together(self, file: str) -> float:
        """How long all the files take that go to a worker with this one."""
        first = SHARED.get(f"tests/{file}", f"tests/{file}")
        members = [first, *(other for other, leader in SHARED.items() if leader == first)]
        return sum(self.seconds(below_tests(member)) for member in members)

    def pytest_configure(self, config: pytest.Config) -> None:
        config.option.loadscopereorder = False

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> SharedFleets | None:
        return SharedFleets(config, log) if config.getvalue("dist") == "loadfile" else None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: -self._together(below_tests(item.nodeid)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._measured[below_tests(report.nodeid)] += report.duration  # type: ignore[assignment]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        if config.getoption("durations"):
            terminalreporter.section("longest files")
            for file, seconds in self._measured.most_common(config.getoption("durations")):
                terminalreporter.line(f"{seconds:8.1f}s tests/{file} (expected {self.seconds(file):.0f}s)")
        if self._update:
            new = {file: round(seconds) for file, seconds in self._measured.items() if seconds >= 5}
            found = sorted({**self._known, **new}.items(), key=lambda one: (-one[1], one[0]))
            DURATIONS.write_text(json.dumps(dict(found), indent=2) + "\n")
