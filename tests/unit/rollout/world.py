"""A small world for the property test of rollouts: targets that keep the rules of docs/agent.md and docs/leases.md.

Time goes in seconds. A target's clock is its uptime, as on a real one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gofallback.release.state import ReleaseState, ServiceState
from gofallback.runid import same_run
from tests.unit.targets import record, release, target

#: Seconds: the confirm window, a lease's time to live, the time without a renewal after which a run counts as dead for
#: its own continuation, and the time a gate takes.
WINDOW, TTL, SILENT, GATE = 12, 6, 2, 2
FIRST = "v1.0-11111111"


class LostError(Exception):
    """No answer; whether the target carried out the request is not known."""


class RefusedError(Exception):
    """The target refused, and changed nothing."""


class BrokenRuleError(AssertionError):
    """Something happened that must never happen, whatever fails."""


@dataclass
class Target:
    """One target and the agent on it."""

    name: str
    current: str = FIRST
    releases: dict[str, ReleaseState] = field(default_factory=lambda: {FIRST: release(FIRST)})
    sick: set[str] = field(default_factory=set)
    """Releases that are not healthy on this target."""
    ran: list[dict[str, Any]] = field(default_factory=lambda: [record("20260101T000000Z-0000", FIRST)])
    """The agent's records, oldest first."""
    uptime: int = 100
    reachable: bool = True
    number: int = 0
    holder: str = ""
    renewed: tuple[int, int] | None = None
    """Number and uptime."""
    writes: list[tuple[int, str]] = field(default_factory=list)
    """Number and run of every accepted write."""

    # -- its state ----------------------------------------------------------------------------------------------

    def state(self) -> ServiceState:
        ran = tuple(dict(one) for one in self.ran)
        return target(self.current, *self.releases.values(), ran=ran, well=self.current not in self.sick)

    @property
    def last(self) -> dict[str, Any]:
        return self.ran[-1]

    def free(self) -> bool:
        """Whether any run may take the lease."""
        return not self.holder or self._age_of_renewal() >= TTL

    def _age_of_renewal(self) -> int:
        return self.uptime - self.renewed[1] if self.renewed and self.renewed[0] == self.number else self.uptime

    # -- the lease ----------------------------------------------------------------------------------------------

    def take(self, run: str, before: int, takeover: str | None) -> int:
        if before and self.number > before:
            raise RefusedError(f"fenced: {self.holder} took over")
        if self.holder == run or (before and not self.holder):
            new = max(self.number, before)
        elif (
            self.free() or self.holder == takeover or (same_run(self.holder, run) and self._age_of_renewal() >= SILENT)
        ):  # fmt: skip
            new = self.next_number()
        else:
            raise RefusedError(f"busy: {self.holder}")
        self.number, self.holder, self.renewed = new, run, (new, self.uptime)
        return new

    def next_number(self) -> int:
        return self.number + 1

    def renew(self, run: str, number: int) -> None:
        if self.number != number or self.holder != run:
            raise RefusedError("fenced")
        self.renewed = (number, self.uptime)

    def give_back(self, run: str, number: int) -> None:
        if (self.number, self.holder) == (number, run):
            self.holder = ""

    def fenced(self, number: int) -> bool:
        return self.number > number

    def _write(self, run: str, number: int) -> None:
        if self.fenced(number):
            raise RefusedError(f"fenced: number {self.number}, yours {number}")
        if self.writes and (
            self.writes[-1][0] > number or (self.writes[-1][0] == number and self.writes[-1][1] != run)
        ):
            raise BrokenRuleError(f"{self.name}: {run} wrote with {number} after {self.writes[-1]}")
        self.writes.append((number, run))

    # -- the agent ----------------------------------------------------------------------------------------------

    def upload(self, run: str, number: int, name: str) -> None:
        self._write(run, number)
        self.releases.setdefault(name, release(name))

    def activate(self, run: str, number: int, name: str, window: int) -> None:
        self._write(run, number)
        if self.last["run_id"] == run and self.last["release"] == name:
            return
        if self.last["state"] == "intended":
            raise RefusedError("an agent is at work")
        previous = self.current
        if self.last["state"] == "provisional":  # superseded: its way back becomes ours
            self.last["state"], previous = "reverted", self.last["previous"]
        self.ran.append(
            record(run, name, previous, "intended") | {"window": window, "since": self.uptime, "fence": number}
        )
        self.current = name

    def confirm(self, run: str, number: int) -> str:
        self._write(run, number)
        if not same_run(self.last["run_id"], run):
            return self._ended(run)
        if self.last["state"] == "intended":
            raise RefusedError("nothing to confirm yet")
        if self.last["state"] == "provisional":
            if self.current in self.sick:
                self._back()
            else:
                self._good()
        return str(self.last["state"])

    def revert(self, run: str, number: int) -> str:
        self._write(run, number)
        if not same_run(self.last["run_id"], run):
            return self._ended(run)
        if self.last["state"] == "confirmed":
            raise RefusedError("it is confirmed; activate another release")
        if self.last["state"] in ("intended", "provisional"):
            self._back()
        return str(self.last["state"])

    def _ended(self, run: str) -> str:
        mine = [one for one in self.ran if same_run(one["run_id"], run)]
        if not mine:
            raise RefusedError(f"run {run} is not on this target")
        return str(mine[-1]["state"])

    def _good(self) -> None:
        self.last["state"] = "confirmed"
        self.releases[self.current] = release(self.current)

    def _back(self, bad: str | None = None) -> None:
        if bad:
            self.releases[self.current] = release(self.current, bad)
        self.last["state"], self.current = "reverted", self.last["previous"]

    # -- time and trouble ---------------------------------------------------------------------------------------

    def tick(self) -> None:
        self.uptime += 1
        last = self.last
        if last["state"] == "intended" and self.uptime - last["since"] >= GATE:
            if self.current in self.sick:
                self._back("unhealthy")
            elif last["window"]:
                last["state"], last["since"] = "provisional", self.uptime
            else:
                self._good()
        elif last["state"] == "provisional" and self.lapsed():
            self._back()

    def lapsed(self) -> bool:
        return bool(self.uptime - self._window_began() >= self.last["window"])

    def _window_began(self) -> int:
        """When the window began: at the end of the gate, or with the last renewal by the same run."""
        ended = not self.holder and self.number == self.last.get("fence")
        ours = self.renewed and self.renewed[0] == self.number
        ours = ours and (ended or same_run(self.holder, self.last["run_id"]))
        return max(int(self.last["since"]), self.renewed[1] if ours and self.renewed else 0)

    def reboot(self) -> None:
        self.uptime, self.renewed = 0, None
        if self.last["state"] == "intended":
            self._back()
        elif self.last["state"] == "provisional":
            self.last["since"] = 0
