"""How a program that gofallback did not install is rebuilt, by the build info in its bytes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gofallback.artifact.binary import inspect_bytes
from gofallback.artifact.spec import BuildSpec
from gofallback.deploys.building import foreign
from gofallback.deploys.run.context import RunContext
from gofallback.errors import RefusedError
from gofallback.model import Service
from tests.unit.binaries import SETTINGS, ElfMaker, build_info, module_text
from tests.unit.contexts import run_context
from tests.unit.services import MINIMAL

BUILD = {"platforms": ["darwin/arm64", "windows/amd64"], "tags": ["netgo"], "binaries": {"ctl": {"package": "./ctl"}}}


def recovered(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str] | None = None,
    *,
    go: str = "go1.26.6",
    path: str = "/usr/local/bin/hello",
) -> tuple[BuildSpec, RunContext]:
    """What would be built, and the run."""
    ctx = run_context(tmp_path, "t1", builder="w1", command="faithful")
    source: Any = SimpleNamespace(commit=SETTINGS["vcs.revision"], version="v1.1.0")
    known: Any = SimpleNamespace(platform="linux/amd64")
    monkeypatch.setattr(foreign, "source_at", lambda *_: source)
    monkeypatch.setattr(foreign, "state_of", lambda *_: known)
    info = inspect_bytes(ElfMaker(info=build_info(module_text({**SETTINGS, **(settings or {})}), go)).bytes())
    service = Service.model_validate({**MINIMAL, "build": BUILD})
    return foreign._recovered(ctx, ctx.targets[0], service, info, path), ctx


def test_it_is_built_for_the_target_with_the_go_and_the_tags_that_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, ctx = recovered(tmp_path, monkeypatch, {"-tags": "sqlite,netgo", "GOAMD64": "v3"})
    assert (spec.platform, spec.binary, spec.go_version) == ("linux/amd64", "hello", "1.26.6")
    assert spec.tags == ("netgo", "sqlite") and ("GOAMD64", "v3") in spec.environment
    assert ctx.run.notes == [
        "t1: /usr/local/bin/hello: was built with the tags netgo,sqlite, group data says netgo; it is compared with a "
        "build as its own bytes say"
    ]
    extra, _ = recovered(tmp_path, monkeypatch, path="/usr/local/bin/ctl")
    assert (extra.binary, extra.package) == ("ctl", "./ctl")


@pytest.mark.parametrize(
    ("settings", "go", "message"),
    [
        ({}, "go1.27.0/../../x", "'1.27.0/../../x' as its go_version"),
        ({}, "devel go1.28-0123abc", "'devel' as its go_version"),
        ({"-tags": "a b -toolexec=/tmp/evil"}, "go1.27.0", "as its tags"),
        ({"GOAMD64": "v1 & evil"}, "go1.27.0", "'v1 & evil' as its GOAMD64"),
    ],
)
def test_what_cannot_be_a_go_or_a_tag_never_reaches_the_builder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], go: str, message: str
) -> None:
    with pytest.raises(RefusedError, match=r"t1: /usr/local/bin/hello: names .*, which cannot be") as refused:
        recovered(tmp_path, monkeypatch, settings, go=go)
    assert message in str(refused.value)
