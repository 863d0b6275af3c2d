"""``gofallback attest``, and what a run and an upload do with attestations."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gofallback.artifact.binary import inspect_bytes
from gofallback.builder.state import BuilderState, ToolchainFound
from gofallback.cli.main import main
from gofallback.controller.paths import Home
from gofallback.controller.store import ArtifactStore, Stored
from gofallback.deploys.building import attest
from gofallback.model import Toolchain, ToolchainPin
from gofallback.provenance import envelope, statement, twin
from gofallback.provenance.attest import attached_files
from gofallback.provenance.keys import controller_key
from gofallback.provenance.statement import Materials, Statement
from gofallback.source.model import ResolvedSource
from tests.unit.attested import FILES, PROGRAM, SPEC, manifest

GO = ToolchainPin(tool="go", version="1.27.0", url="https://dl.example.com/go.zip", sha256="a" * 64)
GIT = ToolchainPin(tool="git", version="2.55.0", url="https://dl.example.com/git.zip", sha256="b" * 64)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path / "home")


@pytest.fixture
def old(home: Home, tmp_path: Path) -> Path:
    """An artifact of the time before there were attestations."""
    (tmp_path / "hello").write_bytes(PROGRAM)
    return ArtifactStore(home.artifacts).add(manifest(), tmp_path / "hello").path.parent


def said(folder: Path) -> Statement:
    return statement.read(envelope.unseal((folder / "provenance.json").read_bytes()).payload)


def test_an_old_artifact_is_attested_on_demand_and_says_so(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attest", "v1.1.0"]) == 0
    assert capsys.readouterr().out.startswith("hello v1.1.0 linux/amd64: attested with key ")
    assert sorted(path.name for path in old.iterdir()) == sorted(FILES)
    assert main(["verify", str(old)]) == 0
    made = said(old).predicate
    assert made.run_details.metadata.attested_afterwards is True and made.run_details.metadata.invocation_id is None
    assert "repository" not in made.build_definition.external_parameters


def test_what_is_attested_stays_without_the_option_again(
    old: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["attest", "v1.1.0"])
    before = (old / "provenance.json").read_bytes()
    (home.keys / "provenance.pem").unlink()
    (home.keys / "provenance.pub").rename(home.keys / "2025.pub")
    capsys.readouterr()
    assert main(["attest", "v1.1.0"]) == 0
    assert capsys.readouterr().out == "hello v1.1.0 linux/amd64: attested already\n"
    assert (old / "provenance.json").read_bytes() == before
    assert main(["verify", str(old)]) == 0  # a key of before is this controller's too
    assert main(["attest", "--again", "v1.1.0"]) == 0
    assert (old / "provenance.json").read_bytes() != before
    assert main(["verify", str(old)]) == 0


def second(old: Path, home: Home) -> None:
    """A second builder's attestation beside the artifact, signed with the key of today."""
    info = inspect_bytes(PROGRAM)
    assert info.build is not None
    second_manifest = manifest().model_copy(update={"builder": "w2"})
    content = twin.make(second_manifest, info.build, Materials(), controller_key(home.keys))
    stored = Stored(old / "hello", manifest())
    ArtifactStore(home.artifacts).attach(stored, {"twin.json": content})


def test_a_change_of_keys_signs_the_second_builders_attestation_again(
    old: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    second(old, home)
    main(["attest", "v1.1.0"])
    (home.keys / "provenance.pem").unlink()
    (home.keys / "provenance.pub").rename(home.keys / "2025.pub")
    assert main(["attest", "--again", "v1.1.0"]) == 0
    assert "; twin.json was signed again too\n" in capsys.readouterr().out
    (home.keys / "2025.pub").unlink()
    assert main(["verify", str(old)]) == 0
    assert "reproduced: w2 built the same bytes" in capsys.readouterr().out
    assert " twin.json\n" in (old / "checksums.txt").read_text()


def test_an_attestation_signed_with_a_leaked_key_is_not_signed_again(
    old: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    second(old, home)
    main(["attest", "v1.1.0"])
    for name in ("provenance.pem", "provenance.pub"):
        (home.keys / name).unlink()
    assert main(["attest", "--again", "v1.1.0"]) == 0
    assert "; twin.json was removed, as it is not signed with a trusted key: have a second" in capsys.readouterr().out
    assert not (old / "twin.json").exists() and main(["verify", str(old)]) == 0


def test_what_is_not_in_the_store_is_one_line(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["v9"], ["v1.1.0", "--service", "other"]):
        assert main(["attest", *argv]) == 1
        assert "not in the artifact store (hello: v1.1.0)" in capsys.readouterr().err


def test_a_binary_that_is_not_what_its_manifest_says_is_not_signed(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hello").write_bytes(PROGRAM)
    wrong = manifest(spec=SPEC.model_copy(update={"go_version": "1.26.0"}))
    folder = ArtifactStore(home.artifacts).add(wrong, tmp_path / "hello").path.parent
    assert main(["attest", "v1.1.0"]) == 1
    shown = capsys.readouterr().err
    assert "was built by Go 1.27.0, should be Go 1.26.0" in shown and shown.endswith("not signed\n")
    assert not (folder / "provenance.json").exists()


def found(tool: str, version: str, sha256: str | None) -> ToolchainFound:
    return ToolchainFound(tool, version, f"C:\\{tool}", sha256, "ours" if sha256 else "machine")


def ctx(home: Home, sources: dict[str, Any]) -> Any:
    table = Toolchain(go="1.27.0", git="2.55.0", pins=[GO, GIT])
    fleet = SimpleNamespace(toolchain=table, builder=SimpleNamespace(root="C:\\gofallback", use_installed=True))
    return SimpleNamespace(run=SimpleNamespace(home=home, id="r1", sources=sources), fleet=lambda _: fleet)


def test_a_run_says_which_toolchains_and_which_repository(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = BuilderState(
        "C:\\gofallback",
        toolchains={("go", "1.27.0"): found("go", "1.27.0", "a" * 64)},
        installed={"git": (found("git", "2.55.0.1", None),)},
    )
    monkeypatch.setattr(attest, "builder_state", lambda *_: state)
    source = ResolvedSource.model_construct(  # type: ignore[call-arg]
        repository="https://u:p@git.example.com/hello.git", commit="c" * 40, ref="main", submodules=()
    )
    info = inspect_bytes(PROGRAM)
    for sources in ({"hello": source}, {}):
        files = attest.sign_attestations(ctx(home, sources), cast(Any, None), manifest(), info)
        made = statement.read(envelope.unseal(files["provenance.json"]).payload)
        parameters = made.predicate.build_definition.external_parameters
        assert parameters.get("repository") == ("https://git.example.com/hello.git" if sources else None)
        assert made.predicate.run_details.metadata.invocation_id == "r1"
        go, git = made.dependency("go"), made.dependency("git")
        assert go is not None and go.digest == {"sha256": "a" * 64} and go.uri == GO.url
        assert git is not None and git.digest is None and git.annotations is not None
        assert git.annotations["version"] == "2.55.0.1"


def test_what_goes_to_a_target_is_what_is_there(old: Path) -> None:
    assert attached_files(old) == {}
    main(["attest", "v1.1.0"])
    assert sorted(attached_files(old)) == ["provenance.json", "sbom.json"]
    assert json.loads(attached_files(old)["sbom.json"])["bomFormat"] == "CycloneDX"
