"""What --data accepts, and how it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from gofallback.deploys.run.options import parse_options
from gofallback.model.base import DataError

KEYS = frozenset({"services", "target"})


def test_services_are_split_at_commas() -> None:
    assert parse_options({"service": "hello, shop"}, KEYS).service == ("hello", "shop")


def test_keys_of_group_data_and_of_pyinfra_pass_by() -> None:
    assert parse_options({"target": {}, "ssh_user": "root", "_sudo": True}, KEYS) == parse_options({}, KEYS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"serivce": "hello"}, ["--data serivce", "did you mean service?"]),
        ({"version": 1.1}, ["--data version=1.1", "was read as the number"]),
        ({"ref": 1234567}, ["--data ref=1234567", "was read as the number"]),
        ({"ref": True}, ["--data ref=True", "string"]),
        ({"service": 7}, ["--data service=7"]),
        ({"service": ""}, ["--data service", "no service is named"]),
        ({"service": ["hello", 3]}, ["--data service"]),
        ({"skip_unreachable": "yes"}, ["--data skip_unreachable=yes", "true or false"]),
        ({"source_offline": 1}, ["--data source_offline=1", "true or false"]),
        ({"ref": ""}, ["--data ref", "is empty"]),
        ({"break_glass": " \n"}, ["--data break_glass", "is empty"]),
        ({"reason": "r" * 100_000}, ["--data reason=rrr", "has 100000 characters, at most 1000"]),
    ],
)
def test_what_cannot_be_used_is_one_line_that_names_the_key(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(DataError) as refused:
        parse_options(given, KEYS)
    line = str(refused.value)
    assert "\n" not in line
    for word in words:
        assert word in line


def test_a_list_of_services_as_pyinfra_reads_json_is_a_list_of_services() -> None:
    assert parse_options({"service": ["hello", "shop"]}, KEYS).service == ("hello", "shop")


def test_a_reason_is_one_line_without_control_characters() -> None:
    given = "deploy\n\tthe 'new' \"one\"\x1b[31m; $(date) \u2028 end\r\n"
    assert parse_options({"reason": given}, KEYS).reason == "deploy the 'new' \"one\" [31m; $(date)   end"
