"""What makes runs quicker must not change what pyinfra finds."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

from pyinfra.api import arguments, facts

from gofallback.pyinfra_patches import speed
from tests.paths import PROJECT


def test_pyinfra_still_knows_every_global_argument() -> None:
    expected = list(get_type_hints(arguments.AllArguments).items())
    assert arguments.all_global_arguments() == expected
    assert facts.all_global_arguments() == expected  # type: ignore[attr-defined]


def test_what_python_has_compiled_is_kept_for_the_next_run_unless_the_environment_forbids_it(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    pyinfra = Path(sys.executable).with_name("pyinfra")
    argv = [str(pyinfra), "-y", "inventories/production.py", "deploys/status.py", "--limit", "nobody"]

    def kept_after_a_run(**variables: str) -> bool:
        environment = {**own, "PYTHONPYCACHEPREFIX": str(tmp_path), **variables}
        done = subprocess.run(argv, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        return bool(list(tmp_path.rglob("gofallback/pyinfra_patches/empty_run*.pyc")))

    assert kept_after_a_run()
    for folder in tmp_path.rglob("gofallback/pyinfra_patches"):
        shutil.rmtree(folder)
    assert not kept_after_a_run(PYTHONDONTWRITEBYTECODE="1")


def test_the_place_of_a_call_in_a_deploy_file_is_still_found(tmp_path: Path) -> None:
    deploy = tmp_path / "deploy.py"
    deploy.write_text("# a comment\n\nfound = where()\n")
    speed.know_deploy_file(str(deploy))
    space: dict[str, Any] = {"where": lambda: inspect.stack()[1]}
    exec(compile(deploy.read_text(), str(deploy), "exec"), space)
    assert (space["found"].filename, space["found"].lineno) == (str(deploy), 3)
