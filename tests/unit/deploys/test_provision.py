"""What provisioning plans for a builder in a given state; the host is pyinfra's @fake one and only tells its state."""

from __future__ import annotations

from typing import Any

import pytest
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.deploy import add_deploy
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State, StateStage

from gofallback.builder.paths import CACHES, FOLDERS
from gofallback.builder.state import marker
from gofallback.deploys.provision import ProvisionError, provision_builder
from gofallback.facts.builder import builder_state
from gofallback.model import Fleet

ROOT = "C:\\gofallback"
GO, GIT = "a" * 64, "b" * 64
PINS = [
    {"tool": "go", "version": "1.27.0", "url": "https://example.com/go1.27.0.zip", "sha256": GO},
    {"tool": "go", "version": "1.26.6", "url": "https://example.com/go1.26.6.zip", "sha256": "c" * 64},
    {"tool": "git", "version": "2.55.0.5", "url": "https://example.com/git.zip", "sha256": GIT},
]
BUILT = [
    "@d go1.27.0",
    marker("go", "1.27.0", "zip", "amd64", GO),
    "@x go",
    "@d git-2.55.0.5",
    marker("git", "2.55.0.5", "zip", "amd64", GIT),
    "@x git",
]


def answer(
    *, toolchains: list[str], free_mb: int = 9000, folders: bool = True, go: str = "", arch: str = "AMD64"
) -> list[str]:
    """What the builder says."""
    names = [*FOLDERS, *(f"cache\\{name}" for name in CACHES)] if folders else []
    tools = ["tar.exe", "curl.exe", "certutil.exe"]
    return [
        *("@@version", "Microsoft Windows [Version 10.0.20348.1]"),
        *("@@environment", f"PROCESSOR_ARCHITECTURE={arch}", "ProgramFiles=C:\\Program Files"),
        *("@@tools", *tools, "@@go", go, "@@free", f"  9 Dir(s)  {free_mb << 20} bytes free"),
        *("@@folders", *names, "@@toolchains", *toolchains, "@@end"),
    ]


def planned(
    lines: list[str], *, builder: dict[str, Any] | None = None, services: dict[str, Any] | None = None, **toolchain: Any
) -> tuple[dict[str, bool], int]:
    """Plan provisioning: every operation's name to whether it would change something; and how many commands ran."""
    data = {"fake_responses": {"@@version": lines}, "fake_delay": 0, "fake_delay_jitter": 0}
    state = State(Inventory(([("@fake/w1", data)], {})), Config())
    state.current_stage = StateStage.Prepare
    connect_all(state)
    fleet = Fleet.model_validate(
        {
            "services": services or {},
            "toolchain": {"go": "1.27.0", "git": "2.55.0.5", "pins": PINS, **toolchain},
            "builder": builder or {},
        }
    )
    host = state.inventory.get_host("@fake/w1")

    def plan() -> None:
        provision_builder(fleet, host, "/nowhere")

    add_deploy(state, plan)
    names = {min(meta.names): op_hash for op_hash, meta in state.op_meta.items()}
    changes = {
        name: bool(state.get_op_data_for_host(host, op_hash).operation_meta._maybe_is_change)
        for name, op_hash in names.items()
    }
    connector: Any = host.connector
    return changes, len(connector.executed_commands)


def test_a_complete_builder_costs_one_command_and_plans_nothing() -> None:
    changes, commands = planned(answer(toolchains=BUILT))
    assert not any(changes.values())
    assert commands == 1


def test_a_fresh_builder_gets_folders_go_and_git_and_planning_asks_once() -> None:
    changes, commands = planned(answer(toolchains=[], folders=False))
    assert changes == {
        "The builder can build": False,
        f"Folders below {ROOT}": True,
        "go 1.27.0": True,
        "git 2.55.0.5": True,
    }
    assert commands == 1


def test_a_toolchain_from_an_archive_with_another_hash_is_replaced() -> None:
    old = [line.replace(GO, "d" * 64) for line in BUILT]
    changes, _ = planned(answer(toolchains=old))
    assert (changes["go 1.27.0"], changes["git 2.55.0.5"]) == (True, False)


def test_a_machine_wide_go_of_the_right_version_is_used_unless_refused() -> None:
    lines = answer(toolchains=BUILT[3:], go="go1.27.0")
    assert planned(lines)[0]["go 1.27.0"] is False
    assert planned(lines, builder={"use_installed": False})[0]["go 1.27.0"] is True


def test_a_machine_wide_go_of_another_version_is_not_used() -> None:
    assert planned(answer(toolchains=BUILT[3:], go="go1.26.6"))[0]["go 1.27.0"] is True


def test_a_service_with_another_go_gets_it_besides() -> None:
    service = {
        "name": "hello",
        "source": {"repository": "/srv/git/hello.git"},
        "build": {"go": "1.26.6"},
        "health": {"check": {"type": "tcp", "address": "127.0.0.1:80"}},
    }
    changes, _ = planned(answer(toolchains=BUILT), services={"hello": service})
    assert (changes["go 1.27.0"], changes["go 1.26.6"]) == (False, True)


def test_too_little_disk_fails_the_host_before_anything_is_sent() -> None:
    changes, _ = planned(answer(toolchains=[], free_mb=100))
    assert changes["The builder can build"] is True


@pytest.mark.parametrize(
    ("lines", "toolchain", "says"),
    [
        (answer(toolchains=[], arch="ARM64"), {}, "toolchain.go: go 1.27.0 has no pin for windows/arm64"),
        (answer(toolchains=[]), {"pins": [*PINS[1:], {**PINS[0], "arch": "arm64"}]}, "no pin for windows/amd64"),
    ],
)
def test_a_version_without_a_pin_for_the_processor_names_the_key(
    lines: list[str], toolchain: dict[str, Any], says: str
) -> None:
    with pytest.raises(ProvisionError, match=says):
        planned(lines, **toolchain)


def test_a_builder_that_says_nothing_is_an_error_with_its_name() -> None:
    data = {"fake_delay": 0, "fake_delay_jitter": 0}
    state = State(Inventory(([("@fake/w1", data)], {})), Config())
    state.current_stage = StateStage.Prepare
    connect_all(state)
    with pytest.raises(Exception, match=r"@fake/w1.*did not report its state"):
        builder_state(state.inventory.get_host("@fake/w1"), ROOT)
