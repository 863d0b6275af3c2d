"""What makes runs quicker must not change what pyinfra finds."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_type_hints

from pyinfra.api import arguments, facts

from gofallback.deploys import _quick


def test_pyinfra_still_knows_every_global_argument() -> None:
    expected = list(get_type_hints(arguments.AllArguments).items())
    assert arguments.all_global_arguments() == expected
    assert facts.all_global_arguments() == expected  # type: ignore[attr-defined]


def test_the_place_of_a_call_in_a_deploy_file_is_still_found(tmp_path: Path) -> None:
    deploy = tmp_path / "deploy.py"
    deploy.write_text("# a comment\n\nfound = where()\n")
    _quick.know_deploy_file(str(deploy))
    space: dict[str, Any] = {"where": lambda: inspect.stack()[1]}
    exec(compile(deploy.read_text(), str(deploy), "exec"), space)
    assert (space["found"].filename, space["found"].lineno) == (str(deploy), 3)
