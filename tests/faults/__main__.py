"""`python -m tests.faults`: play the matrix, or a part of it, draw it, keep it."""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from lab.lab import end
from lab.model import LabError
from tests.faults import show
from tests.faults.faults import FAULTS
from tests.faults.ground import Ground
from tests.faults.model import MOMENTS, Cell, Moment
from tests.faults.play import play


def main() -> int:
    """0: every invariant holds in every cell; 1: one does not, or a cell could not be played; 2: no lab."""
    given = _arguments()
    wanted = [
        (f, m) for f in FAULTS for m in MOMENTS if f in (given.fault or FAULTS) and m in (given.moment or MOMENTS)
    ]
    console = Console(width=max(150, Console().width)) if not sys.stdout.isatty() else Console()
    began = time.monotonic()
    try:
        cells = _play_all(wanted, given.labs, given.lab, console, given.logs)
    except LabError as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    cells.sort(key=lambda cell: wanted.index((cell.fault, cell.moment)))
    minutes = (time.monotonic() - began) / 60
    console.print(show.table(cells))
    for cell in cells:
        for name, text in (cell.problems | ({"not played": cell.error} if cell.error else {})).items():
            console.print(f"[red]{cell.fault} / {cell.moment}[/]: {name}: {text}", highlight=False)
    about = _about(minutes)
    median = statistics.median(cell.took for cell in cells)
    console.print(f"{len(cells)} cells in {minutes:.1f} minutes, {median:.1f} s a cell (median)")
    if given.json:
        given.json.write_text(json.dumps({"about": about, "cells": [c.as_json() for c in cells]}, indent=2) + "\n")
    if given.docs:
        show.into_docs(cells, about)
    return 0 if all(cell.holds for cell in cells) else 1


def _play_all(
    wanted: list[tuple[str, Moment]], labs: int, name: str, console: Console, logs: Path | None
) -> list[Cell]:
    """Play cell after cell, in several labs at once if asked to."""
    waiting: queue.SimpleQueue[tuple[str, Moment]] = queue.SimpleQueue()
    for cell in wanted:
        waiting.put(cell)
    played: list[Cell] = []

    def work(ground: Ground) -> None:
        while True:
            try:
                fault, moment = waiting.get_nowait()
            except queue.Empty:
                return
            turn = list(FAULTS).index(fault) + list(MOMENTS).index(moment)
            cell = play(ground, fault, moment, resume=turn % 2 == 0)
            played.append(cell)
            if logs:
                logs.mkdir(parents=True, exist_ok=True)
                (logs / f"{fault}-{moment}.txt").write_text("\n".join([*cell.said, cell.error]))
            console.print(show.line(cell, len(played), len(wanted)))

    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        names = [f"{name}{number or ''}" for number in range(min(labs, len(wanted)))]
        try:
            grounds = [Ground.up(one, Path(scratch, one)) for one in names]
            threads = [threading.Thread(target=work, args=[ground]) for ground in grounds]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            for one in names:
                end(one)
    return played


def _about(minutes: float) -> dict[str, object]:
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], check=False, capture_output=True, text=True)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit.stdout.strip(),
        "cores": os.cpu_count(),
        "minutes": round(minutes, 1),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=main.__doc__)
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only this one (may be given again)")
    parser.add_argument("--moment", action="append", choices=MOMENTS, help="only this one (may be given again)")
    parser.add_argument("--labs", type=int, default=2, help="labs that are played in at once (default: 2)")
    parser.add_argument("--lab", default="fault", help="name of the lab, at most 5 characters (default: fault)")
    parser.add_argument("--json", type=Path, help="keep every cell in this file")
    parser.add_argument("--logs", type=Path, help="keep what the commands of every cell printed in this folder")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/faults.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
