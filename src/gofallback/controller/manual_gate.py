"""The gate of a rollout that pauses for a person: question and answer are files in the run's folder.

``waiting.json``: the run waits, with the question. ``word.json``: the answer to that question. The answer to an earlier
question of the same run does not count.
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

from pydantic import ConfigDict, Field, ValidationError

from gofallback.errors import GofallbackError
from gofallback.model.base import Strict

Answer = Literal["continue", "stop"]

_QUESTION_FILE, _ANSWER_FILE = "waiting.json", "word.json"


class GateError(GofallbackError):
    """An answer that no run waits for, or a gate that cannot be written; one line."""


class Question(Strict):
    """The question that a run waits with."""

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

    model_config = ConfigDict(populate_by_name=True)

    question: str
    """Id of the question."""
    answer: Answer = Field(alias="word")
    who: str
    """user@host."""
    at: str
    """RFC 3339, UTC."""


def open_gate(run_folder: Path, question: str) -> None:
    """Record that the run waits; the answer to an earlier question is removed.

    Args:
        run_folder: the run's, below ``$GOFALLBACK_HOME/runs``.
        question: one line, shown to the person who answers it.

    Raises:
        GateError: the folder cannot be written.
    """
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        (run_folder / _ANSWER_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise GateError(f"{run_folder}: cannot be written ({error.strerror})") from None
    record = Question(
        id=secrets.token_hex(8),
        run=run_folder.name,
        question=question,
        since=_now(),
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    _write(run_folder / _QUESTION_FILE, record)


def wait_for_answer(run_folder: Path, timeout: float, poll: float = 0.25) -> GateAnswer | None:
    """Wait for the answer to the current question; other greenlets run meanwhile.

    Args:
        run_folder: the run's.
        timeout: seconds.
        poll: seconds between two reads.

    Returns:
        The answer; None when it did not come in time, or when there is no question.
    """
    import gevent  # slow to load, and `gofallback continue` and `stop` do not need it

    question = _question(run_folder)
    deadline = time.monotonic() + timeout
    while question is not None:
        answer = _answer(run_folder)
        if answer is not None and answer.question == question.id:
            return answer
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        gevent.sleep(min(poll, left))
    return None


def close_gate(run_folder: Path) -> None:
    """Record that the run does not wait any more."""
    for name in (_QUESTION_FILE, _ANSWER_FILE):
        with contextlib.suppress(OSError):
            (run_folder / name).unlink()


def answer_gate(runs: Path, run: str | None, answer: Answer, who: str) -> Question:
    """Answer a run that waits.

    Args:
        runs: folder of all runs.
        run: its id, or how it begins; None: the only one that waits.
        answer: what the run does next.
        who: user@host.

    Returns:
        The question.

    Raises:
        GateError: no run waits, several do, the question is already answered, or the controller has ended.
    """
    question = _select(_waiting(runs), run, runs)
    if not _is_alive(question):
        raise GateError(
            f"{question.run}: its controller has ended (process {question.pid} is gone), so no answer reaches it; "
            f"go on with deploys/rollout.py --data resume={question.run}, or back with --data abort={question.run}"
        )
    folder = runs / question.run
    earlier = _answer(folder)
    if earlier is not None and earlier.question == question.id:
        raise GateError(f"{question.run}: {earlier.who} already answered '{earlier.answer}' at {earlier.at}")
    _write(folder / _ANSWER_FILE, GateAnswer(question=question.id, answer=answer, who=who, at=_now()), replace=False)
    return question


def _select(waiting: list[Question], run: str | None, runs: Path) -> Question:
    if run is not None:
        matching = [one for one in waiting if one.run == run] or [one for one in waiting if one.run.startswith(run)]
        if not matching:
            exists = any(folder.name.startswith(run) for folder in runs.glob("*")) if runs.is_dir() else False
            problem = "this run does not wait for an answer" if exists else "no such run"
            raise GateError(f"{run}: {problem}; {_list(waiting)}")
    else:
        if not waiting:
            raise GateError(f"no run waits for an answer in {runs}; GOFALLBACK_HOME names another place")
        matching = [one for one in waiting if _is_alive(one)] or waiting
    if len(matching) > 1:
        raise GateError(f"several runs {'begin like this' if run else 'wait'}, name one; {_list(matching)}")
    return matching[0]


def _list(waiting: list[Question]) -> str:
    return f"waiting: {', '.join(f'{one.run} ({one.question})' for one in waiting) or 'none'}"


def _waiting(runs: Path) -> list[Question]:
    found = [_question(file.parent) for file in sorted(runs.glob(f"*/{_QUESTION_FILE}"))]
    return [one for one in found if one is not None]


def _is_alive(question: Question) -> bool:
    """Whether the run's process exists; assumed for a process of another host."""
    if question.host != socket.gethostname():
        return True
    try:
        os.kill(question.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _question(folder: Path) -> Question | None:
    try:
        found = Question.model_validate_json((folder / _QUESTION_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.run == folder.name else None


def _answer(folder: Path) -> GateAnswer | None:
    try:
        return GateAnswer.model_validate_json((folder / _ANSWER_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _write(path: Path, record: Strict, *, replace: bool = True) -> None:
    """Write a file that appears whole.

    Args:
        path: where.
        record: its content.
        replace: false: an existing file stays, such as an answer that came a moment earlier.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        part.write_text(record.model_dump_json(by_alias=True) + "\n", encoding="utf-8")
        if replace:
            part.replace(path)
        else:
            os.link(part, path)
    except FileExistsError:
        raise GateError(f"{path.parent.name}: somebody else answered a moment ago") from None
    except OSError as error:
        raise GateError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
