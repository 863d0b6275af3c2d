"""Make the repository of a foreign program: a commit with a tag, and a next one on `main`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab.foreign.pins import Program
from lab.model import LabError

_DATES = ("2026-01-05T09:00:00Z", "2026-02-02T09:00:00Z")


def commit_twice(work: Path, program: Program, bare: Path) -> None:
    """Commit `work` and tag it, commit one more comment line in a file of the main package, and clone it bare."""
    git(work, "init", "--quiet", "--initial-branch=main")
    # Debian's source is committed unchanged: a file of it must not request other line ends.
    git(work, "config", "core.autocrlf", "false")
    git(work, "add", "--all", "--force")
    git(work, "commit", "--quiet", f"--message={program.name} {program.version}, source of Debian", date=_DATES[0])
    git(work, "tag", "--annotate", f"--message={program.version}", program.version, date=_DATES[0])
    first = min((work / program.package).glob("*.go"))
    with first.open("a") as file:
        file.write("\n// The next commit: what is built warm.\n")
    git(work, "commit", "--quiet", "--all", "--message=One line more", date=_DATES[1])
    git(work, "clone", "--quiet", "--bare", str(work), str(bare))
    git(bare, "remote", "remove", "origin")


def git(where: Path, *args: str, date: str = "") -> None:
    """Run git with a fixed identity, so that equal files give equal commits everywhere. LabError if it fails."""
    identity = {f"GIT_{who}_{what}": "lab" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",  # the user's own settings (signing, names, hooks) have no effect here
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
        **identity,
    }
    done = subprocess.run(["git", *args], cwd=where, env=env, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"repository {where.name}: git {' '.join(args)}: {done.stderr.strip()}")
