"""The binaries in production, and how they are built again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.artifact.spec import BuildSpec
from gofallback.controller.store import Stored, manifest_text
from gofallback.controller.sysroot import packed, read
from gofallback.deploys.building import cgo, production
from gofallback.deploys.building.production import LiveBinary
from gofallback.deploys.run.commands import COMMANDS
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.options import Options
from gofallback.deploys.run.report import PyinfraFacts, to_report
from gofallback.errors import RefusedError
from gofallback.model import DataError, Service
from gofallback.release.state import ReleaseState, ServiceState
from gofallback.report import comparisons
from gofallback.report.model import Report
from tests.unit.attested import SPEC, artifact, manifest
from tests.unit.contexts import run_context
from tests.unit.services import MINIMAL

RELEASE = "v1.1.0-0123abcd"


def state_with(content: bytes | None, *, current: str | None = RELEASE, sha256: str = "") -> Any:
    """A target's state, with the manifest of the live release only."""
    state = ServiceState(
        "hello",
        "/opt/hello",
        current=current,
        releases={RELEASE: ReleaseState(RELEASE, manifest=content)},
        hashes={"bin/hello": sha256},
    )
    return SimpleNamespace(services={"hello": state}, platform="linux/amd64")


def live_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str = "faithful", **states: Any) -> RunContext:
    ctx = run_context(tmp_path, *states, builder="w1", command=command)
    monkeypatch.setattr(production, "state_of", lambda _, host: states[host.name])
    return ctx


def of_release(**more: Any) -> bytes:
    """manifest.json of a release folder, which has more keys than the binary's own."""
    return json.dumps(
        {**json.loads(manifest_text(manifest())), "release": RELEASE, "agent_sha256": "a" * 64, **more}
    ).encode()


def test_each_target_names_what_it_runs_and_each_build_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = live_on(tmp_path, monkeypatch, t1=state_with(of_release()), t2=state_with(of_release()))
    assert [(one.host.name, one.path) for one in production.live_binaries(ctx)] == [
        ("t1", f"/opt/hello/releases/{RELEASE}/bin/hello"),
        ("t2", f"/opt/hello/releases/{RELEASE}/bin/hello"),
    ]
    assert production.specs(ctx) == [SPEC] and production.toolchains(ctx) == [("go", "1.27.0")]
    production.require_comparable(ctx)


def test_a_release_without_manifest_is_looked_up_in_the_store_by_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Stored(artifact(tmp_path / "artifact", tmp_path / "keys") / "hello", manifest())
    ctx = live_on(tmp_path, monkeypatch, t1=state_with(b"not json", sha256=stored.manifest.sha256))
    ctx.run.store.add(stored.manifest, stored.path)
    assert production.specs(ctx) == [SPEC]
    other = live_on(tmp_path, monkeypatch, t1=state_with(None, sha256="b" * 64))
    assert production.specs(other) == []
    assert other.run.notes == [
        f"hello {RELEASE} on t1: no trusted manifest is on the target or in the store; left out of the comparison"
    ]
    assert other.run.uncompared == [f"hello {RELEASE} on t1"]


def test_without_anything_to_compare_with_the_builder_is_not_called_faithful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = live_on(tmp_path, monkeypatch, t1=state_with(None, current=None))
    with pytest.raises(RefusedError, match=r"no target runs a release of hello .*nothing to compare the builder with"):
        production.require_comparable(ctx)
    no_comparison = live_on(tmp_path, monkeypatch, command="fallback", t1=state_with(of_release()))
    production.require_comparable(no_comparison)
    assert production.live_binaries(no_comparison) == []


def judged(ctx: RunContext) -> Report:
    """The report of a run whose builder made the same bytes in every comparison."""
    ctx.run.faithful, ctx.run.compared = True, len(production.live_binaries(ctx))
    return to_report(ctx.run, PyinfraFacts(failed=False, changed=True))


def test_a_builder_is_faithful_as_far_as_it_was_compared_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = state_with(of_release())
    found.services["hello"].hashes["bin/by-hand"] = "c" * 64  # without a manifest
    monkeypatch.setattr(production, "_read", lambda *_: None)
    ctx = live_on(
        tmp_path, monkeypatch, t1=found, t2=state_with(None, sha256="b" * 64), t3=state_with(None, current=None)
    )
    ctx.unreachable_targets = ["t9"]
    report = judged(ctx)
    assert comparisons.verdict(report) == (
        f"this builder is a faithful replacement: yes for 1 of 4; not compared: bin/by-hand of {RELEASE} on t1, "
        f"hello {RELEASE} on t2 and 1 more"
    )
    assert (report.verdict, report.exit_status) == ("partly", 5) and "was not compared: bin/by-hand" in report.reason
    whole = judged(live_on(tmp_path, monkeypatch, t1=state_with(of_release()), t3=state_with(None, current=None)))
    assert comparisons.verdict(whole) == "this builder is a faithful replacement: yes" and whole.exit_status == 0


