"""The builder is not trusted: two have to agree, one is judged by what runs in production, targets get what is proven.

One lab for all of it: a cold build costs a minute of a Windows host.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gofallback.provenance.keys import PUBLIC, controller_key
from lab import Lab
from lab.linux.builder import ROOT
from tests.lab.conftest import fresh_name
from tests.lab.fleet import Fleet

pytestmark = pytest.mark.lab

REQUIRED = {"trust": {"twin": "required"}}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A Windows and a Linux builder that have built v1.0.0 alike, and a target that runs it."""
    with Lab.up(fresh_name(), targets=1, builders=1, linux_builders=1) as lab:
        made = Fleet(lab, tmp_path_factory.mktemp("controller"))
        result = made.run("fallback", "--data", "ref=v1.0.0", data=REQUIRED, seconds=900)
        assert result.code == 0, result.output
        shutil.copytree(max((made.home / "runs").iterdir()), made.home / "first")
        yield made


def store(fleet: Fleet, version: str = "v1.0.0") -> Path:
    """The folder of the service's artifact."""
    (folder,) = (fleet.home / "artifacts" / "hello" / version / "linux-amd64").iterdir()
    return folder


def compared(fleet: Fleet) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = fleet.report()["comparisons"]
    return [row for row in rows if row["service"] == "hello"]


def test_two_builders_build_at_the_same_time_and_what_both_made_is_shipped(pair: Fleet) -> None:
    report = json.loads((pair.home / "first" / "report.json").read_text())
    spans = {span["host"]: span for stage in report["stages"] if stage["name"] == "build" for span in stage["spans"]}
    first, second = spans["w1"], spans["b1"]
    assert min(first["end"], second["end"]) > max(first["start"], second["start"])
    rows = {row["service"]: row for row in report["comparisons"]}
    assert set(rows) == {"hello", "gofallback-agent"}
    assert all(row["same"] and row["names"] == ["w1", "b1"] for row in rows.values())
    shown = pair.command("verify", str(store(pair)))
    assert shown.code == 0 and "reproduced: b1 built the same bytes" in shown.output
    assert pair.lab.host("t1").run("ls /opt/hello/current/twin.json", check=False).returncode == 0
    again = pair.run("fallback", "--data", "ref=v1.0.0", data=REQUIRED)
    assert again.code == 0 and "to be built" not in again.output
    assert pair.report()["verdict"] == "unchanged"


@contextmanager
def other_go(pair: Fleet) -> Iterator[None]:
    """A go on b1 that adds a build tag, as no data and no login can ask it to."""
    go, host = f"{ROOT}/toolchains/go*/bin/go", pair.lab.host("b1")
    text = '#!/bin/sh\nGOFLAGS=-tags=debug exec "$0.real" "$@"\n'
    host.run(f"for go in {go}; do mv $go $go.real; printf '%s' {shlex.quote(text)} >$go; chmod 755 $go; done")
    try:
        yield
    finally:
        host.run(f"for go in {go}; do mv $go.real $go; done")


def test_builds_that_differ_are_not_shipped_and_the_reason_is_said(pair: Fleet) -> None:
    before = pair.live("t1")
    with other_go(pair):
        result = pair.run("fallback", "--data", "ref=v1.1.0", data=REQUIRED, seconds=900)
    assert result.code == 4, result.output
    result.line(r"hello linux/amd64: -tags: w1 has none, b1 debug; look for GOFLAGS")
    (row,) = compared(pair)
    assert not row["same"] and row["why"][0].startswith("-tags: w1 has none, b1 debug")
    whole = json.loads(((pair.home / "runs" / pair.report()["run_id"]) / row["file"]).read_text())
    assert whole["findings"][0]["kind"] == "setting" and whole["names"] == ["w1", "b1"]
    assert pair.live("t1") == before and "v1.1.0" not in str(list((pair.home / "artifacts" / "hello").iterdir()))
    good = pair.run("drill", "--data", "ref=v1.1.0", data=REQUIRED, seconds=900)  # what b1 made then is not used again
    assert good.code == 0 and compared(pair)[0]["same"], good.output


