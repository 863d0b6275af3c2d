"""The results of a benchmark run: figures, and goals to compare them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


class BenchError(Exception):
    """A measurement that failed, and why, in one line."""


@dataclass(frozen=True)
class Figure:
    """One quantity, measured several times.

    Args:
        key: short name, stable over versions.
        what: description.
        seconds: every measurement, in the order taken.
        round_trips: commands and file transfers of the busiest host in the last run, after connecting, or None.
        note: further remark.
        unit: `s`, or another one (`requests`) if the quantity is not a time.
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
        """The form in the results file."""
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
    """A figure and its limit.

    Args:
        key: short name.
        what: description.
        value: as measured.
        limit: greatest allowed value.
        unit: such as `x` (a ratio), `ms`, `round trips`.
        peer: both figures of the comparison, as text.
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
        """Whether the goal is met."""
        return self.value < self.limit if self.strict else self.value <= self.limit

    def as_json(self) -> dict[str, Any]:
        """The form in the results file."""
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
    """All results of one benchmark run."""

    about: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The form in the results file."""
        return {
            "schema_version": 1,
            "about": self.about,
            "figures": [figure.as_json() for figure in self.figures],
            "goals": [goal.as_json() for goal in self.goals],
        }