def test_nothing_is_shipped_on_the_strength_of_half_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = {"t1": state_with(of_release()), "t2": state_with(None, sha256="b" * 64)}
    ctx = live_on(tmp_path, monkeypatch, command="fallback", **states)
    ctx.run.options = Options(faithful=True)
    with pytest.raises(RefusedError, match=rf"not everything that runs .*hello {RELEASE} on t2; why .*--limit"):
        production.require_comparable(ctx)
    production.require_comparable(live_on(tmp_path, monkeypatch, **states))


def test_a_program_of_another_installer_is_only_for_the_comparison() -> None:
    Options(binary="/usr/local/bin/hello").check(COMMANDS["faithful"])
    Options(binary="/usr/local/bin/hello", faithful=True).check(COMMANDS["fallback"])
    with pytest.raises(DataError, match="needs --data faithful=true, which compares that program"):
        Options(binary="/usr/local/bin/hello").check(COMMANDS["fallback"])
    with pytest.raises(DataError, match=r"deploys/rollout\.py does not use it"):
        Options(binary="/usr/local/bin/hello").check(COMMANDS["rollout"])


def with_c(sysroot: str = "", zig: str = "0.14.1") -> BuildSpec:
    return SPEC.model_copy(
        update={"cgo": CgoSpec(compiler="zig", version=zig, target="x86_64-linux-musl", sysroot=sysroot)}
    )


def test_what_was_built_with_c_needs_its_own_zig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = live_on(tmp_path, monkeypatch, t1=state_with(None))
    live = [
        LiveBinary(ctx.targets[0], Service(**MINIMAL), RELEASE, "/x", with_c(zig=one), "a" * 64)
        for one in ("0.14.1", "0.15.2")
    ]
    ctx.once(production._LIVE, lambda: live)
    assert production.toolchains(ctx) == [("go", "1.27.0"), ("zig", "0.14.1"), ("zig", "0.15.2")]


@pytest.fixture
def sysroot(tmp_path: Path) -> Path:
    made = tmp_path / "sysroot"
    (made / "usr/include").mkdir(parents=True)
    (made / "usr/include/foo.h").write_text("int foo(void);\n")
    return made


def linked(sysroot: Path) -> Service:
    build = {"cgo": {"sysroot": str(sysroot)}, "linkage": "dynamic"}
    return Service.model_validate({**MINIMAL, "build": build})


def name_of(sysroot: Path, cache: Path) -> str:
    return read(sysroot, cache, where="x").digest


def test_a_sysroot_that_group_data_still_names_serves_what_runs_in_production(tmp_path: Path, sysroot: Path) -> None:
    ctx = run_context(tmp_path / "home", "t1", builder="w1", command="faithful")
    digest = name_of(sysroot, tmp_path)
    assert [*cgo.sysroots_for(ctx, linked(sysroot), [with_c(digest)])] == [digest]
    assert ctx.run.notes == []


def test_an_older_sysroot_comes_from_the_controller_and_only_if_it_is_what_its_name_says(
    tmp_path: Path, sysroot: Path
) -> None:
    ctx = run_context(tmp_path / "home", "t1", builder="w1", command="faithful")
    older = read(sysroot, tmp_path, where="x")
    kept = packed(older, cgo.sysroot_cache(ctx), lambda _: None)
    (sysroot / "usr/include/foo.h").write_text("int foo(int);\n")  # group data names another one today
    found = cgo.sysroots_for(ctx, linked(sysroot), [with_c(older.digest)])
    assert found[older.digest].digest == older.digest
    assert ctx.run.notes == []

    changed = run_context(tmp_path / "home", "t1", builder="w1", command="faithful")
    now = read(sysroot, tmp_path, where="x")
    packed(now, tmp_path / "other", lambda _: None).replace(kept)
    for _ in range(2):  # noted once
        assert older.digest not in cgo.sysroots_for(changed, linked(sysroot), [with_c(older.digest)])
    assert changed.run.notes == [
        f"hello v1.1.0 was built with the sysroot {older.digest[:12]}, which the controller does not have "
        f"(build.cgo.sysroot is {now.digest[:12]} now; {kept} holds another ({now.digest[:12]}): it was changed, "
        "remove it)"
    ]
