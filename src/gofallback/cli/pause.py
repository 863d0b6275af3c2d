"""``gofallback continue`` and ``gofallback stop``: a person's answer to a rollout that pauses between two waves."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gofallback.cli.command import add_command
from gofallback.controller.identity import user_at_host
from gofallback.controller.manual_gate import Answer, answer_gate
from gofallback.controller.paths import Home

if TYPE_CHECKING:
    from gofallback.cli.command import Commands


def register(commands: Commands) -> None:
    """Add the commands."""
    for name, run, text in (
        ("continue", _continue, "let a rollout that waits for an answer begin its next wave"),
        ("stop", _stop, "end a rollout that waits for an answer; `rollout.revert` decides about its targets"),
    ):
        command = add_command(commands, name, run, text, text)
        command.add_argument("name", nargs="?", metavar="RUN", help="id of the run, or how it begins; default: the one")


def _continue(given: argparse.Namespace) -> int:
    return _answer(given.name, "continue")


def _stop(given: argparse.Namespace) -> int:
    return _answer(given.name, "stop")


def _answer(run: str | None, answer: Answer) -> int:
    question = answer_gate(Home.default().runs, run, answer, user_at_host())
    print(f"{question.run}: {answer} (question of {question.since}: {question.question})")
    return 0
