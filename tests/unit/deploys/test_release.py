"""What the stage `release` decides once the artifacts of the run are built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gofallback.controller.store import Stored
from gofallback.deploys.release import put
from gofallback.deploys.releasing import plan
from gofallback.deploys.releasing.desired import DesiredRelease
from gofallback.deploys.run.context import RunContext
from gofallback.release.render import ReleaseFiles
from gofallback.release.state import TargetState
from tests.unit.contexts import Named, run_context
from tests.unit.specs import SPEC, manifest_of
from tests.unit.targets import release, target

ID = "v1.1.0-aaaaaaaa"


class Quiet(Named):
    """A host that keeps the reasons for doing nothing."""

    def noop(self, reason: str) -> None:
        self.said.append(reason)


@pytest.fixture
def ctx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    """A run on a target that has the release's folder, with a binary of another build in it."""
    host = Quiet("t1")
    found = replace(target("v1.0.0-bbbbbbbb", release(ID, sha256="e" * 64)), user_exists=True)
    there = TargetState(services={"hello": found})
    monkeypatch.setattr(plan, "state_of", lambda *_: there)
    monkeypatch.setattr(RunContext, "host", host)
    return run_context(tmp_path, "t1")


def test_a_binary_that_this_run_built_is_sent_although_the_plan_saw_its_release_on_the_target(ctx: RunContext) -> None:
    service = ctx.run.fleets["t1"].services["hello"]
    files = ReleaseFiles(ID, "hello", "/opt/hello", "v1.1.0", {})
    desired = DesiredRelease(service=service, files=files, binary=SPEC, agent=SPEC)
    host: Any = ctx.host
    assert list(put._inner(ctx, desired)) == []
    assert host.said == [f"hello: release {ID} is there"]
    ctx.run.artifacts[SPEC.key] = Stored(Path("hello"), manifest_of(SPEC, b"new"))
    assert len(list(put._inner(ctx, desired))) == 1, "asked again when executed, it sends"
