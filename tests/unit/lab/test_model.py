"""What a lab's lab.json says, and which names a lab may have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab import cli
from lab.faults import relay_port
from lab.model import HostRecord, LabError, LabFile, check_name, suites_of
from lab.network import controller_link, mac, switch


def file() -> LabFile:
    return LabFile(
        "demo",
        "10.77.3.0/24",
        "/cache/labs/demo/id_ed25519",
        "/cache/labs/demo/known_hosts",
        targets=[HostRecord("t1", "10.77.3.11", 22, "deploy", "linux", "bookworm", "amd64")],
        builders=[HostRecord("w1", "10.77.3.101", 22, "builder", "windows")],
        example={"repository": "/cache/labs/demo/example.git", "branch": "main"},
    )


def test_lab_json_names_hosts_as_inventories_read_them() -> None:
    data = json.loads(json.dumps(file().to_json()))
    assert data["targets"] == [
        {"name": "t1", "address": "10.77.3.11", "port": 22, "user": "deploy", "suite": "bookworm", "arch": "amd64"}
    ]
    assert data["builders"] == [
        {"name": "w1", "address": "10.77.3.101", "port": 22, "user": "builder", "os": "windows"}
    ]


def test_lab_json_read_again_is_the_same_lab() -> None:
    assert LabFile.from_json(json.loads(json.dumps(file().to_json()))) == file()


@pytest.mark.parametrize("name", ["demo", "a", "t12345"])
def test_short_plain_names_are_fine(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "toolong", "Demo", "a-b", "../x", "a\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="expected 1 to 6 of a-z and 0-9"):
        check_name(name)


def test_every_interface_name_fits_the_kernels_limit() -> None:
    assert max(len(name) for name in (controller_link("t12345"), relay_port("t80"))) <= 15
    assert switch("t12345") == "gft12345-sw"


def test_two_addresses_have_two_hardware_addresses_that_are_local_and_unicast() -> None:
    one, other = mac("10.77.0.11"), mac("10.77.1.11")
    assert one != other
    assert int(one[:2], 16) & 0b11 == 0b10


def test_one_debian_serves_every_target_and_a_list_names_one_for_each() -> None:
    assert suites_of("trixie", 2) == ["trixie", "trixie"]
    assert suites_of(["bullseye", "bookworm"], 2) == ["bullseye", "bookworm"]
    assert suites_of("trixie", 0) == []


@pytest.mark.parametrize(
    ("suite", "targets", "line"),
    [
        ("sarge", 0, "suite 'sarge': expected one of bookworm, trixie, bullseye"),
        (["bullseye", ""], 2, "suite '': expected one of"),
        (["bullseye", "trixie"], 3, "suite bullseye,trixie: 2 for 3 targets; expected one, or one for each"),
    ],
)
def test_a_debian_that_is_unknown_or_for_no_target_is_refused(suite: Any, targets: int, line: str) -> None:
    with pytest.raises(LabError, match=line):
        suites_of(suite, targets)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], ["bullseye", "trixie"]),
        (["--targets", "3"], ["bullseye", "trixie", "trixie"]),
        (["--targets", "1"], ["bullseye"]),
        (["--suite", "trixie"], ["trixie", "trixie"]),
        (["--suite", "trixie,bullseye,bookworm"], ["trixie", "bullseye", "bookworm"]),
    ],
)
def test_up_keeps_the_debian_of_each_target_but_for_what_is_said_anew(words: list[str], wanted: list[str]) -> None:
    was = file()
    was.targets = [
        HostRecord(f"t{number}", f"10.77.3.1{number}", 22, "deploy", "linux", suite, "amd64")
        for number, suite in ((1, "bullseye"), (2, "trixie"))
    ]
    targets, suite = cli.wanted_targets(cli.arguments(["up", *words]), was, usual=2)
    assert suites_of(suite, targets) == wanted
