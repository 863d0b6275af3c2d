"""The repository of a foreign program: a commit with a tag, and a next one on `main`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab.foreign.pins import Program
from lab.model import LabError

_DATES = ("2026-01-05T09:00:00Z", "2026-02-02T09:00:00Z")


def commit_twice(work: Path, program: Program, bare: Path) -> None:
    """Commit what is in `work`, tag it, add a comment line to a file of the main package, commit that; clone bare."""
    git(work, "init", "--quiet", "--initial-branch=main")
    # What Debian's source has is committed as it is: no file of it may ask for other line ends.
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
    """Run git as nobody in particular, so that the same files give the same commit everywhere. LabError if it fails."""
    identity = {f"GIT_{who}_{what}": "lab" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",  # whoever runs the lab signs, renames or hooks nothing here
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
        **identity,
    }
    done = subprocess.run(["git", *args], cwd=where, env=env, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"repository {where.name}: git {' '.join(args)}: {done.stderr.strip()}")
