"""The cache outside the checkout: downloads and built trees, shared by demo, tests and CI on one machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.model import LabError

Report = Callable[[str], None]


def cache_dir() -> Path:
    """The root of all files of the lab: $GOFALLBACK_CACHE, or ~/.cache/gofallback."""
    named = os.environ.get("GOFALLBACK_CACHE")
    return Path(named).absolute() if named else Path.home() / ".cache" / "gofallback"


def print_progress(line: str) -> None:
    """Print one progress line and flush."""
    print(f"==> {line}", flush=True)


@contextlib.contextmanager
def step(what: str, report: Report = print_progress) -> Iterator[None]:
    """Time the block: report a line when it starts (on a terminal only), and one with the seconds when it ends."""
    if report is print_progress and sys.stdout.isatty():
        print(f"==> {what} ...", end="", flush=True)
    started = time.monotonic()
    yield
    took = f"{what} ... {time.monotonic() - started:.1f} s"
    if report is print_progress and sys.stdout.isatty():
        print("\r", end="")
    report(took)


@contextlib.contextmanager
def locked(path: Path, what: str, report: Report = print_progress) -> Iterator[None]:
    """Hold the lock file `path` during the block. The kernel releases it if the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"{what}: another command works on it; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_once(final: Path, build: Callable[[Path], None], what: str, report: Report = print_progress) -> Path:
    """Return `final`. If it is missing, let `build` fill a folder beside it, then rename that folder.

    Safe against SIGKILL at any moment, and against a second process that builds the same.
    """
    if final.exists():
        return final
    with locked(final.with_name(f".{final.name}.lock"), what, report):
        if final.exists():
            return final
        part = final.with_name(f".{final.name}.part")
        remove_tree(part)
        part.mkdir(mode=0o755)
        with step(what, report):
            build(part)
        os.sync()
        part.rename(final)
    return final


def remove_tree(path: Path) -> None:
    """Remove a folder and everything below it, but never the contents of mounts."""
    if not path.exists():
        return
    for mount in mounts_below(path):
        subprocess.run(["umount", "-l", str(mount)], check=False, capture_output=True)
    if mounts_below(path):
        raise LabError(f"{path}: something is still mounted below it; expected nothing; umount it and try again")
    # rm is several times faster than shutil, and a Windows host has 10,000 files
    subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=True)


def mounts_below(path: Path) -> list[Path]:
    """Mount points at or below `path` in this mount namespace, deepest first."""
    root = str(path.resolve())
    found = [fields[1] for fields in mount_table() if fields[1] == root or fields[1].startswith(root + "/")]
    return [Path(point) for point in sorted(found, key=len, reverse=True)]


def mount_table() -> list[tuple[str, str]]:
    """(source, mount point) of every mount of this process, in order of creation."""
    table = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        # proc(5): space, tab, newline and backslash are written as octal escapes
        point = left.split()[4].encode().decode("unicode_escape")
        table.append((right.split()[1], point))
    return table
