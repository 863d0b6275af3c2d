"""What a cell of the matrix is, and what comes out of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Moment = Literal["upload", "gate", "provisional", "between", "confirm"]
MOMENTS: dict[Moment, str] = {
    "upload": "the first target has the new release's files",
    "gate": "the first target has switched, its gate has begun",
    "provisional": "the first target runs the new release, unconfirmed",
    "between": "the first wave has passed, the rollout pauses",
    "confirm": "every wave has passed, targets are being confirmed",
}

INVARIANTS = {
    "good": "every target that had a good release runs one and answers",
    "one": "the fleet is on one version, or the report names exactly the targets that are not, and why",
    "lease": "no lease is left past its expiry",
    "status": "the exit status tells the truth",
    "journal": "every journal verifies",
}

VERDICTS = {0: "done", 2: "refused", 3: "reverted", 4: "failed", 5: "partly"}


class CellError(Exception):
    """The cell could not be played: its moment never came, or the lab itself failed. One line."""


@dataclass(frozen=True)
class Command:
    """How one command of a controller ended."""

    what: str
    code: int
    output: str = field(repr=False, default="")

    @property
    def verdict(self) -> str:
        """The contract's word for its exit status."""
        return VERDICTS.get(self.code, "killed" if self.code < 0 else f"exit {self.code}")


@dataclass
class Cell:
    """One fault at one moment, and what became of it.

    Arguments:
        seconds: from the fault to the whole fleet on one version, for good; None: not within the time of the cell.
        verdicts: of each command, in the order they ended.
        versions: what each target runs in the end.
        problems: by invariant, one line each; nothing is there when all holds.
        hosts: targets that the fault befell.
    """

    fault: str
    moment: Moment
    verdicts: list[str] = field(default_factory=list)
    seconds: float | None = None
    took: float = 0.0
    wanted: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    error: str = ""
    said: list[str] = field(default_factory=list, repr=False)
    """What the commands printed, and the journals: for whoever has to find out why."""

    @property
    def holds(self) -> bool:
        """Whether it was played, and every invariant holds."""
        return not self.error and not self.problems

    @property
    def outcome(self) -> str:
        """In a few words: the last verdict, and the targets that are not with the others."""
        if self.error:
            return "not played"
        said = self.verdicts[-1] if self.verdicts else "?"
        kinds = sorted(set(self.versions.values()))
        if len(kinds) > 1:
            few = min(kinds, key=lambda kind: list(self.versions.values()).count(kind))
            said += f" ({', '.join(name for name, kind in self.versions.items() if kind == few)})"
        return said

    def as_json(self) -> dict[str, Any]:
        """The form that is kept."""
        kept = {key: value for key, value in asdict(self).items() if key != "said"}
        return {**kept, "outcome": self.outcome, "holds": self.holds}
