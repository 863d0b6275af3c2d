"""What `status` says below its table: who runs what, and which run has not ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gofallback.deploys.status import _row
from gofallback.model import Service
from gofallback.release.state import ReleaseState, ServiceState, TargetState
from gofallback.report.fleet import StatusRow, version_lines
from tests.unit.contexts import run_context
from tests.unit.services import MINIMAL

RUN = "20261122T031244Z-9f3a"


def row(host: str, version: str, **more: str) -> StatusRow:
    return StatusRow(host=host, service="hello", condition="healthy", version=version).model_copy(update=more)


def test_a_fleet_on_one_version_needs_no_line() -> None:
    assert version_lines([row("t1", "v1"), row("t2", "v1")]) == []


def test_a_fleet_on_two_versions_is_reported_with_every_target() -> None:
    (line,) = version_lines([row("t1", "v2"), row("t2", "v1"), row("t3", "v1")])
    assert line.plain == "hello is not on one version: v2 on t1; v1 on t2, t3"


def test_a_run_that_has_not_ended_is_reported_once_with_both_ways_out() -> None:
    lines = version_lines([row("t1", "v2", unfinished=RUN), row("t2", "v2", unfinished=RUN)])
    assert [line.plain for line in lines] == [
        f"run {RUN} has not ended: deploys/rollout.py --data resume={RUN}, or --data abort={RUN}"
    ]


@pytest.mark.parametrize(
    ("manifest", "version"),
    [
        ({"spec": {"version": "v1", "commit": "c"}}, "v1"),
        ({"spec": {"version": ["v1"], "commit": 7}}, None),
        ({"spec": "v1"}, None),
        (["spec"], None),
    ],
)
def test_a_damaged_manifest_ends_in_a_row_and_not_in_a_traceback(
    manifest: Any, version: str | None, tmp_path: Path
) -> None:
    content = json.dumps(manifest).encode()
    found = ServiceState("hello", "/opt/hello", current="r1", releases={"r1": ReleaseState("r1", manifest=content)})
    target = TargetState(services={"hello": found})
    ctx = run_context(tmp_path, "t1")
    assert _row(ctx, ctx.targets[0], Service(**MINIMAL), target).version == version
