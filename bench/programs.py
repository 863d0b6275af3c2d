"""`python -m bench.programs`: programs of other projects, built by the lab's Windows host.

The lab's Linux builder builds programs with C, because Zig compiles nothing under Wine. Each program is built cold and
warm through the product's own commands, compared with a Linux build of the same commit, and run on a target. The
results are in bench/results/programs.json. docs/programs.md is made from that file alone, so a single program can be
measured again.
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
    """Lines of Go that are compiled for linux/amd64, without the standard library."""
    c_lines: int
    """Lines of C that are compiled, without headers."""
    cgo: bool
    builder: str
    """Operating system of the builder, `Windows` or `Linux`."""
    platform: str
    cold: float
    """Seconds of `go build` with an empty build cache; for the second platform, empty for that platform."""
    warm: float
    """Seconds of `go build` of the next commit."""
    size: int
    """Bytes."""
    sha256: str
    """SHA-256 of the binary of the tag's commit."""
    equal: str
    """`yes`, or how the bytes differ from the Linux build."""
    ran: str
    """What the program did on a target; empty if no target has this platform."""
    measured: str = ""
    """Time in UTC, commit, and load of the machine at the end. Set by `keep`."""


def main() -> int:
    """Return 0 if every program built equal bytes and ran, 1 if one did not, 2 if the measurement failed."""
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
    """Build one program cold and warm, compare the bytes, run it.

    Args:
        lab: has a builder, which is reset, and a target.
        program: the program.

    Raises:
        BenchError: a run of the product failed, or the program does not run on the target.
    """
    source, lines, c_lines = _repository(lab, program)
    parse_fleet(
        {"services": [program.service(str(source), program.version)]}
    )  # fail now, not after an hour of building
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
    """Replace a program's earlier rows in the results."""
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
    """Return the program's repository, its lines of Go and its lines of C."""
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
    output = target.run(f"{place} {program.version_argument}").stdout.strip()
    expected = program.version_output.replace("{version}", program.version)
    if expected not in output:
        raise BenchError(
            f"{program.name} on {target.name}: {program.version_argument} printed {output!r}, expected {expected!r}"
        )
    if not program.unit:
        return f"`{program.version_argument}` says `{expected}`"
    _run(fleet, program, repository, "fallback", program.version)
    return f"runs as a service, healthy; `{program.version_argument}` says `{expected}`"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.programs", description=main.__doc__)
    parser.add_argument("only", nargs="*", metavar="PROGRAM", help="names (default: all)")
    parser.add_argument("--lab", default="progs", help="name of the lab that it starts (default: progs)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
