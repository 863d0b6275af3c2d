"""The files that version 0.1.0 made (tests/data/v0.1.0/README.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gofallback.release.state import TargetState
from gofallback.release.state_parser import parse
from tests.paths import PROJECT
from tests.unit.services import service

DATA = PROJECT / "tests" / "data" / "v0.1.0"


def table(name: str) -> dict[str, dict[str, Any]]:
    """What 0.1.0 read in its files: case to values."""
    found: dict[str, dict[str, Any]] = json.loads((DATA / f"{name}.json").read_text())
    return found


RUNS, TARGETS, ANSWERS = table("runs"), table("targets"), table("agent")


def journal_of(case: str) -> Path:
    """The controller's journal of a run."""
    return DATA / "runs" / case / "journal.jsonl"


def state_of(case: str) -> TargetState:
    """The state of a target, as today's code parses it."""
    return parse((DATA / "targets" / f"{case}.txt").read_text().splitlines(), [service()])
