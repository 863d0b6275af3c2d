"""``gofallback continue`` and ``gofallback stop``: a person's word for a rollout that pauses between two waves."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gofallback.controller.identity import who_runs
from gofallback.controller.manual_gate import answer_gate
from gofallback.controller.paths import Home

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def register(commands: Commands) -> None:
    """Add the commands."""
    for word, text in (
        ("continue", "let a rollout that waits for a word begin its next wave"),
        ("stop", "end a rollout that waits for a word; what becomes of its targets is said by `rollout.revert`"),
    ):
        command = commands.add_parser(word, help=text, description=text)
        command.add_argument("name", nargs="?", metavar="RUN", help="id of the run, or how it begins; default: the one")
        command.set_defaults(run=_give, word=word)


def _give(given: argparse.Namespace) -> int:
    asked = answer_gate(Home.default().root / "runs", given.name, given.word, who_runs())
    print(f"{asked.run}: {given.word} (it asked at {asked.since}: {asked.question})")
    return 0
