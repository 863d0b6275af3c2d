"""Small helpers to run programs and to replace files and folders atomically."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.windows.errors import WindowsLabError


def run(
    command: Sequence[str | Path],
    what: str,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 900,
) -> str:
    """Run `command`, return its standard output; raise `WindowsLabError` with `what` and the last error line.

    `timeout` is in seconds; the default covers a slow download line.
    """
    argv = [str(part) for part in command]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", env=env, cwd=cwd, timeout=timeout, check=False
        )
    except FileNotFoundError as error:
        raise WindowsLabError(f"{what}: {argv[0]} is not on this machine; install it and run again") from error
    except subprocess.TimeoutExpired as error:
        raise WindowsLabError(f"{what}: {argv[0]} did not end within {timeout:.0f} s; try again") from error
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise WindowsLabError(f"{what}: {argv[0]} ended with {done.returncode}: {lines[-1] if lines else 'no output'}")
    return done.stdout


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Raise `WindowsLabError` with both hashes if `path` does not have the pinned SHA-256; the file is removed."""
    found = sha256(path)
    if found != expected:
        path.unlink()
        raise WindowsLabError(f"{what}: sha256 is {found}, expected {expected}; the file was removed, run again")


def hash_of_files(paths: Sequence[Path]) -> str:
    """A short hash over names and contents of `paths`: the key of what is built from them."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def building_folder(final: Path) -> Path:
    """The folder in which `final` is built before it gets its name."""
    return final.with_name(f".{final.name}.building")


@contextmanager
def building(final: Path) -> Iterator[Path]:
    """Yield an empty temporary folder. It becomes `final` when the block succeeds, and is removed when it fails.

    Remains of an earlier, killed run are removed first. Only finished folders get the final name.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = building_folder(final)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