def test_what_one_builder_alone_built_is_refused_until_another_has(pair: Fleet, tmp_path: Path) -> None:
    alone = Fleet(pair.lab, tmp_path / "controller")
    assert alone.run("drill", "--data", "ref=v1.0.0", seconds=900).code == 0
    refused = alone.run(
        "rollout", "--data", "version=v1.0.0", data={"hello": {"unit": {"environment": {"A": "1"}}}, **REQUIRED}
    )
    assert refused.code == 2, refused.output
    refused.line("only w1 is known to have built them; have both build it: deploys/drill.py")
    result = alone.run("drill", "--data", "ref=v1.0.0", "--data", "twin=b1", seconds=900)
    assert result.code == 0, result.output
    assert "reproduced: b1 built the same bytes" in alone.command("verify", str(store(alone))).output
    # w1 is gone: what it built and b1 confirmed needs nobody more
    gone = {"hosts": {"w1": {"ssh_port": 9}}, **REQUIRED}
    assert alone.run("drill", "--data", "ref=v1.0.0", data=gone).code == 0


def test_without_a_second_builder_nothing_begins_unless_somebody_says_why(pair: Fleet) -> None:
    gone = {"hosts": {"b1": {"ssh_port": 9}}, "hello": {"build": {"stamp": {"main.version": "x"}}}, **REQUIRED}
    refused = pair.run("fallback", "--data", "ref=v1.0.0", data=gone)
    assert refused.code == 2
    refused.line(
        r"trust.twin: no second builder is there \(b1 cannot be reached\) to build hello v1.0.0 linux/amd64 too"
    )
    unsaid = pair.run("drill", "--data", "ref=v1.0.0", "--data", "twin=false", data=gone)
    assert unsaid.code == 2 and "setting it aside needs --data reason='why'" in unsaid.output


def test_a_builder_that_makes_what_runs_in_production_is_a_faithful_replacement(pair: Fleet) -> None:
    result = pair.run("faithful", data={"hosts": {"w1": {"ssh_port": 9}}}, seconds=900)
    assert result.code == 0, result.output
    result.line("b1 is a faithful replacement: yes")
    (row,) = compared(pair)
    assert row["same"] and row["names"] == ["b1", "t1"] and pair.report()["faithful"] is True


def test_what_another_system_brought_is_built_again_by_what_its_bytes_say(pair: Fleet) -> None:
    t1, path = pair.lab.host("t1"), "/usr/local/bin/hello"
    t1.run(f"cp /opt/hello/current/bin/hello {path}")
    result = pair.run("faithful", "--data", f"binary={path}")
    assert result.code == 0, result.output
    result.line("w1 is a faithful replacement: yes")
    t1.run(f"cp /opt/hello/current/lib/gofallback-agent {path}")
    refused = pair.run("faithful", "--data", f"binary={path}")
    assert refused.code == 2
    refused.line(rf"t1: {path}: has no commit in it .* it cannot be built again")


def test_other_bytes_on_a_target_are_found_and_nothing_is_shipped(pair: Fleet) -> None:
    t1, path = pair.lab.host("t1"), "/opt/hello/current/bin/hello"
    t1.run(f"cp -p {path} /root/kept && cp {path} {path}.new && printf x >> {path}.new && mv {path}.new {path}")
    try:
        judged = pair.run("faithful", seconds=900)
        assert judged.code == 4, judged.output
        judged.line("w1 is a faithful replacement: no")
        judged.line(r"t1 was changed: w1 makes the bytes that its manifest says")
        judged.line("every section is the same; they differ outside of them")
        before = t1.run("ls /opt/hello/releases").stdout
        refused = pair.run(
            "fallback",
            "--data",
            "ref=v1.0.0",
            "--data",
            "faithful=true",
            data={"hello": {"unit": {"environment": {"A": "2"}}}},
        )
        assert refused.code == 4 and t1.run("ls /opt/hello/releases").stdout == before
    finally:
        t1.run(f"mv /root/kept {path}")


