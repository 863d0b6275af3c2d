"""What `gofallback verify` finds when somebody tampered: every way in its own line, and exit status 1."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gofallback.artifact.binary import ArtifactError, inspect_bytes
from gofallback.cli.main import main
from gofallback.controller.store import manifest_text
from gofallback.errors import GofallbackError
from gofallback.provenance import ProvenanceError, envelope
from gofallback.provenance.keys import PUBLIC, controller_key, read_public
from gofallback.provenance.statement import BUILD_TYPE, Materials
from gofallback.provenance.verify_folder import verify_folder
from tests.unit.attested import EMPTY_HEX, FILES, MATERIALS, PROGRAM, artifact, manifest, release, sum_again
from tests.unit.binaries import ElfMaker, build_info, module_text
from tests.unit.examples import examples

OTHER = ElfMaker(info=build_info(module_text(extra="dep\texample.com/evil\tv1.0.0\n"))).bytes()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A controller with a key, in a project of its own."""
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path / "home"))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path, home: Path) -> Path:
    return artifact(tmp_path / "artifact", home / "keys")


def verify(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, list[str]]:
    """Exit status, and the problems."""
    status = main(["verify", *map(str, argv)])
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err + shown.out
    return status, [line.removeprefix("problem: ") for line in shown.out.splitlines() if line.startswith("problem: ")]


def test_an_artifact_as_it_was_signed_has_no_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "agrees with manifest.json: built on w1" in shown
    fingerprint = read_public(folder.parent / "home" / "keys" / PUBLIC).fingerprint
    assert f"provenance signed with provenance.pub ({fingerprint})" in shown
    assert verify(capsys, folder / "hello") == (0, [])


