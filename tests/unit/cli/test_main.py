"""The gofallback command: what it prints and its exit status."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from gofallback.artifact.manifest import Manifest
from gofallback.cli.main import main
from tests.paths import PROJECT
from tests.unit.binaries import ElfMaker, build_info, module_text
from tests.unit.reports import bad, good
from tests.unit.specs import SPEC

PROGRAM = ElfMaker(info=build_info(module_text())).bytes()


def artifact(folder: Path, inside: str = "hello", **changes: object) -> Path:
    """A binary with its manifest in ``folder``."""
    (folder / inside).parent.mkdir(parents=True, exist_ok=True)
    (folder / inside).write_bytes(PROGRAM)
    data = {
        "spec": SPEC.model_dump(),
        "key": SPEC.key,
        "sha256": hashlib.sha256(PROGRAM).hexdigest(),
        "size": len(PROGRAM),
        "builder": "w1",
        "built_at": "2026-11-22T03:00:00Z",
        "seconds": 1.5,
        **changes,
    }
    manifest = Manifest.model_validate(data)
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder / inside


@pytest.fixture(autouse=True)
def nobody_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of this machine's own controller, and of no project: artifacts without provenance are described."""
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path / "no-home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The records of two runs."""
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path))
    folder = tmp_path / "runs"
    for report in (good(), bad().model_copy(update={"run_id": "20261123T000000Z-0001"})):
        (folder / report.run_id).mkdir(parents=True)
        (folder / report.run_id / "report.json").write_text(report.model_dump_json())
    return folder


@pytest.mark.parametrize("inside", ["hello", "bin/hello"], ids=["artifact", "release"])
def test_verify_says_what_a_binary_is_and_that_it_agrees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], inside: str
) -> None:
    path = artifact(tmp_path, inside)
    for given in (path, tmp_path):
        assert main(["verify", str(given)]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "ELF 64 bit, X86_64 (amd64), System V, executable" in shown
        assert "linked static" in shown
        assert "vcs.revision " + "c" * 40 in shown
        assert "agrees with manifest.json: built on w1" in shown


def test_verify_finds_a_changed_binary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact(tmp_path, sha256="0" * 64)
    assert main(["verify", str(tmp_path)]) == 1
    assert "problem: hello linux/amd64: has sha256" in capsys.readouterr().out


def test_verify_without_a_manifest_only_describes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = artifact(tmp_path)
    (tmp_path / "manifest.json").unlink()
    assert main(["verify", str(path)]) == 0
    assert "no manifest.json beside it" in capsys.readouterr().out


def test_verify_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact(tmp_path, size=1)
    assert main(["verify", "--json", str(tmp_path)]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["binary"]["goarch"] == "amd64"
    assert len(data["problems"]) == 1


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"{", "is not a manifest of gofallback"),
        (b'{"name": "web app"}', "is not a manifest of gofallback"),
    ],
)
def test_verify_refuses_another_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, line: str
) -> None:
    artifact(tmp_path)
    (tmp_path / "manifest.json").write_bytes(content)
    assert main(["verify", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"gofallback: {tmp_path}/manifest.json: {line}")
    assert shown.err.count("\n") == 1


def test_verify_refuses_what_is_no_binary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("hello")
    assert main(["verify", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["verify", str(tmp_path)]) == 1
    assert "holds no manifest.json" in capsys.readouterr().err


def test_report_shows_the_last_run_and_where_its_page_is(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 0
    shown = capsys.readouterr().out
    page = runs / "20261123T000000Z-0001" / "report.html"
    assert shown.splitlines()[-1] == f"report: {page}"
    assert page.read_text().startswith("<!doctype html>")


def test_report_finds_a_run_by_how_its_id_begins(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "20261122"]) == 0
    assert "20261122T031244Z-9f3a" in capsys.readouterr().out
    assert main(["report", "--markdown", "20261122"]) == 0
    assert capsys.readouterr().out.startswith("## done")
    assert main(["report", "--json", "20261122"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "done"


def test_report_of_no_run_is_one_line(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "2026"]) == 1
    assert "several runs begin like this" in capsys.readouterr().err
    assert main(["report", "1999"]) == 1
    assert "no such run; recorded: 20261122T031244Z-9f3a, 20261123T000000Z-0001" in capsys.readouterr().err
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path / "other"))
    assert main(["report"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_wrong_command_line_has_status_2() -> None:
    for argv in ([], ["nonsense"], ["pins", "rust", "1.0"], ["verify"]):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 2


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"gofallback {metadata.version('gofallback')}\n"


def test_the_newest_version_of_the_changelog_is_that_of_the_package() -> None:
    newest = re.search(r"^## (\S+) \(", (PROJECT / "CHANGELOG.md").read_text(), re.M)
    package = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert newest is not None and newest[1] == package["version"]
