"""Leases under requests, disconnects, kills, reboots and late writes in any order: the real script, run by hypothesis.

What must hold after every step: one holder at a time, a number that never goes down and is never given to two runs, no
write of a run after another run got its number, and no lease that is held past its ttl.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gofallback.lease import holder
from gofallback.lease.script import FENCED, guard
from gofallback.runid import same_run
from tests.unit.examples import examples
from tests.unit.lease.test_script import TTL, Machine

#: Three runs and a continuation of the first.
RUNS = ("20261122T031244Z-000a", "20261122T031244Z-000a-r1", "20261122T031300Z-000b", "20261122T031400Z-000c")


class LeaseMachine(RuleBasedStateMachine):
    """One target, one service, four runs."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(Path(tempfile.mkdtemp(prefix="lease")))
        self.now = 1000.0
        self.machine.up(self.now)
        self.numbers: dict[str, int] = {}
        self.given: dict[int, str] = {}
        self.highest = 0
        self.holding: dict[str, subprocess.Popen[str]] = {}
        self.renewed: dict[str, float] = {}

    def teardown(self) -> None:
        self.machine.end()
        shutil.rmtree(self.machine.folder)

    def request(self, run: str, takeover: str | None = None) -> bool:
        answer = self.machine.take(run, {"hello": self.numbers.get(run, 0)}, takeover)
        if not answer.held:
            assert answer.busy or answer.fenced
            return False
        number = answer.numbers["hello"]
        assert number >= self.highest, "never goes down"
        assert self.given.setdefault(number, run) == run, "no number for two runs"
        self.highest, self.numbers[run], self.renewed[run] = number, number, self.now
        self.holding[run] = self.machine.keepers[-1]
        return True

    @initialize()
    def a_run_has_it(self) -> None:
        assert self.request(RUNS[0])

    @rule(run=st.sampled_from(RUNS))
    def requests(self, run: str) -> None:
        others = [
            other
            for other in self.holding
            if self.given.get(self.highest) == other and other != run and self.now - self.renewed[other] < TTL
        ]
        took = self.request(run)
        predecessor = bool(others) and same_run(others[0], run) and self.now - self.renewed[others[0]] >= 7
        if others and not predecessor:
            assert not took, "held by a living run"

    @rule(run=st.sampled_from(RUNS), named=st.sampled_from(RUNS))
    def takes_over(self, run: str, named: str) -> None:
        self.request(run, named)

    @rule(run=st.sampled_from(RUNS))
    def takes_over_from_the_last(self, run: str) -> None:
        last = self.given[self.highest]
        assert self.request(run, last) or self.numbers.get(run, 0) not in (0, self.highest)

    def _connected(self, pick: int) -> str:
        """One of the connected runs."""
        return sorted(self.holding)[pick % len(self.holding)]

    @precondition(lambda self: self.holding)
    @rule(pick=st.integers(0, 3))
    def sends_a_heartbeat(self, pick: int) -> None:
        run = self._connected(pick)
        line = self.machine.heartbeat(self.holding[run], "w")
        if self.numbers[run] == self.highest:
            assert line == "renewed\tw"
            self.renewed[run] = self.now
        else:
            assert holder.parse_fenced([line]) is not None
            del self.holding[run]

    @precondition(lambda self: self.holding)
    @rule(pick=st.integers(0, 3))
    def hangs_up(self, pick: int) -> None:
        run = self._connected(pick)
        self.machine.hang_up(self.holding.pop(run))
        if self.numbers[run] == self.highest:
            assert self.machine.line()[1] == "", "given back at once"

    @precondition(lambda self: self.holding)
    @rule(pick=st.integers(0, 3))
    def is_killed(self, pick: int) -> None:
        self.machine.die(self.holding.pop(self._connected(pick)))

    @rule(seconds=st.sampled_from([3.0, 7.0, 15.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.machine.up(self.now)

    @rule(uptime=st.sampled_from([2.0, 29.0, 31.0]))
    def reboots(self, uptime: float) -> None:
        self.machine.reboot()
        self.holding.clear()
        self.now = uptime
        self.machine.up(uptime)

    @rule(run=st.sampled_from(RUNS))
    def writes(self, run: str) -> None:
        number = self.numbers.get(run, 0)
        if not number:
            return
        script = guard("hello", number, "echo did", self.machine.paths)
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        assert (done.stdout == "did\n") is (number == self.highest)
        assert done.returncode == (0 if number == self.highest else FENCED)

    @invariant()
    def the_file_says_the_highest_number(self) -> None:
        if self.highest:
            number, holder, *_ = self.machine.line()
            assert int(number) == self.highest
            assert holder in ("", self.given[self.highest])


TestLeases = LeaseMachine.TestCase
TestLeases.settings = settings(
    max_examples=examples(12), stateful_step_count=14, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
