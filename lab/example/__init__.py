"""The example services and their git repositories: hello, which every lab has, and ledger."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.model import LabError

HELLO = Path(__file__).with_name("hello")
FIRST = Path(__file__).with_name("hello-v1.0.0")
"""Files of the first release that differ from `hello`, which is the second."""

LEDGER = Path(__file__).with_name("ledger")
"""Two programs, an embedded file, generated code, and files of its releases."""

BRANCH = "main"
RELEASES = (
    ("v1.0.0", "2026-01-05T09:00:00Z", "Answer on HTTP"),
    ("v1.1.0", "2026-02-02T09:00:00Z", "Greet by name"),
)


def make_repository(path: Path) -> None:
    """Make the bare repository at `path` if it is missing: two commits, two tags, the same ids on every machine."""
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


def make_ledger(path: Path) -> None:
    """Make the repository of ledger at `path`: tag v1.0.0 on branch main, and a branch with a missing generator."""
    path.mkdir(parents=True)
    shutil.copytree(LEDGER, path, dirs_exist_ok=True, copy_function=shutil.copyfile)
    (path / "web" / "check.sh").chmod(0o755)
    date = RELEASES[0][1]
    _git(path, "init", "--quiet", f"--initial-branch={BRANCH}")
    _git(path, "add", "--all")
    _git(path, "commit", "--quiet", "--message=Keep a ledger", date=date)
    _git(path, "tag", "--annotate", "--message=ledger v1.0.0", "v1.0.0", date=date)
    _git(path, "checkout", "--quiet", "-b", "no-generator")
    (path / "internal" / "page" / "tool.go").write_text("package page\n\n//go:generate absent-tool -x\n")
    _git(path, "add", "--all")
    _git(path, "commit", "--quiet", "--message=Use a tool that is not there", date=date)
    _git(path, "checkout", "--quiet", BRANCH)


def _furnish(work: Path, first: bool) -> None:
    for source in (HELLO, FIRST) if first else (HELLO,):
        for file in sorted(source.rglob("*")):
            if file.is_file():
                copy = work / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)  # contents only: the modes of the checkout must not change the commit's id


def _git(where: Path, *args: str, date: str = "") -> None:
    env = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",  # the user's own settings (signing, names, hooks) have no effect here
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
