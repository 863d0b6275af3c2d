"""Debian's govulncheck on real binaries, with a database made here: what it finds decides whether targets change."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gofallback.artifact.binary import inspect
from gofallback.model.vulnerabilities import Vulnerabilities
from gofallback.vulnerability import govulncheck
from lab import Lab, vulndb
from lab.cache import cache_dir, print_progress
from lab.windows.pins import GO_DEFAULT
from lab.windows.trees import go_for_linux
from tests.lab.conftest import fresh_name, stocked_fleet
from tests.lab.fleet import Fleet, Result

pytestmark = pytest.mark.lab

STD = vulndb.Entry("GO-2026-9002", "stdlib", "9.0.0", {"net/http": ["Get"]}, ("CVE-2026-99002",), "Get is slow")
DEP = vulndb.Entry("GO-2026-9001", "example.test/dep", "1.2.4", {"example.test/dep": ["Danger"]})
SPARE = vulndb.Entry("GO-2026-9003", "example.test/dep", "1.3.0", {"example.test/dep": ["Other"]})


@pytest.fixture(scope="module")
def program() -> Path:
    return vulndb.govulncheck()


def built(folder: Path, platform: str, flags: str) -> Path:
    """A program with one dependency, of which it calls one of two functions."""
    files = {
        "go.mod": "module example.test/app\n\ngo 1.26\n\nrequire example.test/dep v1.2.3\n",
        "main.go": 'package main\n\nimport "example.test/dep"\n\nfunc main() { println(dep.Danger("x")) }\n',
        "vendor/modules.txt": "# example.test/dep v1.2.3\n## explicit; go 1.26\nexample.test/dep\n",
        "vendor/example.test/dep/dep.go": (
            "package dep\n\n//go:noinline\nfunc Danger(s string) int { return len(s) }\n\n"
            "func Other() int { return 2 }\n"
        ),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    goos, goarch = platform.split("/")
    settings = {"GOOS": goos, "GOARCH": goarch, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    cache = str(cache_dir() / "trees" / "gocache-linux")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GOCACHE": cache, **settings}
    output = folder / f"{goos}-{goarch}"
    go = go_for_linux(cache_dir(), GO_DEFAULT, print_progress) / "bin" / "go"
    subprocess.run(
        [str(go), "build", f"-ldflags={flags}", "-o", str(output), "."], cwd=folder, env=environment, check=True
    )
    return output


@pytest.mark.parametrize("platform", ["linux/amd64", "windows/amd64"])
def test_called_function_is_distinguished_from_one_that_is_not_in_the_binary(
    program: Path, tmp_path: Path, platform: str
) -> None:
    binary = built(tmp_path / "app", platform, "")
    url = vulndb.write(tmp_path / "db", [STD, DEP, SPARE])
    policy = Vulnerabilities(database=url, program=str(program))
    found = govulncheck.scan(binary, policy, stripped=inspect(binary).stripped)
    assert not found.stripped
    assert {(one.id, one.level) for one in found.findings} == {
        (DEP.id, "symbol"),
        (SPARE.id, "package"),
        (STD.id, "module"),
    }


def test_stripped_binary_tells_modules_only(program: Path, tmp_path: Path) -> None:
    binary = built(tmp_path / "app", "linux/amd64", "-s -w")
    url = vulndb.write(tmp_path / "db", [STD, DEP, SPARE])
    found = govulncheck.scan(
        binary, Vulnerabilities(database=url, program=str(program)), stripped=inspect(binary).stripped
    )
    assert found.stripped
    assert {(one.id, one.level) for one in found.findings} == {(one.id, "module") for one in (STD, DEP, SPARE)}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One target, and both versions of the example in the store."""
    with Lab.up(fresh_name(), targets=1, builders=0) as lab:
        yield stocked_fleet(lab, tmp_path_factory.mktemp("controller"))


def rollout(fleet: Fleet, version: str, url: str, program: Path, **policy: Any) -> Result:
    data = {"database": url, "program": str(program), **policy}
    return fleet.run("rollout", "--data", f"version={version}", data={"vulnerabilities": data})


def test_blocked_release_changes_nothing_and_one_that_is_ignored_in_time_goes_out(
    fleet: Fleet, program: Path, tmp_path: Path
) -> None:
    url = vulndb.write(tmp_path / "db", [STD])
    refused = rollout(fleet, "v1.0.0", url, program, policy="block")
    assert refused.code == 2, refused.output
    line = refused.line("refused:")
    assert "hello v1.0.0 linux/amd64 has 1 known vulnerability: GO-2026-9002" in line
    assert "nothing was changed" in refused.output
    assert fleet.live("t1") is None
    late = [{"id": "CVE-2026-99002", "reason": "no client here", "until": "2020-01-01"}]
    again = rollout(fleet, "v1.0.0", url, program, policy="block", ignore=late)
    assert again.code == 2 and "it was ignored until 2020-01-01: no client here" in again.output, again.output
    known = [{**late[0], "until": "2999-12-31"}]
    done = rollout(fleet, "v1.0.0", url, program, policy="block", ignore=known)
    assert done.code == 0, done.output
    (finding,) = {scan["service"]: scan for scan in fleet.report()["scans"]}["hello"]["findings"]
    assert (finding["id"], finding["state"], finding["level"]) == (STD.id, "ignored", "module")
    journal = fleet.command("journal", "show", "--json").output
    assert '"event": "vulnerabilities"' in journal.replace('"event":"', '"event": "') and STD.id in journal


def test_warning_lets_a_release_go_on_and_an_old_database_is_reported(
    fleet: Fleet, program: Path, tmp_path: Path
) -> None:
    old = vulndb.write(tmp_path / "db", [STD], datetime.now(UTC) - timedelta(days=40))
    done = rollout(fleet, "v1.1.0", old, program, max_age_days=14)
    assert done.code == 0, done.output
    notes = " ".join(fleet.report()["notes"])
    assert "policy is warn: hello v1.1.0 linux/amd64 has 1 known" in notes and "40 days ago" in notes
    assert (fleet.live("t1") or "").startswith("v1.1.0-")
    unchanged = rollout(fleet, "v1.1.0", old, program, policy="block", max_age_days=14)
    assert unchanged.code == 0, "a run that releases nothing looks at nothing"
