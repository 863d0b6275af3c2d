"""Follow a run's journal and say when a moment has come."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.model import CellError, Moment
from tests.lab.fleet import Running

Event = dict[str, Any]
LOOK = 0.005
"""Seconds between two looks at the journal."""


@dataclass
class Follower:
    """The events of the one run that a controller's home has, as they are written."""

    home: Path
    _file: Path | None = None
    _at: int = 0
    seen: list[Event] = field(default_factory=list)

    def news(self) -> Iterator[Event]:
        """Events since the last call."""
        if self._file is None:
            self._file = next(iter(sorted((self.home / "runs").glob("*/journal.jsonl"))), None)
        if self._file is None:
            return
        with self._file.open("rb") as stream:
            stream.seek(self._at)
            content = stream.read()
        whole, newline, _ = content.rpartition(b"\n")
        self._at += len(whole) + len(newline)
        for line in whole.splitlines():
            event: Event = json.loads(line)
            self.seen.append(event)
            yield event


def has_come(moment: Moment, event: Event) -> bool:
    """Whether an event is the moment."""
    kind = event["event"]
    match moment:
        case "upload":
            return bool(kind == "uploaded")
        case "gate":
            return bool(kind == "intended")
        case "provisional":
            return bool(kind == "provisional")
        case "between":
            return bool(kind == "pause")
        case "confirm":
            return bool(kind in ("decision", "confirmed"))


def await_moment(run: Running, follower: Follower, moment: Moment, seconds: float = 60) -> Event:
    """Wait for the moment; its event. CellError if the run ends or the time passes before."""
    end = time.monotonic() + seconds
    while True:
        ended = run.process.poll() is not None
        for event in follower.news():
            if has_come(moment, event):
                return event
        if ended or time.monotonic() > end:
            said = " | ".join(line for line in run.lines[-5:] if line.strip())
            raise CellError(f"{moment}: did not come; the rollout {'ended' if ended else 'goes on'}: {said}")
        time.sleep(LOOK)
