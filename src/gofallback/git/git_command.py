"""git on the controller: never a prompt, never without an end, one locale, the whole process group ended in time."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import signal
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

QUICK = 60.0
"""Seconds for a command that only touches this machine's disk."""
REMOTE = 900.0
"""Seconds for a fetch; a silent server is left much earlier (http.lowSpeed*, ssh's keep-alive)."""

#: A caller's own repository (a git hook, a CI job) must not leak into ours (git rev-parse --local-env-vars).
_LOCAL = frozenset(
    (
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    )
)
_SETTINGS = (
    "core.abbrev=auto",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "fetch.writeCommitGraph=false",
    "http.lowSpeedLimit=100",
    "http.lowSpeedTime=30",
)
_SSH = "-o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3"


#: Variables with a secret that data names: no program of ours needs them in its environment.
_withheld: set[str] = set()


def withhold(names: Iterable[str]) -> None:
    """Keep variables of this process from every program that is started with `environment`, for good."""
    _withheld.update(names)


class GitError(Exception):
    """git ended with an error, or was ended."""

    def __init__(self, output: str, timeout: float | None = None) -> None:
        super().__init__(output)
        self.output = output
        """stderr."""
        self.timeout = timeout
        """Seconds after which it was ended; None: it ended by itself."""


def git(
    arguments: Sequence[str],
    *,
    directory: Path | None = None,
    timeout: float = QUICK,
    stdin: str = "",
    into: IO[bytes] | None = None,
) -> str:
    """Run git and return its stdout.

    Args:
        arguments: everything after ``git``.
        directory: a bare repository (or None for none).
        timeout: seconds until the process group is killed.
        stdin: text for its standard input, else an empty one.
        into: a file that gets its stdout as it is, in place of the return value.

    Raises:
        GitError: exit status not 0, or out of time.
    """
    where = [f"--git-dir={directory}"] if directory else []
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    process = subprocess.Popen(
        ["git", *where, *settings, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if into is None else into,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,  # no terminal to prompt on, and one group to end
    )
    try:
        out, err = process.communicate(stdin.encode(), timeout=timeout)
    except BaseException as error:
        _end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise GitError("", timeout) from None
        raise
    if process.returncode:
        raise GitError(err.decode(errors="replace"))
    return (out or b"").decode(errors="surrogateescape")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def environment() -> dict[str, str]:
    """This process's own, without what would lead git into another repository, and without any prompt."""
    left_out = _LOCAL | _withheld | {"SSH_ASKPASS"}
    own = {name: value for name, value in os.environ.items() if name not in left_out}
    ssh = own.get("GIT_SSH_COMMAND") or _configured_ssh()
    return own | {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GCM_INTERACTIVE": "never",
        "GIT_SSH_COMMAND": f"{ssh} {_SSH}",
        "GIT_OPTIONAL_LOCKS": "0",
    }


@functools.cache
def _configured_ssh() -> str:
    """``GIT_SSH_COMMAND`` wins over the user's core.sshCommand and GIT_SSH, so what they say has to be carried over."""
    program = os.environ.get("GIT_SSH")
    found = subprocess.run(
        ["git", "config", "--global", "core.sshCommand"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or (shlex.quote(program) if program else "ssh")
