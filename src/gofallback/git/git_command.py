"""Runs git on the controller: no prompt, a timeout for the whole process group, one locale."""

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
"""Seconds for a fetch; a server that sends nothing is given up much earlier (http.lowSpeed*, ssh's keep-alive)."""

#: Variables of a caller's own repository (a git hook, a CI job), which must not affect ours (git rev-parse
#: --local-env-vars).
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


#: Variables with secrets that group data names: no program that we run needs them.
_withheld: set[str] = set()


def withhold(names: Iterable[str]) -> None:
    """Remove variables from every later result of `environment`."""
    _withheld.update(names)


class GitError(Exception):
    """git ended with an error, or ran out of time."""

    def __init__(self, output: str, timeout: float | None = None) -> None:
        super().__init__(output)
        self.output = output
        """stderr."""
        self.timeout = timeout
        """Seconds after which git was killed; None: git ended by itself."""


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
        directory: a bare repository, or None.
        timeout: seconds until the process group is killed.
        stdin: text for its standard input.
        into: a file that gets the raw stdout, in place of the return value.

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
        _kill(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise GitError("", timeout) from None
        raise
    if process.returncode:
        raise GitError(err.decode(errors="replace"))
    return (out or b"").decode(errors="surrogateescape")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def environment() -> dict[str, str]:
    """This process's environment, without variables that lead git into another repository, and without prompts."""
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
    """The user's core.sshCommand or GIT_SSH: the ``GIT_SSH_COMMAND`` that we set would override them."""
    program = os.environ.get("GIT_SSH")
    configured = subprocess.run(
        ["git", "config", "--global", "core.sshCommand"], capture_output=True, text=True, check=False
    )
    return configured.stdout.strip() or (shlex.quote(program) if program else "ssh")
