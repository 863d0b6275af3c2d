"""Folders and free space on a Windows host of the lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.facts.builder import builder_state
from gofallback.operations.builder import make_folders
from lab import Lab
from lab.builders import Builder
from tests.lab.conftest import fresh_name
from tests.lab.pyinfra_host import Messages, connected

pytestmark = pytest.mark.lab
ROOT = "C:\\gofallback"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(fresh_name(), targets=0, builders=1, builder_disk_mb=200) as lab:
        yield lab


@pytest.fixture
def w1(lab: Lab) -> Builder:
    host = lab.host("w1")
    assert isinstance(host, Builder)
    return host


@pytest.fixture
def pyinfra(lab: Lab, w1: Builder) -> Iterator[tuple[State, Host, Messages]]:
    with connected(lab, w1) as (state, hosts, messages):
        yield state, hosts[0], messages


@pytest.mark.parametrize("name", ["plain", "with blanks (x86) & more", "非ASCII ordner é", "deep\\er\\still"])
def test_a_folder_is_made_whatever_its_name(w1: Builder, pyinfra: tuple[State, Host, Messages], name: str) -> None:
    state, host, messages = pyinfra
    for _ in range(2):
        assert make_folders(state, host, [f"{ROOT}\\d\\{name}"]), messages.text
    assert (w1.drive_c / "gofallback" / "d" / name.replace("\\", "/")).is_dir()


def test_a_folder_that_cannot_be_made_is_named(w1: Builder, pyinfra: tuple[State, Host, Messages]) -> None:
    state, host, messages = pyinfra
    w1.put(f"{ROOT}\\file", b"in the way")
    assert not make_folders(state, host, [f"{ROOT}\\file"])
    assert f"{ROOT}\\file cannot be made" in messages.text


def test_free_space_is_that_of_the_disk_the_root_is_on(pyinfra: tuple[State, Host, Messages]) -> None:
    free = builder_state(pyinfra[1], ROOT).free_bytes
    assert free is not None
    assert free < 200 << 20
