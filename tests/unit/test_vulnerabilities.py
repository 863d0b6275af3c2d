"""What counts of a scan, and what becomes of the release: by recorded answers of govulncheck about Go 1.26 binaries."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import pytest

from gofallback.controller.store import Stored
from gofallback.deploys.releasing import vulnerability_gate
from gofallback.deploys.run.context import RunContext
from gofallback.errors import RefusedError
from gofallback.model import DataError, parse_fleet
from gofallback.model.vulnerabilities import Vulnerabilities
from gofallback.report import html, markdown, screen, vulnerabilities
from gofallback.vulnerability import govulncheck
from gofallback.vulnerability.judge import judge, too_old
from gofallback.vulnerability.scan import Scan, ScanError, read
from tests.unit.attested import manifest
from tests.unit.binaries import ElfMaker, build_info, module_text
from tests.unit.reports import good
from tests.unit.services import MINIMAL
from tests.unit.sites import site

DATA = Path(__file__).parent / "data"
#: The recorded database: changed last on 2026-11-20.
NOW = datetime(2026, 11, 22, tzinfo=UTC)
PROGRAM = ElfMaker(info=build_info(module_text()), symbols=True).bytes()
DEP, STD = "GO-2026-9001", "GO-2026-9002"


def policy(**changes: Any) -> Vulnerabilities:
    return Vulnerabilities.model_validate({"database": "file:///srv/vulndb", **changes})


def answer(name: str = "symbols") -> str:
    return (DATA / f"govulncheck-{name}.txt").read_text()


def scan(name: str = "symbols") -> Scan:
    return read(answer(name), stripped=name == "stripped")


def states(**changes: Any) -> dict[str, str]:
    return {one.finding.id: one.state for one in judge(scan(), policy(**changes), NOW)}


def test_a_function_that_is_in_the_binary_counts_and_a_module_that_is_only_required_does_not() -> None:
    assert states() == {DEP: "counts", STD: "lesser"}
    assert states(level="package") == {DEP: "counts", STD: "lesser"}
    assert states(level="module") == {DEP: "counts", STD: "counts"}
    dep = next(one for one in scan().findings if one.id == DEP)
    assert dep.symbols == ("example.test/dep.Danger",)
    assert dep.said() == "example.test/dep v1.2.3, fixed in v1.2.4: Danger is dangerous"


def test_of_a_stripped_binary_every_vulnerability_of_its_modules_counts_and_no_function_is_claimed() -> None:
    judged = judge(scan("stripped"), policy(), NOW)
    assert {one.finding.id: one.state for one in judged} == {DEP: "counts", STD: "counts"}
    assert {one.finding.level for one in judged} == {"module"}
    assert all(one.finding.symbols == () for one in judged)
    assert all("stripped" in one.note for one in judged)


@pytest.mark.parametrize("name", [DEP, "CVE-2026-99001"])
def test_what_is_ignored_counts_again_the_day_after(name: str) -> None:
    until = {"id": name, "reason": "not reachable here", "until": "2026-11-22"}
    assert states(ignore=[until])[DEP] == "ignored"
    assert states(ignore=[{**until, "until": "2026-11-21"}])[DEP] == "expired"


def test_a_database_that_is_too_old_is_told_with_its_age() -> None:
    assert too_old(scan(), policy(), NOW) is None
    assert too_old(scan(), policy(max_age_days=2), NOW) is None
    told = too_old(scan(), policy(max_age_days=1), NOW)
    assert told is not None and "changed last on 2026-11-20, 2 days ago" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "of protocol unknown"),
        ("Scanning your binary...", "is no JSON"),
        ('{"config": {"protocol_version": "v9.0.0"}}', "of protocol v9.0.0, known is v1.x"),
    ],
)
def test_an_answer_that_is_not_understood_is_never_taken_for_no_findings(text: str, told: str) -> None:
    with pytest.raises(ScanError, match=told):
        read(text, stripped=False)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "vulnerabilities.database: is required"),
        ({"database": "https://vuln.go.dev"}, "vulnerabilities.database"),
        ({"database": "file:///d", "program": "bin/govulncheck"}, "absolute path, or the name of a program"),
        ({"database": "file:///d", "policy": "stop"}, "vulnerabilities.policy"),
        ({"database": "file:///d", "ignore": [{"id": DEP, "reason": "x"}]}, r"vulnerabilities.ignore\[0\].until"),
        ({"database": "file:///d", "ignore": [{"id": DEP, "reason": "x", "until": "2026-13-01"}]}, "should be a day"),
        ({"database": "file:///d", "ignore": [{"id": "all", "reason": "x", "until": "2026-12-01"}]}, r"ignore\[0\].id"),
        ({"database": "file:///d", "ignores": []}, "vulnerabilities.ignores"),
    ],
)
def test_group_data_that_makes_no_sense_is_refused_by_key(data: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        parse_fleet({"services": [MINIMAL], "vulnerabilities": data})


# from here on with a program that gives the recorded answer


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """An artifact; its binary is not stripped."""
    path = tmp_path / "hello"
    path.write_bytes(PROGRAM)
    return Stored(path, manifest(PROGRAM))


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """Group data with a database that is one, and a program that says what was recorded."""
    folder = tmp_path / "db" / "index"
    folder.mkdir(parents=True)
    for name in ("db.json", "modules.json"):
        (folder / name).write_text("{}")
    return {"database": folder.parent.as_uri(), "program": str(says(tmp_path, f"cat {DATA}/govulncheck-symbols.txt"))}


def says(tmp_path: Path, command: str) -> Path:
    program = tmp_path / "govulncheck"
    program.write_text(f"#!/bin/sh\n{command}\n")
    program.chmod(0o755)
    return program


def here_with(tmp_path: Path, data: dict[str, Any]) -> RunContext:
    ctx = site(tmp_path / "home", "t1", builder="w1")
    ctx.run.fleets["t1"] = parse_fleet({"services": [MINIMAL], "vulnerabilities": data})
    return ctx


def test_block_refuses_before_anything_is_changed_and_warn_leaves_a_note(
    tmp_path: Path, stored: Stored, data: dict[str, Any]
) -> None:
    ctx = here_with(tmp_path, {**data, "policy": "block"})
    with pytest.raises(RefusedError, match=rf"has 1 known vulnerability: {DEP} .*ignore with a reason.*nothing was ch"):
        vulnerability_gate.refuse_vulnerable(ctx, ctx.targets[0], [stored])
    ctx = here_with(tmp_path, data)
    vulnerability_gate.refuse_vulnerable(ctx, ctx.targets[0], [stored])
    assert [note.partition(":")[0] for note in ctx.run.notes] == ["not stopped, as vulnerabilities.policy is warn"]
    assert [(one.id, one.state) for one in ctx.run.scans[0].findings] == [(DEP, "counts"), (STD, "lesser")]
    ctx = here_with(tmp_path, {**data, "policy": "off"})
    vulnerability_gate.refuse_vulnerable(ctx, ctx.targets[0], [stored])
    assert (ctx.run.notes, ctx.run.scans) == ([], [])


def test_one_binary_is_looked_at_once_for_all_targets(tmp_path: Path, stored: Stored, data: dict[str, Any]) -> None:
    counted = tmp_path / "counted"
    data["program"] = str(says(tmp_path, f"echo x >> {counted}; cat {DATA}/govulncheck-symbols.txt"))
    ctx = here_with(tmp_path, data)
    for _ in range(3):
        vulnerability_gate.refuse_vulnerable(ctx, ctx.targets[0], [stored, stored])
    assert counted.read_text() == "x\n"
    assert len(ctx.run.scans) == len(ctx.run.notes) == 1


def test_targets_that_are_served_at_once_wait_for_one_scan(
    tmp_path: Path, stored: Stored, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    def slow(binary: Path, *_: object, **__: object) -> Scan:
        looked.append(binary)
        gevent.sleep(0.01)
        return scan()

    monkeypatch.setattr(govulncheck, "scan", slow)
    ctx = here_with(tmp_path, data)
    told = [gevent.spawn(vulnerability_gate.reject_reason, ctx, ctx.targets[0], [stored]) for _ in range(3)]
    gevent.joinall(told)
    assert len(looked) == len(ctx.run.scans) == 1 and len({job.value for job in told}) == 1


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("exit 7", "exit status 7: it gave no reason"),
        ("echo 'flag provided but not defined: -mode' >&2; exit 2", "use govulncheck 1.0 or later"),
        ("exec sleep 30", "no end after 1 s"),
        ("true", "of protocol unknown"),
    ],
)
def test_a_scan_that_cannot_be_made_counts_as_a_finding(
    tmp_path: Path, stored: Stored, data: dict[str, Any], command: str, told: str
) -> None:
    data = {**data, "program": str(says(tmp_path, command)), "policy": "block", "timeout": 1}
    ctx = here_with(tmp_path, data)
    with pytest.raises(RefusedError, match=told):
        vulnerability_gate.refuse_vulnerable(ctx, ctx.targets[0], [stored])
    assert told in ctx.run.scans[0].problem


def test_program_and_database_have_to_be_there(tmp_path: Path, stored: Stored, data: dict[str, Any]) -> None:
    with pytest.raises(ScanError, match=r"vulnerabilities\.program: /nowhere is not on this controller"):
        govulncheck.scan(stored.path, policy(program="/nowhere"), stripped=False)
    (tmp_path / "db" / "index" / "modules.json").unlink()
    with pytest.raises(ScanError, match=r"has no index/modules\.json: it is no vulnerability database"):
        govulncheck.scan(stored.path, policy(**data), stripped=False)


def test_every_form_of_the_report_has_the_table(tmp_path: Path, stored: Stored, data: dict[str, Any]) -> None:
    data["ignore"] = [{"id": STD, "reason": "no client", "until": "2999-12-31"}]
    ctx = here_with(tmp_path, {**data, "level": "module"})
    vulnerability_gate.refuse_vulnerable(ctx, ctx.targets[0], [stored])
    report = good().model_copy(update={"scans": ctx.run.scans})
    for text in (markdown.render(report).replace("\\", ""), html.render(report)):
        assert DEP in text and "CVE-2026-99001" in text and "example.test/dep.Danger" in text
        assert "until 2999-12-31: no client" in text
        assert "1 count, 1 ignored" in text
    assert DEP in screen.text(vulnerabilities.table(report.scans))
    assert json.loads(report.model_dump_json())["scans"][0]["findings"][0]["fixed"] == "v1.2.4"
