"""Pins: the code of pyinfra that we patch is the code that the patches were written for.

A pin that fails says nothing about whether a patch still works. Read the module that is named, compare it with what
pyinfra does now, drop the patch if pyinfra no longer needs it, then pin the new text.
"""

from __future__ import annotations

import hashlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from pyinfra.api import arguments, connect, facts, host, inventory, state, util

import gofallback.pyinfra_patches as patches

cli: Any = import_module("pyinfra_cli.cli")
main: Any = import_module("pyinfra_cli.main")
exceptions: Any = import_module("pyinfra_cli.exceptions")


def digest(code: Callable[..., Any] | type) -> str:
    return hashlib.sha256(inspect.getsource(code).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("patch", "code", "pinned"),
    [
        ("order", state.State.get_op_order, "284be97dc446555c"),
        ("failures", state.State.fail_hosts, "ec460c726cb5f1ac"),
        ("disconnect", connect.disconnect_all, "f4bbef640ddd00ee"),
        ("disconnect", host.Host.disconnect, "618031eaf8ae2fba"),
        ("signals", cli.cli.callback, "2b99e4aeb78cadcf"),
        ("speed", arguments.all_global_arguments, "f7afbc472d78c5d2"),
        ("speed", util.get_operation_order_from_stack, "f4807f61585570e0"),
        ("refusal", exceptions.CliError, "3976a12cfcb7c209"),
        ("empty_run", inventory.Inventory, "acf522664e2a5fa2"),
        ("flags", cli._main, "2fc7e421b0c82f42"),
        ("screen", import_module("pyinfra.api.operations").run_ops, "d5a0a7a6a4ebf8fa"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__qualname__", ""),
)
def test_pyinfra_is_still_what_the_patch_was_written_for(patch: str, code: Callable[..., Any], pinned: str) -> None:
    assert digest(code) == pinned, f"pyinfra changed {code.__qualname__}: look at pyinfra_patches/{patch}.py again"


def test_pyinfra_still_looks_its_arguments_up_where_they_are_patched() -> None:
    assert "all_global_arguments()" in inspect.getsource(arguments.pop_global_arguments)
    assert hasattr(facts, "all_global_arguments")


def test_pyinfra_still_forbids_bytecode_which_config_py_allows_again() -> None:
    assert "sys.dont_write_bytecode = True" in inspect.getsource(main)


def test_every_patch_says_what_pyinfra_does_and_where() -> None:
    names = sorted(module.name for module in pkgutil.iter_modules(patches.__path__))
    assert names == ["disconnect", "empty_run", "failures", "flags", "order", "refusal", "screen", "signals", "speed"]
    for name in names:
        text = import_module(f"gofallback.pyinfra_patches.{name}").__doc__ or ""
        assert "pyinfra 3.10" in text and re.search(r"pyinfra(_cli)?/\S+\.py", text), name
