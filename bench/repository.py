"""The measured service: the example with a binary of about 20 MB, and one small commit for each release."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.model import BenchError
from lab.example import BRANCH, HELLO

BALLAST_BYTES = 14_500_000
"""Embedded data that does not compress. The example itself is about 6 MB."""
RELEASES = tuple(f"v2.0.{number}" for number in range(8))
"""The first is built cold, the others warm. The branch ends at the last."""

_BALLAST = """\
package main

import (
	_ "embed"
	"os"
)

//go:embed ballast.bin
var ballast []byte

// Used, so that the linker keeps it; never true.
func init() {
	if len(os.Args) > 1<<20 {
		_, _ = os.Stderr.Write(ballast)
	}
}
"""
_ROUND = (
    'package main\n\n// What a small commit changes.\nconst benchmarkRelease = "{tag}"\n\nvar _ = benchmarkRelease\n'
)


def make(path: Path) -> Path:
    """Make the bare repository at `path` if it is missing. The commit ids are the same on every machine.

    Raises BenchError if git fails.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        work, bare = Path(scratch, "work"), Path(scratch, "bare")
        shutil.copytree(HELLO, work)
        (work / "cmd/hello/ballast.go").write_text(_BALLAST)
        (work / "cmd/hello/ballast.bin").write_bytes(random.Random(20).randbytes(BALLAST_BYTES))
        _git(work, "init", "--quiet", f"--initial-branch={BRANCH}")
        for number, tag in enumerate(RELEASES):
            (work / "cmd/hello/release.go").write_text(_ROUND.format(tag=tag))
            date = f"2026-03-{number + 1:02}T09:00:00Z"
            _git(work, "add", "--all")
            _git(work, "commit", "--quiet", f"--message=Release {tag}", date=date)
            _git(work, "tag", "--annotate", f"--message={tag}", tag, date=date)
        _git(work, "clone", "--quiet", "--bare", str(work), str(bare))
        bare.rename(path)
    return path


def _git(where: Path, *args: str, date: str = "") -> None:
    env = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_NAME": "Bench" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "bench@example.test" for who in ("AUTHOR", "COMMITTER")},
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
    }
    done = subprocess.run(["git", *args], cwd=where, env=env, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"the benchmark's repository: git {' '.join(args)}: {done.stderr.strip()}")
