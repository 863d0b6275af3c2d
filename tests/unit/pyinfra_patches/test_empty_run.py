"""A misspelt inventory or --limit must not look like a run that did what it was asked: pyinfra alone exits 0."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pyinfra.api.inventory import Inventory

from gofallback.pyinfra_patches.empty_run import empty_run_reason, misspelt_limit
from tests.paths import PROJECT

PYINFRA = Path(sys.executable).with_name("pyinfra")
KNOWN = "groups: builders, targets; hosts: b1, t1, t2"


@pytest.fixture
def hosts() -> Inventory:
    names = ["b1", "t1", "t2"]
    return Inventory((names, {}), builders=(["b1"], {}), targets=(["t1", "t2"], {}))


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["inventories/producton.py"], "the inventory inventories/producton.py is neither a file nor a known host"),
        (["inventories/production.py", "--limit", "targts"], "--limit targts: no such host or group; groups: "),
        (["inventories/production.py", "--limit", "app-1", "--exclude", "app-1"], "--exclude app-1: no host is left; "),
    ],
)
def test_a_run_without_a_host_is_refused_in_one_line(argv: list[str], line: str) -> None:
    inventory, *options = argv
    done = subprocess.run(
        [str(PYINFRA), "-y", *options, inventory, "deploys/fallback.py"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"--> refused: {line}" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("given", [{}, {"limit": ["t1"]}, {"limit": ["targets"]}, {"limit": ["t*"], "exclude": ["t2"]}])
def test_a_command_line_that_leaves_hosts_is_no_problem(given: dict[str, list[str]], hosts: Inventory) -> None:
    assert empty_run_reason(given, hosts) is None


def test_one_misspelt_limit_of_several_is_refused_as_it_would_leave_out_hosts(hosts: Inventory) -> None:
    assert misspelt_limit({"limit": ["t1", "tt2"]}, hosts) == f"--limit tt2: no such host or group; {KNOWN}"


def test_one_limit_with_commas_gets_a_hint(hosts: Inventory) -> None:
    expected = f"--limit t1,t2: no such host or group; give --limit once for each; {KNOWN}"
    assert misspelt_limit({"limit": ["t1,t2"]}, hosts) == expected


def test_an_inventory_file_without_hosts_is_named() -> None:
    assert empty_run_reason({"inventory": "config.py"}, Inventory.empty()) == (
        "the inventory config.py has no hosts; give a file such as inventories/production.py"
    )
