"""Debian's libfaketime, unpacked into the cache: it gives one program of this machine another time of day."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from lab import requirements
from lab.cache import Report, cache_dir, print_progress, step


def ensure(report: Report = print_progress) -> Path:
    """Download and unpack the library if it is missing; return it. LabError with apt's message if that fails."""
    folder = cache_dir() / "trees" / "libfaketime"
    if not folder.exists():
        downloads = cache_dir() / "downloads" / "libfaketime"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir(parents=True)
        with step("libfaketime (apt-get download)", report):
            requirements.download_package("libfaketime", downloads)
            part = folder.with_name(f".{folder.name}-{time.monotonic_ns()}")
            subprocess.run(["dpkg-deb", "-x", str(next(downloads.glob("*.deb"))), str(part)], check=True)
            part.rename(folder)
    return next(folder.glob("usr/lib/*/faketime/libfaketime.so.1"))


def environment(clock: Path, report: Report = print_progress) -> dict[str, str]:
    """Variables that shift a program's time of day by the seconds in the file `clock`.

    The file has a text such as `+0` or `-86400` and may change at any time. The monotonic clock does not change.
    """
    return {
        "LD_PRELOAD": str(ensure(report)),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
