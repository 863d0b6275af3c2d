"""A program with SQLite, for builds with C: `github.com/mattn/go-sqlite3` with SQLite's own source in one file.

Debian's package of go-sqlite3 does not contain SQLite. Its amalgamation, 260,000 lines of C, is in the npm package
`better-sqlite3`. They are joined as upstream does it (`upgrade/upgrade.go` there). With the build tag `libsqlite3` the
program is linked against a shared libsqlite3, like upstream's; Debian 11's is the sysroot.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from lab.cache import Report, build_once, cache_dir, print_progress
from lab.foreign.commits import git
from lab.model import LabError
from lab.windows.debs import download_debs
from lab.windows.errors import WindowsLabError
from lab.windows.fetch import npm_tarball
from lab.windows.process import hash_of_files

VERSION: Final = "v1.0.0"
SQLITE: Final = "3.47.0"
"""Version of the amalgamation."""
SQLITE_BULLSEYE: Final = "3.34.1"
"""Version of the sysroot's library."""
SQLITE_TRIXIE: Final = "3.46.1"
"""Version of the library in Debian 13's base system."""
_AMALGAMATION: Final = (
    "better-sqlite3",
    "11.5.0",
    "b90e6f9cecd91cb318c1ea97e09398fb14747550003a8b7cbf8fb8bcb2b2d897",
)
_BINDING: Final = {
    "golang-github-mattn-go-sqlite3-dev": (
        "1.14.27~ds1-1",
        "e6ccd87b5ce4e2557ec27d2f62307b63e10640815818a35f7111ba31b4a89797",
    )
}
_LIBRARY: Final = {
    "libsqlite3-0": ("3.34.1-3", "a0b8d3acf4a0483048637637d269be93af48d5c16f6f139f53edd13384ad4686"),
    "libsqlite3-dev": ("3.34.1-3", "1880f26535eb1f7325017fb16bba3f1b9e54d74f3980fca0ec2ddda15acb1915"),
}
_MODULE = "github.com/mattn/go-sqlite3"
_FILES = {"sqlite3.c": "sqlite3-binding.c", "sqlite3.h": "sqlite3-binding.h", "sqlite3ext.h": "sqlite3ext.h"}
_PROGRAM = Path(__file__).parent / "example" / "sums"


def repository(report: Report = print_progress) -> Path:
    """Make a bare repository of the program `sums`, with vendored modules. LabError if a download fails.

    `main` is one commit after the tag `VERSION`, with one more comment line, for builds with a warm cache.
    """
    key = hash_of_files([Path(__file__), *sorted(_PROGRAM.iterdir())])
    final = cache_dir() / "trees" / "sqlite" / f"sums-{key}"
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        build_once(final, lambda part: _make(part, report), "sums, a program with SQLite (Debian, npm)", report)
    except WindowsLabError as error:
        raise LabError(str(error)) from None
    return final / "sums.git"


def bullseye_library(report: Report = print_progress) -> Path:
    """A folder with Debian 11's libsqlite3: `debs/` has its packages, `sysroot/` their contents. LabError as above."""
    final = cache_dir() / "trees" / "sqlite" / f"bullseye-{_LIBRARY['libsqlite3-0'][1][:8]}"
    final.parent.mkdir(parents=True, exist_ok=True)

    def make(part: Path) -> None:
        (part / "debs").mkdir()
        for deb in download_debs(cache_dir() / "downloads", report, _LIBRARY, "bullseye"):
            subprocess.run(["dpkg-deb", "-x", str(deb), str(part / "sysroot")], check=True)
            shutil.copy(deb, part / "debs")
        shutil.rmtree(part / "sysroot/usr/share")

    try:
        return build_once(final, make, "libsqlite3 of Debian 11", report)
    except WindowsLabError as error:
        raise LabError(str(error)) from None


def _make(part: Path, report: Report) -> None:
    downloads = cache_dir() / "downloads"
    (deb,) = download_debs(downloads, report, _BINDING)
    subprocess.run(["dpkg-deb", "-x", str(deb), str(part / "deb")], check=True)
    work = part / "work"
    shutil.copytree(_PROGRAM, work)
    vendored = work / "vendor" / _MODULE
    vendored.mkdir(parents=True)
    (work / "modules.txt").rename(work / "vendor" / "modules.txt")
    source = part / "deb/usr/share/gocode/src" / _MODULE
    for file in source.iterdir():
        if file.is_file() and not file.name.endswith("_test.go") and file.name not in _FILES.values():
            shutil.copy(file, vendored)
    # Debian removed the tag, so that its own library is always used. Upstream has it.
    shared = vendored / "sqlite3_libsqlite3.go"
    shared.write_text("//go:build libsqlite3\n\n" + shared.read_text())
    _amalgamation(npm_tarball(downloads, *_AMALGAMATION), vendored)
    git(work, "init", "--quiet", "--initial-branch=main")
    git(work, "config", "core.autocrlf", "false")
    git(work, "add", "--all", "--force")
    git(work, "commit", "--quiet", "--message=Keep numbers in SQLite", date="2026-01-05T09:00:00Z")
    git(work, "tag", "--annotate", f"--message={VERSION}", VERSION, date="2026-01-05T09:00:00Z")
    with (work / "main.go").open("a") as main:
        main.write("\n// The next commit: what is built warm.\n")
    git(work, "commit", "--quiet", "--all", "--message=One line more", date="2026-02-02T09:00:00Z")
    git(work, "clone", "--quiet", "--bare", str(work), str(part / "sums.git"))
    for folder in ("deb", "work"):
        shutil.rmtree(part / folder)


def _amalgamation(tarball: Path, vendored: Path) -> None:
    with tarfile.open(tarball) as archive:
        for name, binding in _FILES.items():
            stream = archive.extractfile(f"package/deps/sqlite3/{name}")
            assert stream is not None
            text = stream.read().decode()
            if f'#define SQLITE_VERSION        "{SQLITE}"' not in text and name == "sqlite3.h":
                raise LabError(f"{tarball.name}: its SQLite is not {SQLITE}; correct lab/sqlite.py")
            text = text.replace('\n#include "sqlite3.h"\n', '\n#include "sqlite3-binding.h"\n')
            (vendored / binding).write_text(f"#ifndef USE_LIBSQLITE3\n{text}\n#else // USE_LIBSQLITE3\n#endif\n")
