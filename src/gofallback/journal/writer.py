"""Writes the journal of one run: lines are appended and hash-chained, never changed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gofallback.errors import GofallbackError
from gofallback.journal.chain import ZERO, Draft, parse, seal, split
from gofallback.redact import redacted

#: Events written through to the disk, to survive a power cut. The others follow with the next of these.
DURABLE = frozenset(
    {"started", "wave", "decision", "takeover", "override", "ended", "confirmed", "reverted", "resumed", "aborted"}
)


class JournalError(GofallbackError):
    """The journal cannot be written, so the run does not begin."""


@dataclass(frozen=True)
class Head:
    """The end of a journal. A later record has it, as proof that nothing before was changed."""

    run: str
    lines: int
    hash: str


def _now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """Appends lines to one file. Safe for several greenlets, and for two processes that write the same run."""

    def __init__(
        self,
        path: Path | None,
        run_id: str,
        *,
        previous: Head | None = None,
        log: Callable[[str], None] | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        """Continue an existing file, or create one with the first event. Nothing is written before that.

        Args:
            path: ``runs/<run id>/journal.jsonl``; None: nothing is written (``--dry``).
            run_id: of the run that writes; a continuation's differs from that of the lines before.
            previous: end of the journal of this controller's previous run (``read.last_head``), for the first line.
            log: receives, once, that lines cannot be written and are kept in memory.
            now: the clock.
        """
        self.path = path
        self.run_id = run_id
        self._previous = previous
        self._log = log
        self._now = now
        self._lock = threading.RLock()
        self._waiting: list[Draft] = []
        self._size = self._seq = self._count = 0
        self._head = ZERO
        self._started = self._warned = False

    @classmethod
    def null(cls, run_id: str = "") -> Journal:
        """A journal that writes nothing, for a run that executes nothing."""
        return cls(None, run_id)

    @property
    def head(self) -> str:
        """Hash of the last written line; 64 zeros before the first."""
        return self._head

    @property
    def count(self) -> int:
        """Written lines, those of an earlier part of the run included."""
        return self._count

    @property
    def waiting(self) -> int:
        """Lines that are not written yet."""
        return len(self._waiting)

    def write(self, event: str, *, host: str | None = None, service: str | None = None, **data: Any) -> None:
        """Append one line.

        Args:
            event: one of docs/journal.md.
            host: the host it is about.
            service: the service it is about.
            data: the event's own keys; every text in it is redacted.

        Raises:
            JournalError: the first line of this journal cannot be written. Later lines are kept in memory and retried
                with the next one: a full disk of the controller does not end a rollout in the middle.
        """
        if self.path is None:
            return
        if not self._started and self._previous is not None:
            data = {**data, "previous_run": self._previous.run, "previous_head": self._previous.hash}
        with self._lock:
            self._waiting.append(Draft(self._now(), event, host, service, redacted(data)))
            problem = self._flush(self.path, durable=event in DURABLE)
            warned, self._warned = self._warned, self._warned or problem is not None
        if problem and self._log and not warned:
            self._log(f"{problem}; its lines are kept in memory, and retried with the next one")

    def _flush(self, path: Path, *, durable: bool) -> str | None:
        """Write all lines; the problem that keeps them in memory, or None."""
        try:
            with _opened(path) as descriptor:
                self._continue(descriptor)
                self._append(descriptor, durable=durable)
        except OSError as error:
            problem = f"{path}: the journal cannot be written ({error.strerror or error})"
            if not self._started:
                self._waiting.clear()
                raise JournalError(
                    f"{problem}; nothing was changed; make room or name another GOFALLBACK_HOME"
                ) from None
            return problem
        self._started = True
        return None

    def _continue(self, descriptor: int) -> None:
        """Continue after the last line in the file; another process may have written since."""
        size = os.fstat(descriptor).st_size
        if size == self._size:
            return
        lines = split(os.pread(descriptor, size, 0))
        intact = [line for number, raw in enumerate(lines, 1) if (line := parse(raw, number)) is not None]
        self._size, self._count = size, len(lines)
        self._head = intact[-1].stated if intact else ZERO
        self._seq = intact[-1].seq if intact else 0

    def _append(self, descriptor: int, *, durable: bool) -> None:
        content, head, seq = b"", self._head, self._seq
        if self._size and os.pread(descriptor, 1, self._size - 1) != b"\n":
            content = b"\n"  # a crash cut the last line: it stays as it is, and verify names it
        for draft in self._waiting:
            seq += 1
            line, head = seal(head, seq, self.run_id, draft)
            content += line
        written = 0
        try:
            written = os.write(descriptor, content)
            if written < len(content):
                raise OSError(28, "No space left on device")  # ENOSPC: a full disk ends in a short write
        except OSError:
            if written:
                os.ftruncate(descriptor, self._size)  # our own half line, which no one has read: the lock is held
            raise
        self._count += len(self._waiting)
        self._size, self._head, self._seq = self._size + written, head, seq
        self._waiting.clear()
        if durable:
            with contextlib.suppress(OSError):  # some file systems have no fsync; the line is written
                os.fsync(descriptor)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The file, opened for appending and locked for one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
