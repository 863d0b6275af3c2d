"""libfaketime, Debian's package, unpacked into the cache: it tells one program of this machine another time of day."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from lab import requirements
from lab.cache import Report, cache_dir, print_progress, step


def ensure(report: Report = print_progress) -> Path:
    """The library, downloaded and unpacked if it is not there yet. LabError with apt's words if that fails."""
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
    """What a program's environment has to have, so that its time of day is off by what the file `clock` says.

    The file holds such as `+0` or `-86400` (seconds) and may change at any time; the monotonic clock stays as it is.
    """
    return {
        "LD_PRELOAD": str(ensure(report)),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
