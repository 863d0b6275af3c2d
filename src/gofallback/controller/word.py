"""A person's word to a run that waits between two waves: a file in the run's folder, so that any shell can give it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

_WAITING = "waiting.json"
_WORD = "word.json"


@dataclass(frozen=True)
class Word:
    """What was said, by whom, when."""

    word: Literal["continue", "stop"]
    who: str
    """user@host."""
    at: str
    """RFC 3339, UTC."""


def ask(run_folder: Path, question: str) -> None:
    """Say that the run waits for a word; one that was given before does not count."""
    run_folder.mkdir(parents=True, exist_ok=True)
    (run_folder / _WORD).unlink(missing_ok=True)
    _write(run_folder / _WAITING, {"question": question, "since": _now(), "pid": os.getpid()})


def done(run_folder: Path) -> None:
    """The run waits no longer."""
    (run_folder / _WAITING).unlink(missing_ok=True)


def say(run_folder: Path, word: Literal["continue", "stop"], who: str) -> None:
    """Give the word; the last one given counts."""
    _write(run_folder / _WORD, asdict(Word(word, who, _now())))


def waiting(runs: Path) -> dict[str, str]:
    """The runs of a controller that wait for a word, and their question."""
    return {path.parent.name: str(_read(path).get("question", "")) for path in sorted(runs.glob(f"*/{_WAITING}"))}


def wait_for_word(run_folder: Path, timeout: float, poll: float = 0.25) -> Word | None:
    """Wait for the word.

    Args:
        run_folder: where `ask` was told to ask.
        timeout: seconds.
        poll: seconds between two looks.

    Returns:
        None when nobody said anything in time.
    """
    end = time.monotonic() + timeout
    while True:
        found = _read(run_folder / _WORD)
        if found.get("word") in ("continue", "stop"):
            return Word(found["word"], str(found.get("who", "unknown")), str(found.get("at", "")))  # type: ignore[arg-type]
        if time.monotonic() >= end:
            return None
        time.sleep(poll)


def _write(path: Path, content: dict[str, object]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(content) + "\n", encoding="utf-8")
    part.replace(path)


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
