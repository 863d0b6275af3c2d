"""What is written beside an artifact: provenance, SBOM and checksums, read by others' programs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from gofallback.artifact.binary import inspect_bytes
from gofallback.controller.store import ArtifactStore, manifest_text
from gofallback.provenance import ProvenanceError, sbom, statement
from gofallback.provenance.attest import attestations
from gofallback.provenance.keys import PRIVATE, PUBLIC, controller_key, read_public, trusted_keys
from gofallback.provenance.names import Checkout, git_uri
from gofallback.provenance.statement import Materials
from tests.paths import PROJECT
from tests.unit.attested import EMPTY, EMPTY_HEX, FILES, MATERIALS, PROGRAM, artifact, manifest
from tests.unit.binaries import ElfMaker, build_info, module_text


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def statement_of(folder: Path) -> dict[str, Any]:
    envelope = json.loads((folder / "provenance.json").read_bytes())
    return json.loads(base64.b64decode(envelope["payload"]))


def test_provenance_names_parameters_and_materials(tmp_path: Path, keys: Path) -> None:
    made = statement_of(artifact(tmp_path / "a", keys))
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["predicateType"] == "https://slsa.dev/provenance/v1"
    assert made["subject"] == [{"name": "hello", "digest": {"sha256": hashlib.sha256(PROGRAM).hexdigest()}}]
    definition = made["predicate"]["buildDefinition"]
    assert definition["buildType"] == "urn:gofallback:build:go:v1"
    parameters = definition["externalParameters"]
    assert parameters["repository"] == "https://git.example.com/team/hello.git" and parameters["ref"] == "v1.1.0"
    assert (
        parameters["platform"] == "linux/amd64" and parameters["package"] == "./cmd/hello" and parameters["tags"] == []
    )
    assert parameters["flags"] == ["-trimpath", "-ldflags=-s -w -buildid= -X=main.version=v1.1.0"]
    assert definition["resolvedDependencies"] == [
        {
            "name": "source",
            "uri": f"git+https://git.example.com/team/hello.git@{'c' * 40}",
            "digest": {"gitCommit": "c" * 40},
        },
        {
            "name": "source/assets",
            "uri": f"git+ssh://git@git.example.com/team/assets.git@{'d' * 40}",
            "digest": {"gitCommit": "d" * 40},
        },
        {
            "name": "go",
            "uri": "https://dl.example.com/go1.27.0.windows-amd64.zip",
            "digest": {"sha256": "a" * 64},
            "annotations": {"version": "1.27.0"},
        },
        {
            "name": "git",
            "annotations": {"version": "2.55.0", "origin": "installed on the builder before, by somebody else"},
        },
        {"name": "example.com/dep", "uri": "pkg:golang/example.com/dep@v0.3.0"},
        {
            "name": "github.com/Foo/bar/v2",
            "uri": "pkg:golang/github.com/Foo/bar/v2@v2.1.0%2Bincompatible",
            "digest": {"dirHash": EMPTY_HEX},
        },
        {
            "name": "example.com/given",
            "uri": "pkg:golang/example.com/given@v1.0.1",
            "digest": {"dirHash": EMPTY_HEX},
            "annotations": {"replaces": "example.com/asked@v1.0.0"},
        },
        {
            "name": "example.com/local",
            "uri": "pkg:golang/example.com/local",
            "annotations": {"replaces": "example.com/local@v0.0.0"},
        },
    ]
    details = made["predicate"]["runDetails"]
    assert details["builder"] == {"id": "urn:gofallback:builder:w1"}
    assert details["metadata"] == {
        "invocationId": "20261122T031244Z-9f3a",
        "startedOn": "2026-11-22T02:59:47Z",
        "finishedOn": "2026-11-22T03:00:00Z",
    }


def test_no_password_of_a_repository_is_written_anywhere(tmp_path: Path, keys: Path) -> None:
    folder = artifact(tmp_path / "a", keys)
    everything = json.dumps(statement_of(folder)) + "".join(
        (folder / name).read_text("latin-1") for name in FILES if name != "hello"
    )
    for secret in ("hunter2", "deploy", "geheim", "private_token", "PRIVATE KEY"):
        assert secret not in everything


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("https://ghp_0123456789abcdef@github.com/a/b", "git+https://github.com/a/b@"),
        ("ssh://git:word@host:2222/a/b.git", "git+ssh://git@host:2222/a/b.git@"),
        ("git@host:a/b.git", "git+ssh://git@host/a/b.git@"),
        ("host:/srv/b.git", "git+ssh://host/srv/b.git@"),
        ("/srv/git/a b.git", "git+file:///srv/git/a%20b.git@"),
        ("file:///srv/git/b.git", "git+file:///srv/git/b.git@"),
    ],
)
def test_a_repository_becomes_an_address_without_secrets(url: str, uri: str) -> None:
    assert git_uri(Checkout(url, "c" * 40)) == uri + "c" * 40


def test_the_reference_implementations_of_in_toto_and_slsa_read_it(tmp_path: Path, keys: Path) -> None:
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    made = statement_of(artifact(tmp_path / "a", keys))
    Statement.copy_from_pb(json_format.ParseDict(made, statement_pb2.Statement())).validate()
    # Strict: an unknown or misspelt field is an error.
    read = json_format.ParseDict(made["predicate"], provenance_pb2.Provenance())
    assert read.build_definition.resolved_dependencies[0].digest["gitCommit"] == "c" * 40


def test_the_signature_is_good_by_openssl_alone_as_the_documentation_says(tmp_path: Path, keys: Path) -> None:
    page = (PROJECT / "docs" / "provenance.md").read_text()
    (commands,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    folder = artifact(tmp_path / "a", keys)
    shutil.copy(keys / PUBLIC, folder)

    def check() -> int:
        return subprocess.run(["bash", "-euc", commands], cwd=folder, capture_output=True, check=False).returncode

    assert check() == 0
    assert json.loads((folder / "statement.json").read_bytes()) == statement_of(folder)
    envelope = json.loads((folder / "provenance.json").read_bytes())
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", PUBLIC, "-outform", "DER"], cwd=folder, capture_output=True, check=True
    ).stdout
    assert envelope["signatures"][0]["keyid"] == hashlib.sha256(der).hexdigest()
    envelope["payload"] = base64.b64encode(base64.b64decode(envelope["payload"]) + b" ").decode()
    (folder / "provenance.json").write_text(json.dumps(envelope))
    assert check() != 0


def test_the_sbom_is_valid_cyclonedx_and_names_every_module_with_its_hash(tmp_path: Path, keys: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (artifact(tmp_path / "a", keys) / "sbom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    made = json.loads(text)
    program = made["metadata"]["component"]
    assert program["purl"] == "pkg:golang/example.com/hello@v1.1.0#cmd/hello"
    assert program["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(PROGRAM).hexdigest()}]
    parts = {one["purl"]: one for one in made["components"]}
    assert sorted(parts) == [
        "pkg:golang/example.com/dep@v0.3.0",
        "pkg:golang/example.com/given@v1.0.1",
        "pkg:golang/example.com/local",
        "pkg:golang/github.com/Foo/bar/v2@v2.1.0%2Bincompatible",
        "pkg:golang/std@1.27.0",
    ]
    foo = parts["pkg:golang/github.com/Foo/bar/v2@v2.1.0%2Bincompatible"]
    assert foo["hashes"] == [{"alg": "SHA-256", "content": EMPTY_HEX}]
    assert {"name": "gofallback:gosum", "value": f"h1:{EMPTY}"} in foo["properties"]
    assert sorted(made["dependencies"][-1]["dependsOn"]) == sorted(parts)


def test_the_same_artifact_gives_the_same_sbom(tmp_path: Path) -> None:
    one = artifact(tmp_path / "a", tmp_path / "keys") / "sbom.json"
    other = artifact(tmp_path / "b", tmp_path / "others", materials=Materials()) / "sbom.json"
    assert one.read_bytes() == other.read_bytes()
    assert json.loads(one.read_bytes())["metadata"]["timestamp"] == "2026-11-22T03:00:00+00:00"


def test_a_binary_without_a_commit_has_an_sbom_without_a_time() -> None:
    content = ElfMaker(info=build_info(module_text({"GOOS": "linux"}))).bytes()
    info = inspect_bytes(content)
    assert info.build is not None
    first, second = sbom.make(manifest(content), info.build), sbom.make(manifest(content), info.build)
    assert first == second and "timestamp" not in json.loads(first)["metadata"]


def test_checksums_are_those_of_sha256sum(tmp_path: Path, keys: Path) -> None:
    folder = artifact(tmp_path / "a", keys)
    done = subprocess.run(["sha256sum", "--strict", "-c", "checksums.txt"], cwd=folder, capture_output=True, check=True)
    assert sorted(done.stdout.decode().split(": OK\n")[:-1]) == sorted(
        name for name in FILES if name != "checksums.txt"
    )


def test_what_is_no_go_program_or_another_one_is_not_signed(keys: Path) -> None:
    bare = ElfMaker().bytes()
    for content, of in ((bare, manifest(bare)), (PROGRAM, manifest(bare))):
        with pytest.raises(ProvenanceError) as caught:
            attestations(of, manifest_text(of), inspect_bytes(content), MATERIALS, controller_key(keys))
        assert "\n" not in str(caught.value)


def test_attestations_appear_together_with_the_artifact(tmp_path: Path, keys: Path) -> None:
    made, info = manifest(), inspect_bytes(PROGRAM)
    (tmp_path / "hello").write_bytes(PROGRAM)
    beside = attestations(made, manifest_text(made), info, MATERIALS, controller_key(keys))
    stored = ArtifactStore(tmp_path / "artifacts").add(made, tmp_path / "hello", beside)
    assert sorted(path.name for path in stored.path.parent.iterdir()) == sorted(FILES)


def test_the_key_is_made_once_and_only_its_owner_can_read_it(keys: Path) -> None:
    first = controller_key(keys)
    assert controller_key(keys).public_key.keyid == first.public_key.keyid
    assert (keys / PRIVATE).stat().st_mode & 0o777 == 0o600
    assert keys.stat().st_mode & 0o777 == 0o700
    assert read_public(keys / PUBLIC).fingerprint == first.public_key.keyid
    assert sorted(path.name for path in keys.iterdir()) == [PRIVATE, PUBLIC]
    (keys / PUBLIC).unlink()
    controller_key(keys)
    assert read_public(keys / PUBLIC).fingerprint == first.public_key.keyid


def test_runs_side_by_side_make_one_key(keys: Path) -> None:
    found: list[str] = []
    together = threading.Barrier(8)

    def run() -> None:
        together.wait()
        found.append(controller_key(keys).public_key.keyid)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_a_key_that_others_can_read_or_that_is_none_is_refused(keys: Path) -> None:
    controller_key(keys)
    (keys / PRIVATE).chmod(0o644)
    with pytest.raises(ProvenanceError, match="has mode 644, should be 600"):
        controller_key(keys)
    (keys / PRIVATE).chmod(0o600)
    (keys / PRIVATE).write_text("secret stuff")
    with pytest.raises(ProvenanceError, match="is no ed25519 key") as caught:
        controller_key(keys)
    assert "secret stuff" not in str(caught.value)


def test_trusted_are_the_own_keys_and_those_of_the_project_or_only_the_named(tmp_path: Path) -> None:
    own, others = controller_key(tmp_path / "own"), controller_key(tmp_path / "others")
    project = tmp_path / "project" / "trusted_keys"
    project.mkdir(parents=True)
    shutil.copy(tmp_path / "others" / PUBLIC, project / "beta.pub")
    found = trusted_keys(tmp_path / "own", tmp_path / "project")
    assert [one.fingerprint for one in found] == [own.public_key.keyid, others.public_key.keyid]
    assert [one.name for one in found] == [PUBLIC, "beta.pub"]
    found = trusted_keys(tmp_path / "own", tmp_path / "project", [project / "beta.pub"])
    assert [one.name for one in found] == ["beta.pub"]
    assert trusted_keys(tmp_path / "none", tmp_path / "none") == []


def test_a_private_key_is_not_taken_for_a_public_one(keys: Path, tmp_path: Path) -> None:
    controller_key(keys)
    with pytest.raises(ProvenanceError, match="is a private key; never hand it out"):
        read_public(keys / PRIVATE)
    (tmp_path / "x.pub").write_text("ssh-ed25519 AAAA somebody")
    with pytest.raises(ProvenanceError, match="is no public key in PEM"):
        read_public(tmp_path / "x.pub")


def test_a_statement_comes_back_as_it_was(tmp_path: Path) -> None:
    info = inspect_bytes(PROGRAM)
    assert info.build is not None
    made = statement.make(manifest(), info.build, MATERIALS, {"sbom.json": "b" * 64})
    assert statement.read(statement.payload(made)) == made
    assert list(statement.differences(made, manifest())) == []
