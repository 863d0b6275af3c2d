"""Rules that a command line may not set aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gofallback.deploys.checks.approvals import require_permission
from gofallback.deploys.run.context import RunContext
from gofallback.errors import RefusedError
from tests.unit.contexts import run_context


def given(tmp_path: Path, command: str, override: dict[str, Any]) -> RunContext:
    ctx = run_context(tmp_path, "t1", builder="w1", command=command)
    ctx.state.inventory.get_override_data = lambda: override  # type: ignore[method-assign]
    return ctx


@pytest.mark.parametrize("command", ["fallback", "rollout"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"trust": {"provenance": "off"}}, "--data trust: refused; .* twin=false with a reason"),
        ({"vulnerabilities": None}, "--data vulnerabilities: refused; .*vulnerabilities.ignore there"),
        ({"approval": None}, "--data approval: refused; .* break_glass"),
        ({"freeze": []}, "--data freeze: refused; .* override_freeze"),
    ],
)
def test_the_rules_of_an_environment_are_not_changed_by_a_command_line(
    tmp_path: Path, command: str, override: dict[str, Any], message: str
) -> None:
    with pytest.raises(RefusedError, match=message):
        require_permission(given(tmp_path, command, override))


def test_other_data_may_be_given_and_the_way_back_is_never_held_up(tmp_path: Path) -> None:
    require_permission(given(tmp_path, "fallback", {"environment": "dev", "rollout": {"canary": 1}}))
    require_permission(given(tmp_path, "rollback", {"trust": {"provenance": "off"}}))
