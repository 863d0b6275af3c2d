"""The table of commands against the deploy files that are there."""

from __future__ import annotations

import re
from typing import get_args

from gofallback.deploys.run.commands import COMMANDS, CommandName, commands_with
from gofallback.deploys.run.options import Options
from tests.paths import PROJECT


def test_every_deploy_file_is_a_row_and_every_row_a_deploy_file() -> None:
    files = {path.stem for path in (PROJECT / "deploys").glob("*.py")}
    assert files == set(COMMANDS) == set(get_args(CommandName))


def test_every_deploy_file_begins_with_its_own_preflight() -> None:
    for name in COMMANDS:
        found = re.findall(r'^preflight\("(\w+)"\)', (PROJECT / "deploys" / f"{name}.py").read_text(), re.M)
        assert found == [name]


def test_a_row_names_only_options_that_exist() -> None:
    for command in COMMANDS.values():
        assert command.options <= set(Options.model_fields), command.name


def test_an_option_that_no_row_names_means_something_everywhere() -> None:
    everywhere = {name for name in Options.model_fields if not commands_with(name)}
    assert everywhere == {"service", "skip_unreachable", "reason"}


def test_what_brings_a_release_changes_targets_and_what_changes_targets_is_about_targets() -> None:
    for command in COMMANDS.values():
        assert not command.brings_release or command.changes_targets, command.name
        assert not command.changes_targets or (command.needs_targets and not command.only_builders), command.name
