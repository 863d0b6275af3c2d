"""A target's manifest is not built from unless it is harmless, stored or signed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gofallback.artifact.binary import inspect_bytes
from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.artifact.manifest import Manifest
from gofallback.controller.store import manifest_text
from gofallback.deploys.building import production
from gofallback.deploys.run.context import RunContext
from gofallback.provenance.attest import attestations
from gofallback.provenance.keys import controller_key
from gofallback.release.state import ReleaseState, ServiceState
from tests.unit.attested import MATERIALS, PROGRAM, SPEC, manifest
from tests.unit.contexts import run_context

RELEASE = "v1.1.0-0123abcd"
GCC = CgoSpec(compiler="gcc", cc="/tmp/evil", cxx="g++", ar="ar")


def compared(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reported: Manifest,
    *,
    signed: dict[str, bytes] | None = None,
    more: dict[str, str] | None = None,
) -> RunContext:
    """A run that compares with one target: its manifest, the hashes of more files, and files that it serves."""
    state = ServiceState(
        "hello",
        "/opt/hello",
        current=RELEASE,
        releases={RELEASE: ReleaseState(RELEASE, manifest=manifest_text(reported))},
        hashes={"bin/hello": reported.sha256, **(more or {})},
    )
    ctx = run_context(tmp_path, "t1", builder="w1", command="faithful")
    known: Any = SimpleNamespace(services={"hello": state}, platform="linux/amd64")
    monkeypatch.setattr(production, "state_of", lambda *_: known)

    def cat(_: Any, __: Any, command: str, **___: Any) -> tuple[int, list[str]]:
        content = (signed or {}).get(command.rpartition("/")[2])
        return (1, ["no such file"]) if content is None else (0, content.decode().splitlines())

    for module in (production,):
        monkeypatch.setattr(module, "run", cat)
    return ctx


def of(**changed: Any) -> Manifest:
    return manifest(spec=SPEC.model_copy(update=changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"binary": "../../../../home/ci/.ssh/authorized_keys"},
        {"version": "../../x"},
        {"service": "other"},
        {"platform": "linux/../.."},
        {"commit": "--upload-pack=/tmp/evil"},
        {"package": "-toolexec=/tmp/evil"},
        {"package": "./../../x"},
        {"directory": "../x"},
        {"go_version": "1.27.0/../../x"},
        {"tags": ("a b",)},
        {"generator_tags": ("a -toolexec=/tmp/evil",)},
        {"stamp": (("main.version", "a\nb"),)},
        {"environment": (("GOFLAGS", "-toolexec=/tmp/evil"),)},
        {"environment": (("GOAMD64", "v1 & evil"),)},
        {"generate": ("./...",)},
        {"cgo": GCC},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_a_manifest_that_could_harm_builder_or_controller_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    ctx = compared(tmp_path, monkeypatch, of(**changed))
    assert production.live_binaries(ctx) == []
    assert ctx.run.notes[0].startswith("t1: the manifest of hello is not trusted: ")


def test_what_only_changes_the_bytes_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = of(environment=(("GOAMD64", "v3"),), tags=("netgo",))
    ctx = compared(tmp_path, monkeypatch, reported)
    assert production.specs(ctx) == [reported.spec]
    assert ctx.run.notes == []


def test_what_the_store_has_or_a_trusted_key_signed_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = of(environment=(("GOFLAGS", "-mod=vendor"),), generate=("./...",))
    beside = attestations(
        reported, manifest_text(reported), inspect_bytes(PROGRAM), MATERIALS, controller_key(tmp_path / "k")
    )
    others = compared(tmp_path / "others", monkeypatch, reported, signed=beside)
    assert production.specs(others) == []  # not signed by a trusted key
    beside = attestations(
        reported,
        manifest_text(reported),
        inspect_bytes(PROGRAM),
        MATERIALS,
        controller_key(tmp_path / "ours" / "keys"),
    )
    assert production.specs(compared(tmp_path / "ours", monkeypatch, reported, signed=beside)) == [reported.spec]
    more = of(environment=(("GOFLAGS", "-toolexec=x"),), generate=("./...",))
    assert (
        production.specs(compared(tmp_path / "ours", monkeypatch, more, signed=beside)) == []
    )  # signed for another one
    stored = compared(tmp_path / "stored", monkeypatch, reported)
    (tmp_path / "hello").write_bytes(PROGRAM)
    stored.run.store.add(reported, tmp_path / "hello")
    assert production.specs(stored) == [reported.spec]


def test_a_program_without_a_manifest_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    liar = {"ctl.manifest.json": manifest_text(manifest())}  # says that it is about bin/hello
    ctx = compared(tmp_path, monkeypatch, manifest(), signed=liar, more={"bin/ctl": digest, "lib/a": digest})
    assert [one.path for one in production.live_binaries(ctx)] == [f"/opt/hello/releases/{RELEASE}/bin/hello"]
    assert ctx.run.notes == [f"bin/ctl of {RELEASE} on t1: it has no trusted manifest; left out of the comparison"]


def test_a_manifest_with_another_key_than_its_builds_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = Manifest.model_validate_json(json.dumps(json.loads(manifest_text(manifest())) | {"key": "0" * 64}))
    ctx = compared(tmp_path, monkeypatch, reported)
    assert production.live_binaries(ctx) == [] and "its key is not the key of its build" in ctx.run.notes[0]