def tampered(folder: Path, way: str, other: Path) -> None:
    """What somebody may do in the store, who does not have the key."""
    provenance = folder / "provenance.json"
    if way == "missing":
        provenance.unlink()
    elif way == "altered":
        sealed = json.loads(provenance.read_text())
        provenance.write_text(json.dumps({**sealed, "payload": sealed["payload"][:-8] + "AAAAAAA="}))
    elif way == "of other bytes":
        shutil.copy(other / "provenance.json", provenance)
    elif way == "another program":
        shutil.copy(other / "gofallback-agent", folder / "hello")
        message, theirs = (json.loads((one / "manifest.json").read_text()) for one in (folder, other))
        message |= {"sha256": theirs["sha256"], "size": theirs["size"]}
        (folder / "manifest.json").write_text(json.dumps(message))
    elif way == "damaged":
        with (folder / "hello").open("ab") as file:
            file.write(b"x")


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("missing", "provenance.json: missing"),
        ("altered", "was changed after it was signed"),
        ("of other bytes", "is about another subject"),
        ("another program", "hello: has sha256 .*it was changed or damaged"),
        ("damaged", "hello is damaged: sha256 .*; build it again: deploys/drill.py --data ref=v1.0.0"),
        ("unknown key", "was signed with the unknown key"),
    ],
)
def test_what_is_not_proven_is_refused_before_anything_changes(
    pair: Fleet, tmp_path: Path, way: str, message: str
) -> None:
    home = tmp_path / "controller"
    for name in ("artifacts", "keys"):
        shutil.copytree(pair.home / name, home / name)
    anew, data = Fleet(pair.lab, home), {"hello": {"unit": {"environment": {"WAY": way}}}}
    if way == "unknown key":
        controller_key(tmp_path / "other")
        data["trust"] = {"keys": [(tmp_path / "other" / PUBLIC).read_text()]}
    else:
        agents = next((home / "artifacts" / "gofallback-agent").glob("*/linux-amd64/*"))
        tampered(store(anew), way, agents)
    before = pair.lab.host("t1").run("ls /opt/hello/releases").stdout
    refused = anew.run("rollout", "--data", "version=v1.0.0", data=data)
    assert refused.code == 2, refused.output
    refused.line(message)
    assert pair.lab.host("t1").run("ls /opt/hello/releases").stdout == before


def older_as_newer(pair: Fleet) -> None:
    """Genuine bytes with their genuine proof, under the name of a version that they are not."""
    t1, newer = pair.lab.host("t1"), "/opt/hello/releases/v9.0.0-0123abcd"
    t1.run(f"cp -a $(readlink -f /opt/hello/current) {newer}")
    activate = f"{newer}/lib/gofallback-agent activate -plan {newer}/conf/activation.json -release v9.0.0-0123abcd"
    try:
        refused = t1.run(f"{activate} -run-id downgrade 2>&1", check=False)
        assert refused.returncode == 2, refused.stdout
        assert 'was signed for the version "v1.0.0", expected "v9.0.0"' in refused.stdout
        assert "v9.0.0" not in t1.run("readlink -f /opt/hello/current").stdout
    finally:
        t1.run(f"rm -r {newer}")


def test_a_target_with_keys_of_its_own_refuses_what_none_of_them_signed(pair: Fleet, tmp_path: Path) -> None:
    t1, data = pair.lab.host("t1"), {"hello": {"unit": {"environment": {"KEY": "1"}}}}
    controller_key(tmp_path / "other")
    t1.put("/etc/gofallback/trusted-keys/other.pub", (tmp_path / "other" / PUBLIC).read_bytes())
    before = pair.live("t1")
    try:
        refused = pair.run("rollout", "--data", "version=v1.0.0", data=data)
        assert refused.code != 0 and pair.live("t1") == before
        refused.line("provenance.json was altered, or signed with a key that is not known here")
        t1.put("/etc/gofallback/trusted-keys/controller.pub", (pair.home / "keys" / PUBLIC).read_bytes())
        assert pair.run("rollout", "--data", "version=v1.0.0", data=data).code == 0
        assert pair.live("t1") != before
        older_as_newer(pair)
    finally:
        t1.run("rm -r /etc/gofallback")
