"""The files a user meets first: inventories load, deploys are short and in the order of the flow, paths stay out."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gofallback.connectors.winssh import WinSSHConnector
from gofallback.deploys.checks.readiness import _connectors
from gofallback.deploys.run.setup import _fleet
from gofallback.errors import RefusedError
from gofallback.model import DataError, FleetParser, parse_fleet
from gofallback.model.fleet import KEYS
from tests.paths import PROJECT

PYINFRA = Path(sys.executable).with_name("pyinfra")
FLOW = ["preflight", "provision", "source", "build", "verify", "release", "activate", "confirm", "report"]


def stages(deploy: str) -> list[str]:
    tree = ast.parse((PROJECT / "deploys" / f"{deploy}.py").read_text())
    calls = [node.value for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return [call.func.id for call in calls if isinstance(call.func, ast.Name)]


def test_the_production_example_loads_as_it_is_and_its_data_is_what_the_models_take() -> None:
    argv = [str(PYINFRA), "--json", "inventories/production.py", "debug-inventory"]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    hosts = {host["name"]: host["data"] for host in json.loads(done.stdout)}
    assert sorted(hosts) == ["app-1", "app-2", "app-3", "win-build-1", "win-build-2"]
    fleets = {
        name: parse_fleet({key: value for key, value in data.items() if key in KEYS}) for name, data in hosts.items()
    }
    assert all(fleet.environment == "production" for fleet in fleets.values())
    assert all(fleet.services["hello"].source.ref == "v1.1.0" for fleet in fleets.values())
    assert [name for name, fleet in fleets.items() if fleet.target.canary] == ["app-1"]
    assert fleets["win-build-1"].toolchain is not None and fleets["app-1"].toolchain is None


def test_a_misspelt_key_of_ours_in_a_hosts_data_is_not_taken_for_somebody_elses() -> None:
    given = {"services": [], "rollot": {"canary": 1}, "monitoring": {}, "service": "hello", "ssh_user": "deploy"}
    host = SimpleNamespace(data=SimpleNamespace(dict=lambda: given))
    with pytest.raises(DataError, match=r"^rollot: unknown key, nearly 'rollout'"):
        _fleet(cast(Any, host), FleetParser())
    del given["rollot"]
    assert _fleet(cast(Any, host), FleetParser()).environment == "default"


def test_without_a_lab_the_default_inventory_says_how_to_raise_one(tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GOFALLBACK_CACHE": str(tmp_path)}
    argv = [str(PYINFRA), "inventory.py", "deploys/status.py"]
    done = subprocess.run(argv, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "make lab-up" in done.stderr and "Traceback" not in done.stderr


def test_fallback_reads_like_the_picture_of_the_flow() -> None:
    assert stages("fallback") == FLOW


@pytest.mark.parametrize("deploy", ["standby", "rollout", "rollback", "drill", "status"])
def test_every_other_deploy_keeps_the_order_of_the_flow(deploy: str) -> None:
    found = [name for name in stages(deploy) if name != "status"]
    assert found[0] == "preflight"
    assert [name for name in FLOW if name in found] == found


def test_every_deploy_is_short_and_only_orders() -> None:
    for file in (PROJECT / "deploys").glob("*.py"):
        tree = ast.parse(file.read_text())
        assert len(file.read_text().splitlines()) <= 60
        assert all(isinstance(node, (ast.Expr, ast.ImportFrom)) for node in tree.body), file


def test_no_posix_operation_of_pyinfra_is_ever_pointed_at_a_host() -> None:
    """pyinfra's own files, git and server operations assume a POSIX shell; a builder has none."""
    for file in (PROJECT / "src").rglob("*.py"):
        assert not re.search(r"pyinfra\.(operations|facts)\b", file.read_text()), file


def test_readme_names_the_two_commands() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert re.search(r"^make demo\b", readme, re.M) and re.search(r"^make test\b", readme, re.M)


@pytest.mark.parametrize(("role", "system"), [("targets", "windows"), ("builders", "linux")])
def test_a_linux_host_behind_winssh_is_refused_with_its_connector(role: str, system: str) -> None:
    """Before it is asked anything: its shell would not know a word."""
    host = SimpleNamespace(name="t1", connector=object.__new__(WinSSHConnector))
    builder = SimpleNamespace(os=system)
    ctx = SimpleNamespace(targets=[], builders=[], fleet=lambda _: SimpleNamespace(builder=builder))
    setattr(ctx, role, [host])
    with pytest.raises(RefusedError, match=r"^t1: @winssh is for Windows hosts.* write @linssh/t1 in the inventory$"):
        _connectors(cast(Any, ctx))
    host.connector = object()
    _connectors(cast(Any, ctx))
