"""The example service and the git repository a lab serves it from."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.model import LabError

HELLO = Path(__file__).with_name("hello")
FIRST = Path(__file__).with_name("hello-v1.0.0")
"""Files of the first release where they differ from `hello`, which is the second."""

BRANCH = "main"
RELEASES = (
    ("v1.0.0", "2026-01-05T09:00:00Z", "Answer on HTTP"),
    ("v1.1.0", "2026-02-02T09:00:00Z", "Greet by name"),
)


def make_repository(path: Path) -> None:
    """Make the bare repository at `path`, if it is not there: two commits, two tags, the same ids on every machine."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".example-") as scratch:
        work, bare = Path(scratch, "work"), Path(scratch, "bare")
        work.mkdir()
        _git(work, "init", "--quiet", f"--initial-branch={BRANCH}")
        for tag, date, message in RELEASES:
            _furnish(work, first=tag == RELEASES[0][0])
            _git(work, "add", "--all")
            _git(work, "commit", "--quiet", f"--message={message}", date=date)
            _git(work, "tag", "--annotate", f"--message=hello {tag}", tag, date=date)
        _git(work, "clone", "--quiet", "--bare", str(work), str(bare))
        _git(bare, "remote", "remove", "origin")
        bare.rename(path)


def _furnish(work: Path, first: bool) -> None:
    for source in (HELLO, FIRST) if first else (HELLO,):
        for file in sorted(source.rglob("*")):
            if file.is_file():
                copy = work / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)  # contents only: no mode of the checkout may change the commit's id


def _git(where: Path, *args: str, date: str = "") -> None:
    env = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",  # whoever runs the lab signs, renames or hooks nothing here
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Hello Team",
        "GIT_AUTHOR_EMAIL": "hello@example.test",
        "GIT_COMMITTER_NAME": "Hello Team",
        "GIT_COMMITTER_EMAIL": "hello@example.test",
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
    }
    done = subprocess.run(["git", *args], cwd=where, env=env, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"example repository: git {' '.join(args)}: {done.stderr.strip()}")
