"""A release of several binaries: what a rollout takes of the store, what is approved, builds without a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gofallback.approval.digest import release_of
from gofallback.artifact.manifest import Manifest
from gofallback.controller.store import ArtifactStore
from gofallback.deploys.building.specs import services_in_use
from gofallback.deploys.checks import readiness
from gofallback.deploys.releasing import plan
from gofallback.deploys.releasing.stored import stored_of
from gofallback.deploys.run.commands import COMMANDS
from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.options import Options
from gofallback.errors import RefusedError
from gofallback.model import Fleet
from tests.unit.attested import SPEC
from tests.unit.contexts import run_context
from tests.unit.services import service
from tests.unit.specs import manifest_of

PLATFORM = "linux/amd64"
TWO = service(build={"binaries": {"worker": {"package": "./cmd/worker"}}})


def manifest(binary: str = "hello", at: str = "2026-11-22T03:00:00Z", **changes: Any) -> Manifest:
    spec = SPEC.model_copy(update={"binary": binary, "package": f"./cmd/{binary}"} | changes)
    return manifest_of(spec, f"{binary} {spec.key}".encode(), at)


def keep(store: ArtifactStore, tmp_path: Path, *made: Manifest) -> None:
    for one in made:
        file = tmp_path / "file"
        file.write_bytes(f"{one.spec.binary} {one.spec.key}".encode())
        store.add(one, file)


def rollout(tmp_path: Path, *made: Manifest) -> RunContext:
    ctx = run_context(tmp_path, "t1", command="rollout", options=Options(version="v1.1.0"))
    keep(ctx.run.store, tmp_path, *made)
    return ctx


def test_a_rollout_takes_every_binary_the_main_one_first_and_of_each_the_newest(tmp_path: Path) -> None:
    newer = manifest("worker", "2026-11-23T00:00:00Z", tags=("x",))
    ctx = rollout(tmp_path, manifest("worker"), manifest(), newer, manifest("hello", platform="linux/arm64"))
    found = [one.manifest.key for one in stored_of(ctx, TWO, PLATFORM)]
    assert found == [manifest().key, newer.key]
    assert [one.manifest.key for one in stored_of(ctx, service(), "linux/arm64")] == [
        manifest("hello", platform="linux/arm64").key
    ]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], "hello v1.1.0: worker was not built for linux/amd64; build every binary with deploys/drill.py"),
        (
            [manifest("worker", commit="d" * 40)],
            "hello v1.1.0: worker was not built for linux/amd64 from commit cccccccccccc, as hello was; build every",
        ),
    ],
)
def test_a_rollout_without_one_of_the_binaries_is_refused(tmp_path: Path, others: list[Manifest], said: str) -> None:
    ctx = rollout(tmp_path, manifest(), *others)
    with pytest.raises(RefusedError) as error:
        stored_of(ctx, TWO, PLATFORM)
    assert str(error.value).startswith(said)


def test_the_one_binary_may_have_been_built_under_another_name(tmp_path: Path) -> None:
    ctx = rollout(tmp_path, manifest("hellod"))
    assert stored_of(ctx, service(), PLATFORM)[0].manifest.spec.binary == "hellod"
    (tmp_path / "two").mkdir()
    ctx = rollout(tmp_path / "two", manifest("hellod"), manifest("worker"))
    with pytest.raises(RefusedError, match="hello was not built for linux/amd64"):
        stored_of(ctx, service(), PLATFORM)


def test_an_approval_is_of_every_binary() -> None:
    main, worker = manifest(), manifest("worker")
    both = release_of("hello", "v1.1.0", [main, worker])
    assert len(both.artifacts) == 2 and both.digest != release_of("hello", "v1.1.0", [main]).digest
    again = manifest("worker", "2026-11-23T00:00:00Z", tags=("x",))
    assert release_of("hello", "v1.1.0", [main, worker, again]).digest != both.digest
    chosen = {(PLATFORM, "hello"): main.key, (PLATFORM, "worker"): worker.key}
    assert release_of("hello", "v1.1.0", [main, worker, again], chosen).digest == both.digest


def test_a_drill_without_targets_builds_what_group_data_lists(tmp_path: Path) -> None:
    ctx = run_context(tmp_path, builder="w1", command="drill")
    listed = service(build={"platforms": ["windows/amd64"]})
    ctx.run.fleets["w1"] = Fleet(services={"hello": listed})
    assert services_in_use(ctx) == [listed]
    readiness._platforms(ctx)
    ctx.run.fleets["w1"] = Fleet(services={"hello": service()})
    with pytest.raises(RefusedError, match="is empty, and no target says what to build for"):
        readiness._platforms(ctx)
    ctx.run.command = COMMANDS["fallback"]
    assert services_in_use(ctx) == []


def test_an_extra_binarys_manifest_goes_to_a_target_as_it_was_signed(tmp_path: Path) -> None:
    ctx = rollout(tmp_path, manifest(), manifest("worker"))
    worker = stored_of(ctx, TWO, PLATFORM)[1]
    signed = b'{"of": "an older gofallback"}\n'
    (worker.path.parent / "manifest.json").write_bytes(signed)
    (worker.path.parent / "provenance.json").write_bytes(b"{}")
    beside = plan._beside_extra([worker])
    assert beside == {"worker.manifest.json": signed, "worker.provenance.json": b"{}"}
    (worker.path.parent / "manifest.json").unlink()
    assert plan._beside_extra([worker]) == {"worker.provenance.json": b"{}"}