def test_a_release_folder_of_a_target_is_checked_too(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = release(tmp_path / "v1.1.0-0123abcd", folder)
    assert verify(capsys, copied) == (0, [])
    assert verify(capsys, copied / "bin" / "hello") == (0, [])
    (copied / "lib" / "gofallback-agent").write_bytes(b"another")
    status, (line,) = verify(capsys, copied)
    assert status == 1 and line.startswith("lib/gofallback-agent: has sha256")
    (copied / "bin" / "hello").write_bytes(OTHER)
    status, lines = verify(capsys, copied)
    assert status == 1 and any("provenance.json: is about another subject" in line for line in lines)


def test_a_folder_of_artifacts_is_checked_as_a_whole(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("linux-amd64/0123", "linux-arm64/4567"):
        artifact(tmp_path / "v1.1.0" / name, home / "keys")
    assert verify(capsys, tmp_path / "v1.1.0") == (0, [])
    (tmp_path / "v1.1.0" / "linux-arm64/4567" / "hello").write_bytes(OTHER)
    status, lines = verify(capsys, tmp_path / "v1.1.0")
    assert status == 1 and lines
    assert main(["verify", "--json", str(tmp_path / "v1.1.0")]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [bool(one["problems"]) for one in found["artifacts"]] == [False, True] and found["problems"] == []


def published(folder: Path, of: Path, name: str) -> Path:
    """As `gofallback publish` names files: registries have no folders."""
    folder.mkdir(exist_ok=True)
    for file in FILES:
        if file != "checksums.txt":
            shutil.copy(of / file, folder / (name if file == "hello" else f"{name}.{file}"))
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != "checksums.txt"
    ]
    (folder / "checksums.txt").write_text("".join(lines))
    return folder


def test_a_folder_of_published_files_is_checked_as_a_whole(
    folder: Path, tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = artifact(tmp_path / "other", home / "keys", materials=Materials())
    for name in ("hello-linux-amd64", "hello-linux-arm64"):
        at = published(tmp_path / "v1.1.0", folder if name.endswith("amd64") else other, name)
    assert verify(capsys, at) == (0, [])
    assert verify(capsys, at / "hello-linux-amd64") == (0, [])
    assert verify(capsys, at / "hello-linux-arm64") == (0, [])
    shutil.copy(at / "hello-linux-amd64.provenance.json", at / "hello-linux-arm64.provenance.json")
    assert verify(capsys, at / "hello-linux-arm64") == (0, [])  # signed too, of the very same bytes
    (at / "hello-linux-arm64.sbom.json").unlink()
    (at / "hello-linux-amd64").write_bytes(OTHER)
    status, lines = verify(capsys, at)
    assert status == 1
    for begin in (
        "hello linux/amd64: has ",
        "hello-linux-amd64.provenance.json: is about another subject",
        "hello-linux-arm64.sbom.json: missing",
        "hello-linux-amd64: has sha256",
        "hello-linux-arm64.provenance.json: has sha256",
        "hello-linux-arm64.sbom.json: is in checksums.txt and cannot be read",
    ):
        assert any(line.startswith(begin) for line in lines), (begin, lines)
    (at / "hello-linux-amd64").unlink()
    status, lines = verify(capsys, at)
    assert status == 1 and any("hello-linux-amd64: cannot be read" in line for line in lines)


def test_a_good_binary_beside_a_bad_one_does_not_hide_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = release(tmp_path / "release", folder)
    shutil.copy(copied / "bin" / "hello", copied / "hello")
    assert main(["verify", str(copied)]) == 1
    assert capsys.readouterr().err.endswith("holds hello and bin/hello; one of them is not ours\n")
    at = published(tmp_path / "published", folder, "hello-linux-amd64")
    shutil.copy(at / "hello-linux-amd64", at / "hello-linux-amd64.exe")
    (at / "hello-linux-amd64").write_bytes(OTHER)
    (at / "checksums.txt").unlink()
    status, lines = verify(capsys, at)
    assert status == 1 and lines


def tamper_sbom(folder: Path) -> None:
    data = json.loads((folder / "sbom.json").read_text())
    data["components"] = [one for one in data["components"] if "Foo" not in one["purl"]]
    (folder / "sbom.json").write_text(json.dumps(data))


def tamper_hash(folder: Path) -> None:
    path = folder / "sbom.json"
    path.write_text(path.read_text().replace(EMPTY_HEX, "0" * 64))


def tamper_manifest(folder: Path) -> None:
    made = manifest().model_copy(update={"builder": "w2"})
    (folder / "manifest.json").write_bytes(manifest_text(made))


def tamper_payload(folder: Path) -> None:
    sealed = json.loads((folder / "provenance.json").read_text())
    payload = base64.b64decode(sealed["payload"]).replace(b"v1.1.0", b"v1.2.0")
    sealed["payload"] = base64.b64encode(payload).decode()
    (folder / "provenance.json").write_text(json.dumps(sealed))


def strip_signatures(folder: Path) -> None:
    sealed = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps(sealed | {"signatures": []}))


def other_type(folder: Path) -> None:
    sealed = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps(sealed | {"payloadType": "text/plain"}))


def cut(folder: Path) -> None:
    path = folder / "provenance.json"
    path.write_bytes(path.read_bytes()[:-40])


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "other binary": (
        lambda at: (at / "hello").write_bytes(OTHER),
        f"hello linux/amd64: has {len(OTHER)} bytes, should have {len(PROGRAM)}",
    ),
    "no binary any more": (lambda at: (at / "hello").write_bytes(b"x" * 9), "hello: is not a binary"),
    "sbom without a module": (
        tamper_sbom,
        "sbom.json: does not name pkg:golang/github.com/Foo/bar/v2@v2.1.0%2Bincompatible, which is in the binary",
    ),
    "sbom with another hash": (tamper_hash, "sbom.json: pkg:golang/example.com/given@v1.0.1 has the hash 0000"),
    "no sbom any more": (lambda at: (at / "sbom.json").write_text("[]"), "sbom.json: is no CycloneDX SBOM"),
    "other manifest": (
        tamper_manifest,
        "provenance.json: builder is 'urn:gofallback:builder:w1', the manifest says 'urn:gofallback:builder:w2'",
    ),
    "other payload": (tamper_payload, "provenance.json: was changed after it was signed with provenance.pub"),
    "no signature": (strip_signatures, "provenance.json: is not signed"),
    "other type": (other_type, "provenance.json: holds 'text/plain', should hold application/vnd.in-toto+json"),
    "cut off": (cut, "provenance.json: is no DSSE envelope (JSONDecodeError)"),
    "no provenance": (lambda at: (at / "provenance.json").unlink(), "provenance.json: missing, so nothing proves who"),
    "no sbom": (lambda at: (at / "sbom.json").unlink(), "sbom.json: missing, so nothing says what is inside"),
}


