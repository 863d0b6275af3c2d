"""`python -m bench`: raise the benchmark's own lab, measure, print, keep, and end the lab."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from rich.console import Console

from bench import emergency, show, wire
from bench.fleet import Fleet
from bench.model import BenchError, Findings
from bench.peers import Ansible
from lab import LabError
from lab.cache import say


def main() -> int:
    """0: measured, and every goal reached; 1: a goal is missed; 2: could not be measured."""
    given = _arguments()
    load = _calm(given.wait)
    findings = Findings()
    try:
        fleet = Fleet.up(given.lab)
        try:
            for _ in _measure(fleet, findings, given.rounds, given.fresh):
                findings.about = show.about(load)
                show.save(findings, complete=False)  # whatever happens to the rest
        finally:
            if not given.keep:
                fleet.lab.down()
    except (BenchError, LabError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    findings.about = show.about(load)
    path = show.save(findings)
    show.into_docs(findings)
    Console(width=150).print(show.render(findings))
    print(f"kept in {path}, and in {show.DOCS}")
    return 0 if all(goal.met for goal in findings.goals) else 1


def _measure(fleet: Fleet, findings: Findings, rounds: int, fresh: int) -> Iterator[None]:
    """Measure part by part."""
    wire.measure(fleet, findings, rounds)
    yield
    emergency.provisioning(fleet, findings, rounds, fresh)
    yield
    emergency.builds(fleet, findings, fresh)
    yield
    binary = emergency.rollouts(fleet, findings)
    yield
    emergency.no_op(fleet, findings, Ansible(fleet, binary), rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument("--lab", default="bench", help="name of the lab it raises (default: bench)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured (default: 7)")
    parser.add_argument("--fresh", type=int, default=3, help="how often what needs a fresh Windows host (default: 3)")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument("--wait", type=float, default=0, help="wait up to so many minutes for a load below 1.5")
    return parser.parse_args()


def _calm(minutes: float) -> float:
    """The load average; waits for a machine that has little else to do."""
    until = time.monotonic() + minutes * 60
    while (load := os.getloadavg()[0]) > 1.5 and time.monotonic() < until:
        say(f"load {load:.1f}; waiting for less than 1.5")
        time.sleep(30)
    if load > 1.5:
        say(f"load {load:.1f}: others work on this machine, figures will be worse than they could be")
    return load


if __name__ == "__main__":
    sys.exit(main())
