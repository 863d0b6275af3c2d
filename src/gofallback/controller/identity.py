"""Who runs: the person, the machine, the SSH keys, and the version of the data. Asking never fails a run."""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from gofallback.report.rows import Identity

#: Seconds that one question may take: an agent whose hardware key waits for a touch does not answer.
_PATIENCE = 3.0
#: ``256 SHA256:... comment (ED25519)``, as `ssh-keygen -l` and `ssh-add -l` print it (OpenSSH 9).
_KEY = re.compile(r"^\d+ (?P<key>SHA256:[A-Za-z0-9+/]+) (?P<comment>.*?) ?\((?P<kind>[A-Z0-9-]+)\)$")


def who_runs() -> str:
    """``user@host`` of the controller, for leases and reports."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def read_identity(keys: Iterable[str] = (), *, project: Path | None = None) -> Identity:
    """Who runs this process.

    Args:
        keys: private key files that hosts are connected with; the ``.pub`` beside each is looked at.
        project: the checkout with deploy files and group data; default: the working directory.
    """
    commit, dirty = checkout(project or Path.cwd())
    found = [*_of_files(keys), *fingerprints(_ask(("ssh-add", "-l")), "agent")]
    return Identity(
        user=_user(),
        uid=os.getuid(),
        sudo_user=os.environ.get("SUDO_USER", ""),
        host=socket.gethostname(),
        pid=os.getpid(),
        keys=_once(found),
        commit=commit,
        dirty=dirty,
        gofallback=_version(),
    )


def fingerprints(printed: str, origin: str) -> list[str]:
    """``SHA256:... comment (ED25519, agent)`` for every key that ``ssh-keygen -l`` or ``ssh-add -l`` printed.

    Args:
        printed: their standard output; lines that are none are left out ("The agent has no identities.").
        origin: ``agent``, or the file's name.
    """
    matches = (_KEY.match(line.strip()) for line in printed.splitlines())
    return [f"{one['key']} {one['comment']} ({one['kind']}, {origin})" for one in matches if one]


def checkout(project: Path) -> tuple[str, bool | None]:
    """Commit of a checkout, and whether it holds changes; ``("", None)`` when it is none or git is missing."""
    commit = _ask(("git", "-C", str(project), "rev-parse", "--verify", "HEAD")).strip()
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return "", None
    # --no-optional-locks: asking must not be in the way of somebody's git at work in the same checkout.
    status = _answer(("git", "--no-optional-locks", "-C", str(project), "status", "--porcelain"))
    return commit, None if status is None else bool(status.strip())


def _of_files(keys: Iterable[str]) -> list[str]:
    found = []
    for name in dict.fromkeys(keys):
        path = Path(name).expanduser()
        # Of a private key without its .pub ssh-keygen might ask for the passphrase.
        public = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
        if public.is_file():
            found += fingerprints(_ask(("ssh-keygen", "-lf", str(public))), path.name)
    return found


def _once(found: Sequence[str]) -> list[str]:
    """The first of each key: a key file's is in the agent as well."""
    by_key: dict[str, str] = {}
    for line in found:
        by_key.setdefault(line.split()[0], line)
    return list(by_key.values())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an uid without a name, such as in a container
        return str(os.getuid())


def _version() -> str:
    try:
        return metadata.version("gofallback")
    except metadata.PackageNotFoundError:
        return ""


def _ask(argv: Sequence[str]) -> str:
    return _answer(argv) or ""


def _answer(argv: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
