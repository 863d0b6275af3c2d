"""The identity of a run: person, machine, SSH keys, version of the data. Reading it never fails a run."""

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

#: Seconds for one program: an agent whose hardware key waits for a touch does not answer.
_TIMEOUT = 3.0
#: ``256 SHA256:... comment (ED25519)``, as `ssh-keygen -l` and `ssh-add -l` print it (OpenSSH 9).
_KEY = re.compile(r"^\d+ (?P<key>SHA256:[A-Za-z0-9+/]+) (?P<comment>.*?) ?\((?P<kind>[A-Z0-9-]+)\)$")


def read_identity(keys: Iterable[str] = (), *, project: Path | None = None) -> Identity:
    """The identity of this process.

    Args:
        keys: private key files for connections to hosts; the ``.pub`` beside each is read.
        project: the checkout with deploy files and group data; default: the working directory.
    """
    commit, dirty = checkout(project or Path.cwd())
    found = [*_of_files(keys), *fingerprints(_output("ssh-add", "-l") or "", "agent")]
    return Identity(
        user=_user(),
        uid=os.getuid(),
        sudo_user=os.environ.get("SUDO_USER", ""),
        host=socket.gethostname(),
        pid=os.getpid(),
        keys=_distinct(found),
        commit=commit,
        dirty=dirty,
        gofallback=version(),
    )


def user_at_host() -> str:
    """``user@host`` of the controller, for leases, reports and answers."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def version() -> str:
    """Version of this program; empty where it is not installed."""
    try:
        return metadata.version("gofallback")
    except metadata.PackageNotFoundError:
        return ""


def fingerprints(printed: str, origin: str) -> list[str]:
    """``SHA256:... comment (ED25519, agent)`` for every key that ``ssh-keygen -l`` or ``ssh-add -l`` printed.

    Args:
        printed: their standard output; other lines are skipped ("The agent has no identities.").
        origin: ``agent``, or the name of the file.
    """
    matches = (_KEY.match(line.strip()) for line in printed.splitlines())
    return [f"{one['key']} {one['comment']} ({one['kind']}, {origin})" for one in matches if one]


def checkout(project: Path) -> tuple[str, bool | None]:
    """Commit of a checkout, and whether it has changes; ``("", None)`` without a checkout or git."""
    commit = (_output("git", "-C", str(project), "rev-parse", "--verify", "HEAD") or "").strip()
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return "", None
    # --no-optional-locks: a person's git may be running in the same checkout.
    status = _output("git", "--no-optional-locks", "-C", str(project), "status", "--porcelain")
    return commit, None if status is None else bool(status.strip())


def _of_files(keys: Iterable[str]) -> list[str]:
    found = []
    for name in dict.fromkeys(keys):
        path = Path(name).expanduser()
        # For a private key without its .pub ssh-keygen may prompt for the passphrase.
        public = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
        if public.is_file():
            found += fingerprints(_output("ssh-keygen", "-lf", str(public)) or "", path.name)
    return found


def _distinct(found: Sequence[str]) -> list[str]:
    """The first line for each key: the key of a file may be in the agent as well."""
    by_key: dict[str, str] = {}
    for line in found:
        by_key.setdefault(line.split()[0], line)
    return list(by_key.values())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, such as in a container
        return str(os.getuid())


def _output(*argv: str) -> str | None:
    """Standard output of a program; None when it failed, timed out or does not exist."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
