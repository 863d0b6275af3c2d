"""Pins: the code of pyinfra that we patch is the code that the patches were written for.

A pin that fails says nothing about whether a patch still works. Read the module that is named, compare it with what
pyinfra does now, drop the patch if pyinfra no longer needs it, then pin the new text.
"""

from __future__ import annotations

import ast
import hashlib
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pyinfra
import pytest
from pyinfra.api import facts

import gofallback.pyinfra_patches as patches

#: The files are read: importing pyinfra_cli would patch the standard library of this process for gevent.
PACKAGES = Path(pyinfra.__file__).parents[1]


def code(file: str, *names: str) -> str:
    """The text of a class or function in a file of pyinfra's."""
    text = (PACKAGES / file).read_text()
    node: ast.AST = ast.parse(text)
    for name in names:
        node = next(one for one in ast.iter_child_nodes(node) if getattr(one, "name", "") == name)
    return ast.get_source_segment(text, node) or ""


@pytest.mark.parametrize(
    ("patch", "where", "pinned"),
    [
        ("order", ("pyinfra/api/state.py", "State", "get_op_order"), "c746399a0897820d"),
        ("failures", ("pyinfra/api/state.py", "State", "fail_hosts"), "63c49d2b7344041c"),
        ("disconnect", ("pyinfra/api/connect.py", "disconnect_all"), "5bfa4f39da0de91a"),
        ("disconnect", ("pyinfra/api/host.py", "Host", "disconnect"), "d1c3f9c9261e5c6f"),
        ("signals", ("pyinfra_cli/cli.py", "cli"), "3b2c6f865032fa8f"),
        ("speed", ("pyinfra/api/arguments.py", "all_global_arguments"), "e2f365132720e833"),
        ("speed", ("pyinfra/api/util.py", "get_operation_order_from_stack"), "af13fe995eb540e3"),
        ("refusal", ("pyinfra_cli/exceptions.py", "CliError"), "40d9c08ba0cfa9ab"),
        ("empty_run", ("pyinfra_cli/cli.py", "_main"), "5981d259fc6e355c"),
        ("screen", ("pyinfra/api/operations.py", "run_ops"), "75f64cfecd9113c3"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_pyinfra_is_still_what_the_patch_was_written_for(patch: str, where: tuple[str, ...], pinned: str) -> None:
    digest = hashlib.sha256(code(*where).encode()).hexdigest()[:16]
    assert digest == pinned, f"pyinfra changed {'.'.join(where[1:])}: look at pyinfra_patches/{patch}.py again"


def test_pyinfra_still_looks_its_arguments_up_where_they_are_patched() -> None:
    assert "all_global_arguments()" in code("pyinfra/api/arguments.py", "pop_global_arguments")
    assert hasattr(facts, "all_global_arguments")


def test_pyinfra_still_forbids_bytecode_which_config_py_allows_again() -> None:
    assert "sys.dont_write_bytecode = True" in (PACKAGES / "pyinfra_cli" / "main.py").read_text()


def test_every_patch_says_what_pyinfra_does_and_where() -> None:
    names = sorted(module.name for module in pkgutil.iter_modules(patches.__path__))
    assert names == ["disconnect", "empty_run", "failures", "flags", "order", "refusal", "screen", "signals", "speed"]
    for name in names:
        text = import_module(f"gofallback.pyinfra_patches.{name}").__doc__ or ""
        assert "pyinfra 3.10" in text and re.search(r"pyinfra(_cli)?/\S+\.py", text), name
