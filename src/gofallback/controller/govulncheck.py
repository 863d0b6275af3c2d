"""govulncheck on the controller: reads one binary and a database that lies beside it, and talks to nobody."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from gofallback.model.vulnerabilities import Vulnerabilities
from gofallback.vulnerability.scan import Scan, ScanError, read

_GET = "docs/vulnerabilities.md says where it comes from"


def scan(binary: Path, policy: Vulnerabilities, *, stripped: bool) -> Scan:
    """Look one binary up.

    Args:
        binary: ELF, PE or Mach-O of any platform.
        policy: program and database.
        stripped: the binary has no symbol table.

    Raises:
        ScanError: the program or the database is not there, or cannot tell; one line.
    """
    program = shutil.which(policy.program)
    if program is None:
        raise ScanError(f"vulnerabilities.program: {policy.program} is not on this controller; {_GET}")
    _database(policy.database)
    command = [program, "-mode=binary", "-db", policy.database, "-json", str(binary)]
    # Of the environment only what a program needs: no proxy and no GO* setting may send it to another database.
    env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=policy.timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ScanError(f"{program}: no end after {policy.timeout} s (vulnerabilities.timeout)") from None
    except OSError as error:
        raise ScanError(f"vulnerabilities.program: {program} cannot be run ({error.strerror}); {_GET}") from None
    if done.returncode != 0:
        raise ScanError(f"{program}: exit status {done.returncode}: {_why(done.stderr)}")
    return read(done.stdout, stripped=stripped)


def _database(url: str) -> None:
    # govulncheck takes an empty folder for a database without entries: nothing would ever be found.
    folder = Path(url.removeprefix("file://"))
    missing = [name for name in ("index/db.json", "index/modules.json") if not (folder / name).is_file()]
    if missing:
        raise ScanError(f"vulnerabilities.database: {folder} has no {missing[0]}: it is no vulnerability database")


def _why(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if lines and "flag provided but not defined" in lines[0]:
        return f"{lines[0]}; use govulncheck 1.0 or later"
    return lines[-1][:300] if lines else "it gave no reason"
