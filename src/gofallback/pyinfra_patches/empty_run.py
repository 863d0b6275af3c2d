"""A run without a host.

pyinfra 3.10 warns, works on no host and exits 0 (pyinfra_cli/cli.py, `_main`), which would mean success.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
from pyinfra import logger
from pyinfra.api.inventory import Inventory
from pyinfra.context import ctx_inventory

from gofallback.rollout.phases import EXIT_STATUS

GIVEN: dict[str, Any] = {}
"""pyinfra's own parameters; empty under its API, and without a config.py that calls `refuse_empty_run`."""


def refuse_empty_run() -> None:
    """For a project's config.py, which pyinfra reads before it looks at the inventory.

    A misspelt inventory or `--limit` then ends the command with one line and the exit status of a refused run. Without
    a host pyinfra executes no deploy file, so no stage could report it.
    """
    context = click.get_current_context(silent=True)
    if context is not None:  # under pyinfra's API there is neither a command line nor an exit status
        GIVEN.update(context.params)
        atexit.register(_end)


def empty_run_reason(given: Mapping[str, Any], inventory: Inventory) -> str | None:
    """The reason a command line leaves no host to work on, or None.

    Args:
        given: pyinfra's own parameters: ``inventory``, ``limit``, ``exclude``.
        inventory: as pyinfra has read it.
    """
    if not len(inventory):
        name = given.get("inventory")
        found = "has no hosts" if Path(str(name)).exists() else "is neither a file nor a known host"
        return f"the inventory {name} {found}; give a file such as inventories/production.py"
    if given.get("exclude") and not hosts_left(given, inventory):
        return f"--exclude {' '.join(given['exclude'])}: no host is left; {_known(inventory)}"
    return misspelt_limit(given, inventory)


def misspelt_limit(given: Mapping[str, Any], inventory: Inventory) -> str | None:
    """The problem of a `--limit` that matches nothing, or None: pyinfra only warns, and works on too few hosts."""
    for pattern in given.get("limit") or ():
        if not _matched([pattern], inventory):
            several = "; give --limit once for each" if "," in pattern else ""
            return f"--limit {pattern}: no such host or group{several}; {_known(inventory)}"
    return None


def hosts_left(given: Mapping[str, Any], inventory: Inventory) -> set[str]:
    """Names of the hosts that `--limit` and `--exclude` leave."""
    names = _matched(given["limit"], inventory) if given.get("limit") else {host.name for host in inventory}
    return names - _matched(given.get("exclude") or (), inventory)


def _known(inventory: Inventory) -> str:
    groups, hosts = sorted(inventory.groups), sorted(host.name for host in inventory)
    return f"groups: {', '.join(groups) or 'none'}; hosts: {', '.join(hosts)}"


def _matched(patterns: Iterable[str], inventory: Inventory) -> set[str]:
    """The hosts of patterns, as in pyinfra_cli.cli: a group's name, else a pattern of host names."""
    found: set[str] = set()
    for pattern in patterns:
        if pattern in inventory.groups:
            found |= {host.name for host in inventory.groups[pattern]}
        else:
            found |= {host.name for host in inventory if fnmatch(host.name, pattern)}
    return found


def _end() -> None:
    inventory: Inventory | None = ctx_inventory.get() if ctx_inventory.isset() else None  # type: ignore[no-untyped-call]
    if inventory is None:
        return  # pyinfra could not read it, and has reported that
    if hosts_left(GIVEN, inventory):
        return
    logger.error(f"--> refused: {empty_run_reason(GIVEN, inventory)}; nothing was changed")
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(EXIT_STATUS["refused"])
