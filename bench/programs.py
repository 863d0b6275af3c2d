"""`python -m bench.programs`: programs that nobody wrote for this project, built by the lab's Windows host.

One with C is built by the lab's Linux builder, since Zig compiles nothing under Wine. Each is built cold and warm
through the product's own commands, compared with what Linux makes of the same commit, and run on a target. What was
found is kept in bench/results/programs.json; docs/programs.md is drawn from that alone, so that one program can be
measured again on its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench import programs_docs, show
from bench.fleet import Fleet
from bench.linux_build import built_on_linux
from bench.model import BenchError
from bench.programs_own import EXAMPLE, WITH_C, next_commit, repository
from gofallback.controller.store import ArtifactStore, Stored
from gofallback.model import DataError, parse_fleet
from lab import Lab, LabError, foreign
from lab.cache import step
from lab.foreign.packages import COUNTED
from lab.foreign.pins import PROGRAMS, Program

RESULTS = show.RESULTS / "programs.json"
ALL = (EXAMPLE, *WITH_C, *PROGRAMS)
"""In the order of the page."""


@dataclass(frozen=True)
class Row:
    """One program on one platform."""

    program: str
    version: str
    lines: int
    """Of Go that are compiled for linux/amd64, the standard library left out."""
    c_lines: int
    """Of C that are compiled, without headers; 0: none."""
    cgo: bool
    builder: str
    """`Windows` or `Linux`: what built it."""
    platform: str
    cold: float
    """Seconds of `go build` with an empty build cache; for a program's second platform: empty for that platform."""
    warm: float
    """Seconds of `go build` of the next commit."""
    size: int
    """Bytes."""
    sha256: str
    """Of the tag's commit."""
    equal: str
    """`yes`, or why the bytes are not those that Linux makes."""
    ran: str
    """What was seen of it on a target; empty: no target has this platform."""
    measured: str = ""
    """When, in UTC, at which commit, and how busy the machine was at the end; `keep` says it."""


