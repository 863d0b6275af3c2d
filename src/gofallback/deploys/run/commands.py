"""The commands: one row for each deploy file, with everything that depends on which command runs.

To add a command: a row here, a file in deploys/ that puts stages in order, and its options in `options.Options`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CommandName = Literal["fallback", "standby", "rollout", "rollback", "status", "drill", "faithful", "builds", "wipe"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """What one deploy file needs and changes, and its options."""

    name: CommandName
    needs_targets: bool = False
    """Refused without a reachable target that runs a service."""
    needs_builder: bool = False
    """Builds: one builder is chosen, and has to be reachable where artifacts are missing."""
    only_builders: bool = False
    """Works on builders, and on no target."""
    all_builders: bool = False
    """Works on every builder: the state of each is read, and an unreachable builder is a failure."""
    changes_targets: bool = False
    """Takes leases and switches releases."""
    brings_release: bool = False
    """Freeze windows and approvals apply. A rollback is never held up."""
    twin: bool = False
    """A second builder may have to confirm the artifacts."""
    releases_from: Literal["source", "store", "targets"] = "source"
    """Where the releases come from."""
    all_at_once: bool = False
    """No waves: every second on a bad release counts."""
    drill: bool = False
    """Runs everything up to the verified artifact, and ships no release."""
    production_only: bool = False
    """Builds only the releases in production, to compare them."""
    read_only: bool = False
    """Writes no journal and no report."""
    options: frozenset[str] = frozenset()
    """Options of `--data` for this command; an option that no command names is for all."""


_BUILD = ("source_offline", "leave_builds", "binary")
_SHIP = ("takeover", "override_freeze", "break_glass", "requester")

_ALL = (
    Command(
        name="fallback",
        needs_targets=True,
        needs_builder=True,
        changes_targets=True,
        brings_release=True,
        twin=True,
        options=frozenset({"ref", "twin", "faithful", *_BUILD, *_SHIP}),
    ),
    Command(
        name="drill",
        needs_targets=True,
        needs_builder=True,
        twin=True,
        drill=True,
        options=frozenset({"ref", "twin", "faithful", *_BUILD}),
    ),
    Command(
        name="rollout",
        needs_targets=True,
        changes_targets=True,
        brings_release=True,
        twin=True,
        releases_from="store",
        options=frozenset({"version", "resume", "abort", "twin", *_SHIP}),
    ),
    Command(
        name="rollback",
        needs_targets=True,
        changes_targets=True,
        releases_from="targets",
        all_at_once=True,
        options=frozenset({"release", "takeover"}),
    ),
    Command(name="faithful", needs_targets=True, needs_builder=True, production_only=True, options=frozenset(_BUILD)),
    Command(name="status", needs_targets=True, read_only=True, options=frozenset({"requester"})),
    Command(name="standby", only_builders=True, all_builders=True),
    Command(name="wipe", only_builders=True, all_builders=True),
    Command(name="builds", only_builders=True, read_only=True, options=frozenset({"cancel"})),
)
COMMANDS: dict[str, Command] = {command.name: command for command in _ALL}


def commands_with(option: str) -> tuple[str, ...]:
    """Names of the commands that an option is for; empty: for all."""
    return tuple(name for name, command in COMMANDS.items() if option in command.options)
