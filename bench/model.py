"""What a benchmark run finds: figures, and the goals they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


class BenchError(Exception):
    """One line: what could not be measured, and why."""


@dataclass(frozen=True)
class Figure:
    """One thing measured several times.

    Args:
        key: short name, stable over versions.
        what: in words.
        seconds: every measurement, in the order taken.
        round_trips: commands and file transfers of the busiest host in the last run after connecting; None: no meaning.
        note: what else is good to know.
        unit: `s`; another one (`requests`) where what was measured is no time.
    """

    key: str
    what: str
    seconds: Sequence[float]
    round_trips: int | None = None
    note: str = ""
    unit: str = "s"

    @property
    def median(self) -> float:
        """Median in seconds."""
        return median(self.seconds)

    def as_json(self) -> dict[str, Any]:
        """The form that is kept."""
        return {
            "key": self.key,
            "what": self.what,
            "median_s": round(self.median, 5),
            "seconds": [round(one, 5) for one in self.seconds],
            "round_trips": self.round_trips,
            "note": self.note,
            **({"unit": self.unit} if self.unit != "s" else {}),
        }


@dataclass(frozen=True)
class Goal:
    """A figure held against a limit.

    Args:
        key: short name.
        what: in words.
        value: as measured.
        limit: the most it may be.
        unit: such as `x` (a ratio), `ms`, `round trips`.
        peer: what it was compared with, in words with its own figure.
        strict: the limit itself counts as missed ("faster than").
    """

    key: str
    what: str
    value: float
    limit: float
    unit: str
    peer: str = ""
    strict: bool = False

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value < self.limit if self.strict else self.value <= self.limit

    def as_json(self) -> dict[str, Any]:
        """The form that is kept."""
        return {
            "key": self.key,
            "what": self.what,
            "value": round(self.value, 4),
            "limit": self.limit,
            "unit": self.unit,
            "peer": self.peer,
            "met": self.met,
        }


@dataclass
class Findings:
    """Everything one benchmark run found."""

    about: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The form that is kept."""
        return {
            "schema_version": 1,
            "about": self.about,
            "figures": [figure.as_json() for figure in self.figures],
            "goals": [goal.as_json() for goal in self.goals],
        }
