"""Folders, files and facts on a real Windows host of the lab, through pyinfra."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import State, StateStage

from gofallback.facts.builder import builder_state
from gofallback.facts.windows import Children, Directory, Environment, FileSha256, FreeDisk
from gofallback.operations import windows
from lab import Lab
from lab.builders import Builder
from tests.lab.conftest import fresh_name
from tests.lab.pyinfra_host import Messages, entry, heard

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


class Windows:
    """The host as pyinfra sees it; every operation in a state of its own, as in a run of its own."""

    def __init__(self, lab: Lab, messages: Messages) -> None:
        self._lab = lab
        self._states: list[State] = []
        self.messages = messages

    def connect(self) -> tuple[State, Host]:
        state = State(Inventory(([entry(self._lab, self._lab.host("w1"))], {})), Config(CONNECT_TIMEOUT=10))
        state.current_stage = StateStage.Prepare
        connect_all(state)
        self._states.append(state)
        return state, next(iter(state.inventory))

    def fact(self, kind: Any, **arguments: Any) -> Any:
        _, host = self.connect()
        return host.get_fact(kind, **arguments)

    def run(self, operation: Any, **arguments: Any) -> tuple[bool, bool]:
        """Whether it planned a change, and whether it went well."""
        state, host = self.connect()
        meta = add_op(state, operation, **arguments)[host]
        changes = bool(meta._maybe_is_change)
        state.current_stage = StateStage.Execute
        try:
            run_ops(state)
        except PyinfraError:
            return changes, False
        return changes, host not in state.failed_hosts

    def close(self) -> None:
        for state in self._states:
            for host in state.inventory:
                host.disconnect()


@pytest.fixture
def pyinfra(lab: Lab) -> Iterator[Windows]:
    with heard() as messages:
        made = Windows(lab, messages)
        yield made
    made.close()


@pytest.mark.parametrize("name", ["plain", "with blanks (x86) & more", "非ASCII ordner é", "deep\\er\\still"])
def test_a_folder_is_made_once(w1: Builder, pyinfra: Windows, name: str) -> None:
    path = f"{ROOT}\\d\\{name}"
    assert pyinfra.run(windows.directory, path=path) == (True, True), pyinfra.messages.text
    assert (w1.drive_c / "gofallback" / "d" / name.replace("\\", "/")).is_dir()
    assert pyinfra.fact(Directory, path=path) is True
    assert pyinfra.run(windows.directory, path=path) == (False, True)


def test_a_folder_that_cannot_be_made_is_said(w1: Builder, pyinfra: Windows) -> None:
    w1.put(f"{ROOT}\\file", b"in the way")
    assert pyinfra.run(windows.directory, path=f"{ROOT}\\file") == (True, False)
    assert f"{ROOT}\\file cannot be made" in pyinfra.messages.text


@pytest.mark.parametrize("body", [b"", b"x", b"bytes" * 100_000])
def test_a_file_is_sent_once_and_again_only_when_it_changed(
    w1: Builder, pyinfra: Windows, tmp_path: Path, body: bytes
) -> None:
    local, dest = tmp_path / "file", f"{ROOT}\\sent {len(body)}.bin"
    local.write_bytes(body)
    assert pyinfra.run(windows.upload, src=str(local), dest=dest) == (True, True), pyinfra.messages.text
    assert (w1.drive_c / "gofallback" / f"sent {len(body)}.bin").read_bytes() == body
    assert pyinfra.fact(FileSha256, path=dest) == hashlib.sha256(body).hexdigest()
    assert pyinfra.run(windows.upload, src=str(local), dest=dest) == (False, True)

    w1.put(dest, b"changed there")
    assert pyinfra.run(windows.upload, src=str(local), dest=dest) == (True, True)
    assert (w1.drive_c / "gofallback" / f"sent {len(body)}.bin").read_bytes() == body


def test_an_upload_to_a_full_disk_fails_and_leaves_no_half_file(w1: Builder, pyinfra: Windows, tmp_path: Path) -> None:
    local = tmp_path / "large"
    local.write_bytes(b"x" * 20_000_000)
    w1.fill_disk(leave_mb=2)
    try:
        assert pyinfra.run(windows.upload, src=str(local), dest=f"{ROOT}\\large") == (True, False)
        assert not (w1.drive_c / "gofallback" / "large").exists()
    finally:
        w1.free_disk()


def test_a_file_and_a_folder_are_removed_once(w1: Builder, pyinfra: Windows) -> None:
    w1.put(f"{ROOT}\\gone\\deep\\file.txt", b"x")
    w1.put(f"{ROOT}\\gone.txt", b"x")
    for path in (f"{ROOT}\\gone", f"{ROOT}\\gone.txt"):
        assert pyinfra.run(windows.absent, path=path, root=ROOT) == (True, True), pyinfra.messages.text
        assert pyinfra.run(windows.absent, path=path, root=ROOT) == (False, True)
    assert not (w1.drive_c / "gofallback" / "gone").exists()
    assert not (w1.drive_c / "gofallback" / "gone.txt").exists()


def test_pruning_keeps_what_is_named_in_any_case(w1: Builder, pyinfra: Windows) -> None:
    for name in ("Keep", "old-1", "old-2"):
        w1.put(f"{ROOT}\\stock\\{name}\\file", b"x")
    folder = f"{ROOT}\\stock"
    assert pyinfra.run(windows.prune, folder=folder, keep=["KEEP", "absent"], root=ROOT) == (True, True)
    assert pyinfra.fact(Children, path=folder) == ["Keep"]
    assert pyinfra.run(windows.prune, folder=folder, keep=["keep"], root=ROOT) == (False, True)


def test_facts_of_what_is_not_there_are_empty(pyinfra: Windows) -> None:
    assert pyinfra.fact(Directory, path="C:\\nowhere") is False
    assert pyinfra.fact(FileSha256, path="C:\\nowhere\\file") is None
    assert pyinfra.fact(Children, path="C:\\nowhere") == []


def test_environment_and_free_space_are_told(lab: Lab, pyinfra: Windows) -> None:
    assert pyinfra.fact(Environment)["SYSTEMROOT"].lower() == "c:\\windows"
    free = pyinfra.fact(FreeDisk)
    assert free is not None
    assert free > 1_000_000


def test_free_space_is_that_of_the_disk_the_root_is_on(pyinfra: Windows) -> None:
    _, host = pyinfra.connect()
    free = builder_state(host, ROOT).free_bytes
    assert free is not None
    assert free < 200 << 20
