"""The hash chain of a journal: a line has the hash of the line before and its own. Pure.

A line is ``HEAD,"hash":"HEX"}``: HEX is the SHA-256 of HEAD, the line's own bytes before ``,"hash"``. No canonical form
of JSON is needed, so this, the agent (Go) and ``sha256sum`` agree (docs/journal.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

#: ``prev`` of the first line.
ZERO = "0" * 64
_MARK = b',"hash":"'
_TAIL = len(_MARK) + 64 + len(b'"}')
#: Keys of the chain itself; an event cannot use these names.
RESERVED = frozenset({"prev", "seq", "at", "run", "event", "hash"})


@dataclass(frozen=True)
class Draft:
    """The content of a line."""

    at: datetime
    """Aware."""
    event: str
    """Its name in docs/journal.md."""
    host: str | None
    """The host it is about, or None."""
    service: str | None
    """The service it is about, or None."""
    data: Mapping[str, Any]
    """The event's own keys, none of ``RESERVED``; values that JSON has no type for become text."""


def seal(prev: str, seq: int, run: str, draft: Draft) -> tuple[bytes, str]:
    """One line of a journal.

    Args:
        prev: hash of the line before; ``ZERO`` for the first.
        seq: its number, from 1.
        run: id of the run that writes it.
        draft: its content.

    Returns:
        The line with its newline, and its hash.

    Raises:
        ValueError: data with a key of ``RESERVED``.
    """
    if taken := RESERVED & draft.data.keys():
        raise ValueError(f"{', '.join(sorted(taken))}: is a key of the chain itself; an event cannot use it")
    head = {"prev": prev, "seq": seq, "at": stamp(draft.at), "run": run, "event": draft.event}
    about = {key: value for key, value in (("host", draft.host), ("service", draft.service)) if value is not None}
    # A lone surrogate (a file name that is not UTF-8) has no UTF-8 form: it becomes "?".
    text = json.dumps({**head, **about, **draft.data}, ensure_ascii=False, separators=(",", ":"), default=str)
    content = text[:-1].encode("utf-8", "replace")
    digest = hashlib.sha256(content).hexdigest()
    return content + _MARK + digest.encode() + b'"}\n', digest


def stamp(at: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Line:
    """One line in the form of a journal's."""

    number: int
    """Its place in the file, from 1."""
    seq: int
    prev: str
    stated: str
    """The hash that is written in it."""
    actual: str
    """The hash of its bytes."""
    values: Mapping[str, Any]
    content: bytes
    """What is hashed."""

    def was_after(self, other: Line) -> bool:
        """Whether this line followed ``other`` when it was written: only its ``prev`` was edited since."""
        content = self.content.replace(self.prev.encode(), other.stated.encode(), 1)
        return bool(self.prev) and hashlib.sha256(content).hexdigest() == self.stated

    @property
    def intact(self) -> bool:
        """Whether its bytes are those that were written."""
        return self.stated == self.actual


def parse(raw: bytes, number: int = 0) -> Line | None:
    """A line (without its newline); None when it is cut, overwritten, or no line of a journal."""
    head, tail = raw[:-_TAIL], raw[-_TAIL:]
    if not tail.startswith(_MARK) or not tail.endswith(b'"}'):
        return None
    try:
        values = json.loads(raw)
        stated = tail[len(_MARK) : -2].decode("ascii")
    except ValueError:
        return None
    if not isinstance(values, dict) or not isinstance(values.get("event"), str):
        return None
    seq, prev = values.get("seq"), values.get("prev")
    if not isinstance(seq, int) or isinstance(seq, bool) or not isinstance(prev, str):
        return None
    return Line(number, seq, prev, stated, hashlib.sha256(head).hexdigest(), values, head)


def split(content: bytes) -> list[bytes]:
    """The lines of a file, including a last one without its newline."""
    lines = content.split(b"\n")
    return lines[:-1] if not lines[-1] else lines
