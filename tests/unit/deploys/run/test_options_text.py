"""``--data key=value``: an option that is misspelt or has no effect is refused."""

from __future__ import annotations

import pytest

from gofallback.deploys.run.commands import COMMANDS
from gofallback.deploys.run.options import parse_options
from gofallback.model.base import DataError

GROUP_DATA = frozenset({"services", "rollout"})


def error(key: str, value: object, command: str = "fallback") -> str:
    with pytest.raises(DataError) as raised:
        parse_options({key: value}, GROUP_DATA).check(COMMANDS[command])
    return str(raised.value)


def test_services_are_separated_by_commas() -> None:
    assert parse_options({"service": "hello, web,"}, GROUP_DATA).service == ("hello", "web")


def test_a_misspelt_key_is_refused_with_a_guess() -> None:
    assert error("servcie", "hello").startswith("--data servcie: unknown key; did you mean service?")


def test_a_switch_that_is_neither_true_nor_false_is_refused() -> None:
    assert error("skip_unreachable", "maybe") == "--data skip_unreachable=maybe: expected true or false"


def test_a_version_that_was_read_as_a_number_is_refused() -> None:
    assert "was read as the number 1.1; write it with quotes" in error("version", 1.1)


@pytest.mark.parametrize(
    ("key", "value", "command", "meant"),
    [
        ("version", "v1.1.0", "fallback", "deploys/rollout.py"),
        ("release", "v1.1.0-1a2b3c4d", "rollout", "deploys/rollback.py"),
        ("ref", "v1.1.0", "rollout", "deploys/fallback.py and deploys/drill.py"),
    ],
)
def test_an_option_of_another_deploy_is_refused(key: str, value: str, command: str, meant: str) -> None:
    assert (
        error(key, value, command) == f"--data {key}={value}: deploys/{command}.py does not use it; it is for {meant}"
    )
    parse_options({key: value}, GROUP_DATA).check(COMMANDS[meant.split("/")[1].split(".")[0]])


def test_false_counts_as_given_unless_it_is_the_default() -> None:
    assert error("twin", False, "rollback").startswith("--data twin=False: deploys/rollback.py does not use it")
    parse_options({"twin": False}, GROUP_DATA).check(COMMANDS["rollout"])
    parse_options({"source_offline": False, "faithful": False}, GROUP_DATA).check(COMMANDS["rollback"])


@pytest.mark.parametrize("way", ["resume", "abort"])
def test_a_version_beside_a_run_with_its_own_is_refused(way: str) -> None:
    options = parse_options({"version": "v1.1.0", way: "20261122T031244Z-9f3a"}, GROUP_DATA)
    with pytest.raises(DataError, match=f"version=v1.1.0: {way} knows its releases"):
        options.check(COMMANDS["rollout"])


def test_group_data_and_pyinfras_own_keys_pass() -> None:
    parse_options({"rollout": {"revert": "all"}, "ssh_user": "deploy"}, GROUP_DATA).check(COMMANDS["status"])
