"""What killed runs leave in a builder's `tmp`: its names tell a later run how old it is, and that run removes it.

Two controllers may work on one builder at the same time. So every run marks the names of what it makes, and no run
overwrites the files of another.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.paths import Layout, join
from gofallback.builder.shell import shell_of
from gofallback.facts.builder import builder_state
from gofallback.operations.remote import run_command

_MARKED = re.compile(
    r".*-(?P<began>[0-9a-f]{8})[0-9a-f]{4}(?P<file>(?:\.bundle|\.refs|\.tar|\.gofallback-part)*)(?:\.git)?"
)
"""Names in `tmp` with the mark of a run; an upload that broke has a part's ending (`gofallback.connectors`)."""
_FIRST = 1_700_000_000
"""Seconds since 1970. What looks older than this is no mark: no run was made before."""
_DAY = 86400.0
"""Seconds after which a run's files are removed: it was killed, or its connection broke at the end."""


def new_mark() -> str:
    """12 hex digits for names of one run: the time, in seconds since 1970, and a random part."""
    return f"{int(time.time()):08x}{secrets.token_hex(2)}"


def stale_names(names: Iterable[str], now: float) -> list[str]:
    """Of the names in a builder's `tmp`, those that a run left a day ago or more.

    Args:
        names: of files and folders.
        now: seconds since 1970.
    """
    found = ((name, _MARKED.fullmatch(name)) for name in names)
    return [name for name, match in found if match and _FIRST < int(match["began"], 16) < now - _DAY]


def sweep(state: State, host: Host, root: str) -> None:
    """Remove what killed runs have left in `tmp`; costs no round trip where there is nothing."""
    try:
        stale = stale_names(builder_state(host, root).leftovers, time.time())
    except PyinfraError:
        return
    if stale:
        shell, folder = shell_of(root), Layout(root).tmp
        files = [name for name in stale if (match := _MARKED.fullmatch(name)) and match["file"]]
        steps = [
            shell.delete(join(folder, name)) if name in files else shell.remove(join(folder, name)) for name in stale
        ]
        run_command(state, host, shell.script(steps, always=True), timeout=600)
