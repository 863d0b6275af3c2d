"""A rollout that pauses for a person's word: the question and the word lie in the run's folder.

``waiting.json``: the run waits. ``word.json``: the word for that very question; one for an earlier question of the
same run does not count.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from gofallback.errors import GofallbackError
from gofallback.model.base import Strict

WAITING, WORD = "waiting.json", "word.json"


class GateError(GofallbackError):
    """A word that nobody waits for; one line."""


class Question(Strict):
    """What a run waits for."""

    id: str
    run: str
    question: str
    since: str
    """RFC 3339, UTC."""
    host: str
    pid: int
    """Of the run, on that host."""


class GateAnswer(Strict):
    """A person's answer."""

    question: str
    """Its id."""
    word: Literal["continue", "stop"]
    who: str
    """user@host."""
    at: str
    """RFC 3339, UTC."""


def open_gate(run_folder: Path, question: str) -> None:
    """Say that the run waits; a word for an earlier question is forgotten.

    Args:
        run_folder: the run's, below ``$GOFALLBACK_HOME/runs``.
        question: one line, shown to whoever lists or answers it.

    Raises:
        WordError: the disk refuses.
    """
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        (run_folder / WORD).unlink(missing_ok=True)
    except OSError as error:
        raise GateError(f"{run_folder}: cannot be written ({error.strerror})") from None
    asked = Question(
        id=secrets.token_hex(8),
        run=run_folder.name,
        question=question,
        since=_now(),
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    _write(run_folder / WAITING, asked)


def wait_for_answer(run_folder: Path, timeout: float, poll: float = 0.25) -> GateAnswer | None:
    """Wait for a person's word on what was asked last; other greenlets go on meanwhile.

    Args:
        run_folder: the run's.
        timeout: seconds.
        poll: seconds between two looks.

    Returns:
        The word; None when none came in time, or nothing was asked.
    """
    import gevent  # not for the commands of cli_word: it takes a while to load

    asked = _question(run_folder)
    deadline = time.monotonic() + timeout
    while asked is not None:
        word = _word(run_folder)
        if word is not None and word.question == asked.id:
            return word
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        gevent.sleep(min(poll, left))
    return None


def close_gate(run_folder: Path) -> None:
    """Say that the run waits no more."""
    for name in (WAITING, WORD):
        with contextlib.suppress(OSError):
            (run_folder / name).unlink()


def answer_gate(runs: Path, run: str | None, word: Literal["continue", "stop"], who: str) -> Question:
    """Give a word to a run that waits.

    Args:
        runs: folder of all runs.
        run: its id, or how it begins; None: the only one that waits.
        word: the word.
        who: user@host.

    Returns:
        The question it answers.

    Raises:
        WordError: nothing waits, several do, it has its word already, or its controller is gone.
    """
    asked = _chosen(_waiting(runs), run, runs)
    if not _alive(asked):
        raise GateError(
            f"{asked.run}: its controller has ended (process {asked.pid} is gone), so nobody would hear it; "
            f"go on with deploys/rollout.py --data resume={asked.run}, or back with --data abort={asked.run}"
        )
    folder = runs / asked.run
    before = _word(folder)
    if before is not None and before.question == asked.id:
        raise GateError(f"{asked.run}: {before.who} said '{before.word}' already, at {before.at}")
    _write(folder / WORD, GateAnswer(question=asked.id, word=word, who=who, at=_now()), anew=True)
    return asked


def _chosen(waiting: list[Question], run: str | None, runs: Path) -> Question:
    if run is not None:
        named = [one for one in waiting if one.run == run] or [one for one in waiting if one.run.startswith(run)]
        if not named:
            there = any(folder.name.startswith(run) for folder in runs.glob("*")) if runs.is_dir() else False
            problem = "this run does not wait for a word" if there else "no such run"
            raise GateError(f"{run}: {problem}; {_listed(waiting)}")
    else:
        named = waiting
        if not named:
            raise GateError(f"no run waits for a word in {runs}; GOFALLBACK_HOME names another place")
        alive = [one for one in named if _alive(one)]
        named = alive or named
    if len(named) > 1:
        raise GateError(f"several runs {'begin so' if run else 'wait'}, name one; {_listed(named)}")
    return named[0]


def _listed(waiting: list[Question]) -> str:
    return f"waiting: {', '.join(f'{one.run} ({one.question})' for one in waiting) or 'none'}"


def _waiting(runs: Path) -> list[Question]:
    found = [_question(file.parent) for file in sorted(runs.glob(f"*/{WAITING}"))]
    return [one for one in found if one is not None]


def _alive(asked: Question) -> bool:
    """Whether the run's process is there, as far as this host can tell."""
    if asked.host != socket.gethostname():
        return True
    try:
        os.kill(asked.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _question(folder: Path) -> Question | None:
    try:
        found = Question.model_validate_json((folder / WAITING).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.run == folder.name else None


def _word(folder: Path) -> GateAnswer | None:
    try:
        return GateAnswer.model_validate_json((folder / WORD).read_bytes())
    except (OSError, ValidationError):
        return None


def _write(path: Path, what: Strict, *, anew: bool = False) -> None:
    """Write a file that appears whole.

    Args:
        path: where.
        what: its content.
        anew: never replace the word of somebody who was a moment earlier.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        part.write_text(what.model_dump_json() + "\n", encoding="utf-8")
        if anew:
            os.link(part, path)
        else:
            part.replace(path)
    except FileExistsError:
        raise GateError(f"{path.parent.name}: somebody else gave a word just now") from None
    except OSError as error:
        raise GateError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
