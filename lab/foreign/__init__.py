"""Git repositories of programs of other projects, with vendor folders made from Debian's source packages.

Debian has Go source as a GOPATH (`golang-*-dev`). `go list` shows which packages a program imports there. The program's
own packages go into a module, the others into `vendor/` with a matching `modules.txt`. The lab commits twice, so there
is a next commit for a warm build. The same Debian packages give the same commits on every machine.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Report, build_once, cache_dir, print_progress
from lab.foreign import pins
from lab.foreign.commits import commit_twice
from lab.foreign.packages import imported, lines_of
from lab.foreign.vendor import write_module
from lab.model import LabError
from lab.windows.debs import download_debs
from lab.windows.errors import WindowsLabError
from lab.windows.pins import GO_DEFAULT
from lab.windows.process import hash_of_files
from lab.windows.trees import go_for_linux

SOURCES = "usr/share/gocode/src"


@dataclass(frozen=True)
class Made:
    """A program's repository."""

    program: pins.Program
    repository: Path
    """Bare. `main` is one commit after the tag, with one more comment line."""
    lines: int
    """Lines of Go that are compiled for linux/amd64, without the standard library."""


def program(name: str) -> pins.Program:
    """The program of that name in `pins.PROGRAMS`. LabError if there is none."""
    for one in pins.PROGRAMS:
        if one.name == name:
            return one
    raise LabError(f"no program {name!r} in lab/foreign/pins.py; there are {', '.join(p.name for p in pins.PROGRAMS)}")


def ensure(wanted: pins.Program, report: Report = print_progress) -> Made:
    """Download, unpack and commit a program that is not in the cache yet. LabError in one line if that fails.

    Needs Debian's archive the first time: 2 MB for age, 52 MB for etcd.
    """
    key = hash_of_files(sorted(Path(__file__).parent.glob("*.py")))
    final = cache_dir() / "trees" / "foreign" / f"{wanted.name}-{key}"
    try:
        build_once(
            final, lambda folder: _make(wanted, folder, report), f"{wanted.name} {wanted.version} (Debian)", report
        )
    except WindowsLabError as error:
        raise LabError(str(error)) from None
    return Made(wanted, final / "repository.git", int((final / "lines").read_text()))


def _make(wanted: pins.Program, folder: Path, report: Report) -> None:
    packages = {f"golang-{name}-dev": pins.PINS[name] for name in wanted.needs}
    scratch = folder / "scratch"
    (scratch / SOURCES).mkdir(parents=True)
    owners: dict[str, str] = {}
    for deb in download_debs(cache_dir() / "downloads", report, packages):
        subprocess.run(["dpkg-deb", "-x", str(deb), str(scratch / "one")], check=True)
        # `golang-x_1%3a0.25.0+ds-1_all.deb`: the downloaded version, which may be newer than the pinned one
        version = deb.name.split("_")[1].replace("%3a", ":")
        source = scratch / "one" / SOURCES
        owners |= {str(path.parent.relative_to(source)): version for path in source.rglob("*.go")}
        shutil.copytree(source, scratch / SOURCES, dirs_exist_ok=True, symlinks=True)
        shutil.rmtree(scratch / "one")
    go = go_for_linux(cache_dir(), GO_DEFAULT, report) / "bin" / "go"
    found = imported(go, scratch / SOURCES, wanted)
    work = folder / "work"
    write_module(found, scratch / SOURCES, wanted, owners, work)
    commit_twice(work, wanted, folder / "repository.git")
    (folder / "lines").write_text(f"{lines_of(found)}\n")
    shutil.rmtree(scratch)
    shutil.rmtree(work)
