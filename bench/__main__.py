"""`python -m bench`: start the benchmark's own lab, measure, print, store the results, end the lab."""

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
from lab.cache import print_progress


def main() -> int:
    """Return 0 if every goal is met, 1 if one is missed, 2 if the measurement failed."""
    given = _arguments()
    load = _calm(given.wait)
    findings = Findings()
    try:
        fleet = Fleet.up(given.lab)
        try:
            for _ in _measure(fleet, findings, given.rounds, given.fresh):
                findings.about = show.about(load)
                show.save(findings, complete=False)  # even if a later part fails
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
    print(f"stored in {path} and {show.DOCS}")
    return 0 if all(goal.met for goal in findings.goals) else 1


def _measure(fleet: Fleet, findings: Findings, rounds: int, fresh: int) -> Iterator[None]:
    """Measure part by part; yield after each."""
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
    parser.add_argument("--lab", default="bench", help="name of the lab that it starts (default: bench)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each figure (default: 7)")
    parser.add_argument("--fresh", type=int, default=3, help="measurements that need a fresh Windows host (default: 3)")
    parser.add_argument("--keep", action="store_true", help="do not end the lab")
    parser.add_argument("--wait", type=float, default=0, help="minutes to wait for a load below 1.5")
    return parser.parse_args()


def _calm(minutes: float) -> float:
    """Wait for a quiet machine, at most `minutes`; return the load average."""
    until = time.monotonic() + minutes * 60
    while (load := os.getloadavg()[0]) > 1.5 and time.monotonic() < until:
        print_progress(f"load {load:.1f}; waiting for less than 1.5")
        time.sleep(30)
    if load > 1.5:
        print_progress(f"load {load:.1f}: the machine has other work, so the figures get worse")
    return load


if __name__ == "__main__":
    sys.exit(main())
