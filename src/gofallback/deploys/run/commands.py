"""The commands: one row for each deploy file, and all that is decided by which one runs.

To add a command: a row here, a file in deploys/ that puts stages in order, and its options in `options.Options`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CommandName = Literal["fallback", "standby", "rollout", "rollback", "status", "drill", "faithful", "builds", "wipe"]


@dataclass(frozen=True, kw_only=True)
class Command:
    """What one deploy file needs, changes, and may be asked."""

    name: CommandName
    needs_targets: bool = False
    """Refused without a reachable target that runs a service."""
    needs_builder: bool = False
    """Builds, so one builder is chosen, and the artifacts that are missing must be buildable."""
    only_builders: bool = False
    """Is about every builder, and about no target."""
    all_builders: bool = False
    """An unreachable builder is a failure, and each one is asked for its state."""
    changes_targets: bool = False
    """Takes leases and switches releases."""
    brings_release: bool = False
    """Freeze windows and approvals apply. What goes back is never held up."""
    twin: bool = False
    """A second builder may have to confirm what is built or shipped."""
    releases_from: Literal["source", "store", "targets"] = "source"
    """Where the wanted releases come from."""
    all_at_once: bool = False
    """No waves: every second on a bad release counts."""
    rehearsal: bool = False
    """Checks everything up to the verified artifact, and brings no release."""
    production_only: bool = False
    """Builds nothing but what runs in production, to compare it."""
    read_only: bool = False
    """Has no record of its own: no journal, no report."""
    options: frozenset[str] = frozenset()
    """Options of `--data` that mean something here; those that no command names mean something everywhere."""


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
        rehearsal=True,
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
    """Names of the commands that an option is for; empty: it is for all."""
    return tuple(name for name, command in COMMANDS.items() if option in command.options)
