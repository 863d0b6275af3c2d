"""A go command that takes long says so: go prints nothing for minutes, and a silent run looks like a dead one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State, StateStage

from gofallback.operations import gocmd, remote
from gofallback.operations.command import Command


@pytest.mark.parametrize(("delay", "spoken"), [(0.4, True), (0, False)])
def test_a_command_says_once_a_minute_that_it_is_at_work_and_not_after_its_end(
    delay: float, spoken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(remote, "HEARTBEAT", 0.15)
    state = State(Inventory(([("@fake/b1", {"fake_delay": delay, "fake_delay_jitter": 0})], {})), Config())
    state.current_stage = StateStage.Execute
    connect_all(state)
    command = Command("hello v1.1.0 linux/amd64", "go build", {}, 10, tmp_path / "log", "/home/b/gofallback")
    with caplog.at_level("INFO", logger="pyinfra"):
        assert gocmd.run(state, state.inventory.get_host("@fake/b1"), command).failure is None
        said = re.findall(r"hello v1.1.0 linux/amd64: at work, 0.\d\d s so far", caplog.text)
    assert bool(said) is spoken, caplog.text
