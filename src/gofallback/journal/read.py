"""Reads journals: typed entries, and the last hash. A controller's and a host's have the same form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gofallback.journal.chain import RESERVED, parse, split
from gofallback.journal.writer import Head

FILE = "journal.jsonl"


@dataclass(frozen=True)
class Entry:
    """One line of a journal."""

    number: int
    """Its place in the file, from 1."""
    seq: int
    at: datetime | None
    """None: the time is not valid."""
    run: str
    event: str
    host: str | None
    service: str | None
    data: Mapping[str, Any]
    """The event's own keys."""
    hash: str
    intact: bool
    """Whether its hash is that of its bytes; `verify` checks the lines before and after."""


def entries(content: bytes) -> list[Entry]:
    """The valid lines of a journal; `verify` names the others.

    Args:
        content: bytes of a ``journal.jsonl``, of the controller or of a host.
    """
    return list(_entries(content))


def _entries(content: bytes) -> Iterator[Entry]:
    for number, raw in enumerate(split(content), 1):
        line = parse(raw, number)
        if line is None:
            continue
        values = line.values
        own = {key: value for key, value in values.items() if key not in RESERVED | {"host", "service"}}
        yield Entry(
            number=number,
            seq=line.seq,
            at=_time(values.get("at")),
            run=str(values.get("run", "")),
            event=str(values["event"]),
            host=_text(values.get("host")),
            service=_text(values.get("service")),
            data=own,
            hash=line.stated,
            intact=line.intact,
        )


def about(found: list[Entry], host: str | None) -> list[Entry]:
    """The entries about a host, and those about none; without a host all of them."""
    return [entry for entry in found if host is None or entry.host in (None, host)]


def last_head(runs: Path, *, before: str | None = None) -> Head | None:
    """The end of the journal of a controller's latest run.

    Args:
        runs: ``$GOFALLBACK_HOME/runs``.
        before: only runs whose id sorts before this one.

    Raises:
        OSError: a journal cannot be read.
    """
    names = sorted((path.parent.name for path in runs.glob(f"*/{FILE}")), reverse=True)
    for name in names:
        if before is not None and name >= before:
            continue
        lines = split((runs / name / FILE).read_bytes())
        last = next((line for raw in reversed(lines) if (line := parse(raw)) is not None), None)
        if last is not None:
            return Head(run=name, lines=len(lines), hash=last.stated)
    return None


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