@pytest.mark.parametrize("checksums", ["kept", "summed again", "removed"])
@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_found_whatever_becomes_of_the_checksums(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, checksums: str
) -> None:
    tamper, expected = TAMPERED[name]
    tamper(folder)
    if checksums == "summed again":
        sum_again(folder)
    elif checksums == "removed":
        (folder / "checksums.txt").unlink()
    status, lines = verify(capsys, folder)
    assert status == 1
    assert any(expected in line for line in lines), lines
    assert any("checksums.txt" in line for line in lines) == (checksums == "kept")


def test_an_artifact_stripped_of_everything_is_refused_where_a_key_is_trusted(
    folder: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = shutil.copy(home / "keys" / PUBLIC, home / "a.pub")
    for name in ("provenance.json", "sbom.json", "checksums.txt"):
        (folder / name).unlink()
    status, lines = verify(capsys, folder)
    assert status == 1 and len(lines) == 2
    assert all("gofallback attest v1.1.0" in line for line in lines)
    shutil.rmtree(home / "keys")
    assert verify(capsys, folder) == (0, [])  # nobody is trusted: only described, and that is said
    assert verify(capsys, folder, "--key", key)[0] == 1


def test_a_bare_binary_is_described_and_needs_no_attestation_unless_a_key_is_named(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    controller_key(home / "keys")
    (tmp_path / "hello").write_bytes(PROGRAM)
    assert main(["verify", str(tmp_path / "hello")]) == 0
    assert "not attested: nothing proves who built it" in capsys.readouterr().out
    assert verify(capsys, tmp_path / "hello", "--key", home / "keys" / PUBLIC)[0] == 1


def test_a_signature_by_an_unknown_key_is_refused_with_its_fingerprint(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = controller_key(home / "keys").public_key.keyid
    folder = artifact(tmp_path / "theirs", tmp_path / "keys")
    theirs = tmp_path / "keys" / PUBLIC
    status, (line,) = verify(capsys, folder)
    assert status == 1
    assert f"was signed with the unknown key {read_public(theirs).fingerprint}" in line
    assert f"trusted: provenance.pub ({own[:16]})" in line
    assert verify(capsys, folder, "--key", theirs) == (0, [])
    assert verify(capsys, folder, "--key", home / "keys" / PUBLIC)[0] == 1
    trusted = tmp_path / "project" / "trusted_keys"
    trusted.mkdir()
    shutil.copy(theirs, trusted / "beta.pub")
    assert verify(capsys, folder) == (0, [])


def test_a_key_id_that_claims_a_trusted_key_does_not_help(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = controller_key(home / "keys").public_key.keyid
    folder = artifact(tmp_path / "theirs", tmp_path / "keys")
    sealed = json.loads((folder / "provenance.json").read_text())
    sealed["signatures"][0]["keyid"] = own
    (folder / "provenance.json").write_text(json.dumps(sealed))
    sum_again(folder)
    status, lines = verify(capsys, folder)
    assert (status, lines) == (1, ["provenance.json: was changed after it was signed with provenance.pub"])


def test_a_good_signature_under_any_key_id_counts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The key id of DSSE is a hint, and other tools write their own."""
    sealed = json.loads((folder / "provenance.json").read_text())
    sealed["signatures"][0]["keyid"] = ""
    (folder / "provenance.json").write_text(json.dumps(sealed))
    sum_again(folder)
    assert verify(capsys, folder) == (0, [])


def test_the_envelope_of_another_artifact_has_the_wrong_subject(
    folder: Path, tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = artifact(tmp_path / "other", home / "keys", content=OTHER)
    shutil.copy(other / "provenance.json", folder / "provenance.json")
    sum_again(folder)
    status, lines = verify(capsys, folder)
    sums = [hashlib.sha256(content).hexdigest() for content in (PROGRAM, OTHER)]
    assert status == 1
    assert (
        f"provenance.json: is about another subject (hello with sha256 {sums[1]}); hello has sha256 {sums[0]}" in lines
    )


def test_another_build_type_is_refused(folder: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sealed = json.loads((folder / "provenance.json").read_text())
    payload = base64.b64decode(sealed["payload"]).replace(BUILD_TYPE.encode(), b"https://example.com/other")
    (folder / "provenance.json").write_bytes(envelope.seal(payload, controller_key(home / "keys")))
    sum_again(folder)
    status, lines = verify(capsys, folder)
    assert status == 1 and "has the build type 'https://example.com/other'" in lines[0]


def test_a_file_outside_of_the_folder_is_not_read_for_its_checksum(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "checksums.txt").open("a") as file:
        file.write(f"{'0' * 64}  ../../../etc/passwd\nnonsense\n")
    status, lines = verify(capsys, folder)
    assert status == 1
    assert lines[0] == "checksums.txt: names '../../../etc/passwd', which is outside of the folder"
    assert lines[1].startswith("checksums.txt: line 6 is not of sha256sum")


def test_json_says_who_signed_and_what(folder: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--json", str(folder)]) == 0
    data = json.loads(capsys.readouterr().out)
    key = read_public(home / "keys" / PUBLIC).fingerprint
    assert data["signed_by"] == [{"file": PUBLIC, "key": key}] and data["attested"] and data["problems"] == []
    assert data["provenance"]["predicate"]["runDetails"]["metadata"]["invocationId"] == MATERIALS.run_id


def test_a_module_that_no_linker_writes_is_a_line_and_not_a_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "hello").write_bytes(ElfMaker(info=build_info(module_text(extra="dep\t/\tv1.0.0\n"))).bytes())
    status, lines = verify(capsys, folder)
    assert status == 1
    assert "the binary names the module '/', which Go would not; it is damaged or was changed" in lines


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    return artifact(root / "artifact", root / "keys")


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_no_changed_byte_of_any_file_goes_unseen(made: Path, data: st.DataObject) -> None:
    """Whoever changes a byte and sums again either is found out, or has changed nothing that counts."""
    name = data.draw(st.sampled_from([name for name in FILES if name != "checksums.txt"]))
    content = bytearray((made / name).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    folder = made.parent / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder)
    (folder / name).write_bytes(content)
    sum_again(folder)
    trusted = [read_public(made.parent / "keys" / PUBLIC)]
    try:
        verdict = verify_folder(folder, trusted, signature_required=True)
    except GofallbackError as error:
        assert name == "manifest.json" and "\n" not in str(error), (at, error)
        return
    if name != "provenance.json":
        assert verdict.problems
    elif not verdict.problems:  # blanks and key ids: not signed, and nothing depends on them
        before, after = (json.loads((one / name).read_bytes()) for one in (made, folder))
        assert after["payloadType"] == before["payloadType"]
        assert base64.b64decode(after["payload"]) == base64.b64decode(before["payload"])
        assert verdict.attestation.signed_by == trusted


@settings(max_examples=examples(60), deadline=None)
@given(module=st.text("aA0/.~+-_!é \r\0#@", min_size=1, max_size=12), version=st.text("v1.+-()! \r", max_size=8))
def test_any_module_path_can_be_attested_and_is_found_again(made: Path, module: str, version: str) -> None:
    """Whatever a strange linker writes: no traceback, and what was signed verifies."""
    content = ElfMaker(info=build_info(module_text(extra=f"dep\t{module}\t{version}\th1:x\n"))).bytes()
    folder = made.parent / "strange"
    try:
        inspect_bytes(content)
        artifact(folder, made.parent / "keys", content=content, materials=Materials())
    except (ArtifactError, ProvenanceError) as error:  # not a binary by now, or a path such as "/"
        assert "\n" not in str(error)
        return
    verdict = verify_folder(folder, [read_public(made.parent / "keys" / PUBLIC)], signature_required=True)
    assert verdict.problems == []
