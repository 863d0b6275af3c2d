"""The environment of every program that the controller runs."""

from __future__ import annotations

import pytest

from gofallback.git import git_command


def test_a_variable_with_a_secret_is_kept_from_every_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SECRET_OF_A_LOGIN", "x")
    assert "LAB_SECRET_OF_A_LOGIN" in git_command.environment()
    git_command.withhold(["LAB_SECRET_OF_A_LOGIN"])
    assert "LAB_SECRET_OF_A_LOGIN" not in git_command.environment()
