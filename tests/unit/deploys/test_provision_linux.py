"""What provisioning plans for a Linux builder in a given state; the host is pyinfra's @fake one and tells its state."""

from __future__ import annotations

from typing import Any

import pytest

from gofallback.builder.paths import CACHES, FOLDERS
from gofallback.builder.state import marker
from gofallback.deploys.provision import ProvisionError
from tests.unit.deploys import test_provision as windows

ROOT = "/home/builder/gofallback"
GO, GIT = "a" * 64, "b" * 64
LINUX = {"os": "linux", "kind": "tar"}
PINS = [
    {"tool": "go", "version": "1.27.0", "url": "https://example.com/go1.27.0.windows.zip", "sha256": "e" * 64},
    {"tool": "git", "version": "2.55.0.5", "url": "https://example.com/MinGit.zip", "sha256": "f" * 64},
    {"tool": "go", "version": "1.27.0", "url": "https://example.com/go1.27.0.tar.gz", "sha256": GO, **LINUX},
    {"tool": "git", "version": "2.53.0", "url": "https://example.com/git.tar.xz", "sha256": GIT, **LINUX},
]
BUILT = [
    *("@d go1.27.0", marker("go", "1.27.0", "tar", "amd64", GO), "@x go"),
    *("@d git-2.53.0", marker("git", "2.53.0", "tar", "amd64", GIT), "@x git"),
]
TOOLS = ["sha256sum", "tar", "gzip", "xz", "curl"]


def answer(
    *,
    toolchains: list[str],
    tools: list[str] | None = None,
    machine: str = "x86_64",
    go: list[str] | None = None,
    git: list[str] | None = None,
) -> list[str]:
    """What the builder says."""
    return [
        *("@@version", "Debian GNU/Linux 13 (trixie)", "@@environment", f"MACHINE={machine}", "HOME=/home/builder"),
        *("@@tools", *(TOOLS if tools is None else tools), "@@go", *(go or []), "@@git", *(git or [])),
        *("@@free", "/dev/vda1 100000000 1 90000000 1% /home"),
        *("@@folders", *FOLDERS, *(f"cache/{name}" for name in CACHES), "@@toolchains", *toolchains, "@@end"),
    ]


def planned(lines: list[str], *, pins: list[dict[str, Any]] = PINS, **builder: Any) -> tuple[dict[str, bool], int]:
    settings = {"os": "linux", "root": ROOT, **builder}
    return windows.planned(lines, builder=settings, linux_git="2.53.0", pins=pins)


def refused(lines: list[str], **builder: Any) -> bool:
    """Whether the host is refused before anything is sent to it."""
    return planned(lines, **builder)[0]["The builder can build"]


def test_a_complete_builder_costs_one_command_and_plans_nothing() -> None:
    changes, commands = planned(answer(toolchains=BUILT))
    assert not any(changes.values()), changes
    assert commands == 1


def test_a_fresh_builder_gets_the_archives_for_its_own_system() -> None:
    changes, commands = planned(answer(toolchains=[]))
    assert changes == {
        "The builder can build": False,
        f"Folders below {ROOT}": False,
        "go 1.27.0": True,
        "git 2.53.0": True,
    }
    assert commands == 1


@pytest.mark.parametrize("missing", ["sha256sum", "tar", "gzip", "xz"])
def test_a_program_that_unpacking_needs_is_missed_before_anything_is_sent(missing: str) -> None:
    assert refused(answer(toolchains=[], tools=[tool for tool in TOOLS if tool != missing]))


def test_what_is_in_place_needs_no_unpacker() -> None:
    assert not refused(answer(toolchains=BUILT, tools=["sha256sum", "tar"]))


def test_to_pull_it_needs_curl_or_wget() -> None:
    lines = answer(toolchains=[], tools=["sha256sum", "tar", "gzip", "xz"])
    assert not refused(lines)
    assert refused(lines, delivery="pull")
    assert not refused(answer(toolchains=[], tools=["sha256sum", "tar", "gzip", "xz", "wget"]), delivery="pull")
    assert not refused(answer(toolchains=BUILT, tools=["sha256sum", "tar"]), delivery="pull")


def test_a_go_and_a_git_of_the_machine_are_used_only_where_the_version_fits() -> None:
    go = ["@p /usr/lib/go-1.24", "go1.24.4", "@p /usr/local/go", "go1.27.0", "time 2026-08-11T15:49:40Z"]
    lines = answer(toolchains=[], go=go, git=["@p /usr", "git version 2.47.3"])
    changes, _ = planned(lines)
    assert (changes["go 1.27.0"], changes["git 2.53.0"]) == (False, True)
    assert planned(lines, use_installed=False)[0]["go 1.27.0"] is True


@pytest.mark.parametrize("machine", ["riscv64", "i686", ""])
def test_a_processor_that_no_toolchain_is_pinned_for_is_named(machine: str) -> None:
    with pytest.raises(ProvisionError, match=f"processor is {machine or 'unknown'}; a builder needs x86_64"):
        planned(answer(toolchains=[], machine=machine))


def test_a_git_of_windows_on_a_linux_builder_leads_to_the_key_of_its_own() -> None:
    settings = {"os": "linux", "root": ROOT}
    with pytest.raises(
        ProvisionError, match=r"toolchain\.git: git .* set toolchain\.linux_git where Linux builders have"
    ):
        windows.planned(answer(toolchains=[]), builder=settings, pins=PINS)


def test_a_version_without_a_pin_for_linux_says_what_is_pinned() -> None:
    with pytest.raises(
        ProvisionError, match=r"go 1\.27\.0 has no pin for linux/arm64; pinned: .*1\.27\.0 \(windows/amd64\)"
    ):
        planned(answer(toolchains=[], machine="aarch64"))
