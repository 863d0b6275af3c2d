"""Freeze windows: times in which nothing is rolled out. Pure: the clock is passed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from gofallback.model.base import Line, Strict

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: Most windows in a row that are followed to find the end of a freeze: a year of days.
_MOST_WINDOWS = 366


def _moment(value: object) -> object:
    """RFC 3339 with an offset: without an offset it would be another time on another controller."""
    if not isinstance(value, str):
        return value
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError("should be a time with an offset such as 2026-12-23T18:00:00+01:00")
    return found


Moment = Annotated[datetime, BeforeValidator(_moment)]


class FreezeOnce(Strict):
    """A single freeze, such as a holiday."""

    name: Line = Field(description="its name, for the message of a refused run")
    from_: Moment = Field(alias="from", description="when it begins: a time with an offset (RFC 3339)")
    until: Moment = Field(description="when it ends: a time with an offset (RFC 3339)")

    @model_validator(mode="after")
    def _forwards(self) -> FreezeOnce:
        if self.until <= self.from_:
            raise ValueError(f"until: should be after from ({self.from_.isoformat()}), got {self.until.isoformat()}")
        return self

    def around(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Begin and end, whatever the time."""
        yield self.from_, self.until


class FreezeWeekly(Strict):
    """A freeze of every week, such as each weekend; it begins on each of its weekdays."""

    name: Line = Field(description="its name, for the message of a refused run")
    weekdays: Annotated[list[Weekday], Field(min_length=1)] = Field(description="days on which it begins")
    from_: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(
        alias="from", description="when it begins on each of these days"
    )
    until: Annotated[str, Field(pattern=r"^((mon|tue|wed|thu|fri|sat|sun) )?([01]\d|2[0-3]):[0-5]\d$")] = Field(
        description="when it ends: the first such time after its begin, on the same or the next day; with a weekday: "
        "on that day"
    )
    timezone: Line = Field(
        default="UTC", description="time zone of `from` and `until`, such as Europe/Berlin (summer time is observed)"
    )

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            _zone(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                "should be a time zone such as Europe/Berlin that is installed on this controller (package tzdata)"
            ) from None
        return value

    def around(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Begin and end of every freeze that begins in the eight days before ``now``, on that day or the next."""
        zone = _zone(self.timezone)
        today = now.astimezone(zone).date()
        for back in range(8, -2, -1):
            day = today - timedelta(days=back)
            if WEEKDAYS[day.weekday()] in self.weekdays:
                yield self._on(day, zone)

    def _on(self, day: date, zone: tzinfo) -> tuple[datetime, datetime]:
        """A time that the clock shows twice, or never, is read so that the freeze is longer."""
        weekday, _, clock = self.until.rpartition(" ")
        begin, end = time.fromisoformat(self.from_), time.fromisoformat(clock)
        days = (WEEKDAYS.index(weekday) - day.weekday()) % 7 if weekday else 0
        if days == 0 and end <= begin:
            days = 7 if weekday else 1
        last = day + timedelta(days=days)
        return _both(day, begin, zone)[0], _both(last, end, zone)[1]


def _kind(value: Any) -> str:
    weekly = "weekdays" in value if isinstance(value, Mapping) else isinstance(value, FreezeWeekly)
    return "@weekly" if weekly else "@once"


Window = Annotated[
    Annotated[FreezeOnce, Tag("@once")] | Annotated[FreezeWeekly, Tag("@weekly")],
    Discriminator(_kind),
]


@dataclass(frozen=True)
class Frozen:
    """A freeze that is active."""

    name: str
    until: datetime | None
    """The end, after all windows that follow without a gap, in the zone of the last one; None: not within a year of
    windows."""

    def __str__(self) -> str:
        if self.until is None:
            return f"'{self.name}', which has no end"
        utc = f" ({self.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ})" if self.until.utcoffset() else ""
        return f"'{self.name}' until {self.until:%a %Y-%m-%d %H:%M} {self.until:%Z}{utc}"


def active(windows: Iterable[FreezeOnce | FreezeWeekly], now: datetime) -> Frozen | None:
    """The freeze that is active at a time; of several the last to end.

    Args:
        windows: of the environment.
        now: aware. The begin of a window belongs to it, its end does not.
    """
    every = list(windows)
    found = _last(every, now)
    if found is None:
        return None
    name, end = found
    for _ in range(_MOST_WINDOWS):
        following = _last(every, end)
        if following is None:
            return Frozen(name, end)
        end = following[1]
    return Frozen(name, None)


def _last(windows: list[FreezeOnce | FreezeWeekly], now: datetime) -> tuple[str, datetime] | None:
    on = [
        (window.name, end)
        for window in windows
        for begin, end in window.around(now)
        # In UTC: Python compares two times of one zone by the wall clock (PEP 495).
        if begin.astimezone(UTC) <= now.astimezone(UTC) < end.astimezone(UTC)
    ]
    return max(on, key=lambda one: one[1].astimezone(UTC), default=None)


def _both(day: date, at: time, zone: tzinfo) -> list[datetime]:
    """The first and the last moment at which the wall clock shows this time, or would without its jump."""
    moments = [datetime.combine(day, at, tzinfo=zone).replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    return [moment.astimezone(zone) for moment in sorted(moments)]


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)  # UTC also where no tzdata is installed