def main() -> int:
    """0: measured, and every program built equal bytes and ran; 1: one did not; 2: could not be measured."""
    given = _arguments()
    wanted = [one for one in ALL if not given.only or one.name in given.only]
    try:
        if unknown := set(given.only) - {one.name for one in ALL}:
            raise BenchError(f"no program {', '.join(sorted(unknown))}; there are {', '.join(one.name for one in ALL)}")
        for linux in (0, 1):
            programs = [one for one in wanted if (one in WITH_C) == bool(linux)]
            if programs:
                with Lab.up(given.lab, targets=1, builders=1 - linux, linux_builders=linux) as lab:
                    for program in programs:
                        keep(list(measure(lab, program)), show.about(0.0))
    except (BenchError, DataError, LabError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    found = json.loads(RESULTS.read_text())
    print(programs_docs.write(found))
    return 0 if all(row["equal"] == "yes" for row in found["rows"]) else 1


def measure(lab: Lab, program: Program) -> Iterator[Row]:
    """Build one program cold and warm, compare, run.

    Args:
        lab: with a builder, which is made new, and a target.
        program: which one.

    Raises:
        BenchError: a run of the product failed, or the product does not run on the target.
    """
    source, lines, c_lines = _repository(lab, program)
    parse_fleet({"services": [program.service(str(source), program.version)]})  # not after an hour of building
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        fleet = Fleet(lab, Path(scratch), inventory="bench/programs_inventory.py")
        with step(f"{program.name}: a fresh builder, Go and Git on it"):
            fleet.fresh([fleet.builder])
            _run(fleet, program, source, "standby", program.version)
        with step(f"{program.name}: cold build for {', '.join(program.platforms)}"):
            cold = _built(fleet, program, source, program.version)
        with step(f"{program.name}: on {lab.targets[0].name}"):
            ran = {COUNTED: _ran(fleet, program, source, cold[COUNTED])}
        with step(f"{program.name}: warm build of the next commit"):
            warm = _built(fleet, program, source, next_commit(program))
        with step(f"{program.name}: the same by Linux"):
            equal = {one: _compare(source, stored, Path(scratch)) for one, stored in cold.items()}
    for platform, stored in cold.items():
        yield Row(
            program=program.name,
            version=program.version,
            lines=lines,
            c_lines=c_lines,
            cgo=program in WITH_C,
            builder="Linux" if fleet.builder.record.os == "linux" else "Windows",
            platform=platform,
            cold=round(stored.manifest.seconds, 1),
            warm=round(warm[platform].manifest.seconds, 1),
            size=stored.manifest.size,
            sha256=stored.manifest.sha256,
            equal=equal[platform],
            ran=ran.get(platform, ""),
        )


def keep(rows: list[Row], about: dict[str, object]) -> None:
    """Put a program's rows in the place of its earlier ones."""
    known: dict[str, Any] = {"schema_version": 1, "rows": []}
    if RESULTS.exists():
        known = json.loads(RESULTS.read_text())
    names = {row.program for row in rows}
    known["about"] = about
    measured = f"{about['date']} at `{about['commit']}`, load average {about['load_after']}"
    new = [asdict(replace(row, measured=measured)) for row in rows]
    known["rows"] = [row for row in known["rows"] if row["program"] not in names] + new
    places = [(one.name, platform) for one in ALL for platform in one.platforms]
    order = {place: number for number, place in enumerate(places)}
    known["rows"].sort(key=lambda row: order.get((row["program"], row["platform"]), len(order)))
    RESULTS.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def _repository(lab: Lab, program: Program) -> tuple[Path, int, int]:
    """Where its source is; lines of Go, of C."""
    own = repository(lab, program)
    if own is not None:
        return own
    made = foreign.ensure(program)
    return made.repository, made.lines, 0


def _run(fleet: Fleet, program: Program, repository: Path, deploy: str, ref: str) -> str:
    fleet.own = {"GOFALLBACK_BENCH_PROGRAM": json.dumps(program.service(str(repository), ref))}
    done = fleet.run(deploy)
    return next((row["version"] for row in done.report["sources"] if row["service"] == program.name), "")


def _built(fleet: Fleet, program: Program, repository: Path, ref: str) -> dict[str, Stored]:
    version = _run(fleet, program, repository, "drill", ref)
    found = ArtifactStore(fleet.home / "artifacts").by_version(program.name, version)
    missing = set(program.platforms) - {stored.manifest.platform for stored in found}
    if missing:
        raise BenchError(f"{program.name} {version}: no artifact for {', '.join(sorted(missing))}")
    return {stored.manifest.platform: stored for stored in found}


def _compare(repository: Path, stored: Stored, scratch: Path) -> str:
    linux = built_on_linux(repository, stored.manifest.spec, scratch)
    return "yes" if linux == stored.manifest.sha256 else f"no: Linux makes {linux[:12]}"


def _ran(fleet: Fleet, program: Program, repository: Path, stored: Stored) -> str:
    target = fleet.lab.targets[0]
    place = f"/root/{program.name}"
    target.put(place, stored.path.read_bytes(), mode=0o755)
    said = target.run(f"{place} {program.asked}").stdout.strip()
    wanted = program.says.replace("{version}", program.version)
    if wanted not in said:
        raise BenchError(f"{program.name} on {target.name}: {program.asked} says {said!r}, expected {wanted!r}")
    if not program.unit:
        return f"`{program.asked}` says `{wanted}`"
    _run(fleet, program, repository, "fallback", program.version)
    return f"runs as a service, healthy; `{program.asked}` says `{wanted}`"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.programs", description=main.__doc__)
    parser.add_argument("only", nargs="*", metavar="PROGRAM", help="names (default: all)")
    parser.add_argument("--lab", default="progs", help="name of the lab it raises (default: progs)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
