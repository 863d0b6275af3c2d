"""The artifact store: what goes in comes out with the same bytes, or not at all."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.controller.store import ArtifactStore, StoreError
from tests.unit.specs import SPEC, manifest_of

CONTENT = b"\x7fELF a program"


def spec(version: str = "v1.0.0", platform: str = "linux/amd64", service: str = "hello") -> BuildSpec:
    options = {"tags": ("a", "b"), "stamp": (("main.version", version),), "environment": (("GOAMD64", "v2"),)}
    return SPEC.model_copy(update={"service": service, "platform": platform, "version": version, **options})


def manifest(made: BuildSpec, content: bytes = CONTENT, built_at: str = "2026-11-22T03:00:00Z") -> Manifest:
    return manifest_of(made, content, built_at)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "download"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, messages: list[str]) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts", messages.append)


def leftovers(store: ArtifactStore) -> list[str]:
    return [str(path) for path in store.root.rglob(".*") if path.name != ".lock"]


def test_a_stored_artifact_is_found_with_its_manifest(store: ArtifactStore, file: Path) -> None:
    wanted = manifest(spec())
    added = store.add(wanted, file)
    assert added.path == store.root / "hello" / "v1.0.0" / "linux-amd64" / wanted.key[:16] / "hello"
    found = store.find("hello", wanted.key)
    assert found == added
    assert found.path.read_bytes() == CONTENT
    assert found.manifest == wanted
    assert found.path.stat().st_mode & 0o777 == 0o755
    assert leftovers(store) == []


def test_a_manifest_comes_back_from_json_with_the_same_key() -> None:
    wanted = manifest(spec())
    read = Manifest.model_validate_json(wanted.model_dump_json())
    assert read == wanted
    assert read.spec.key == wanted.key


def test_an_unknown_key_is_absent(store: ArtifactStore, file: Path) -> None:
    assert store.find("hello", "0" * 64) is None
    store.add(manifest(spec()), file)
    assert store.find("hello", "0" * 64) is None
    assert store.find("other", spec().key) is None


def test_a_windows_program_keeps_its_suffix(store: ArtifactStore, file: Path) -> None:
    assert store.add(manifest(spec(platform="windows/386")), file).path.name == "hello.exe"


def test_bytes_that_changed_on_the_way_are_refused_and_leave_nothing(store: ArtifactStore, file: Path) -> None:
    file.write_bytes(CONTENT.replace(b"program", b"PROGRAM"))
    wanted = manifest(spec())
    with pytest.raises(StoreError) as caught:
        store.add(wanted, file)
    text = str(caught.value)
    assert "\n" not in text
    assert hashlib.sha256(file.read_bytes()).hexdigest() in text
    assert wanted.sha256 in text
    assert store.find("hello", wanted.key) is None
    assert leftovers(store) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_artifact_is_reported_counts_as_absent_and_can_be_stored_again(
    store: ArtifactStore, file: Path, messages: list[str], damage: str
) -> None:
    wanted = manifest(spec())
    path = store.add(wanted, file).path
    if damage == "flip":
        path.write_bytes(CONTENT[:-1] + b"X")
    elif damage == "truncate":
        path.write_bytes(CONTENT[:-1])
    elif damage == "remove":
        path.unlink()
    else:
        (path.parent / "manifest.json").write_text('{"half":')
    assert store.find("hello", wanted.key) is None
    assert len(messages) == 1
    assert str(path.parent) in messages[0]
    assert messages[0].endswith("treated as absent")
    assert store.by_version("hello", "v1.0.0") == []
    store.add(wanted, file)
    found = store.find("hello", wanted.key)
    assert found
    assert found.path.read_bytes() == CONTENT


def test_a_manifest_of_another_build_is_refused(store: ArtifactStore, file: Path) -> None:
    wrong = manifest(spec()).model_copy(update={"key": "0" * 64})
    with pytest.raises(StoreError, match="is not the key of its build"):
        store.add(wrong, file)


@pytest.mark.parametrize("version", ["../../../etc", "a/b", "", ".hidden", "a b", "a\n"])
def test_a_version_that_is_no_folder_name_is_refused(store: ArtifactStore, file: Path, version: str) -> None:
    with pytest.raises(StoreError, match="artifact version"):
        store.add(manifest(spec(version=version)), file)


def test_versions_are_listed_by_when_they_were_built(store: ArtifactStore, file: Path) -> None:
    for version, built in (("v1.0.0", "2026-11-02"), ("v2.0.0", "2026-11-01"), ("v1.0.1", "2026-11-03")):
        store.add(manifest(spec(version), built_at=f"{built}T00:00:00Z"), file)
    assert store.versions("hello") == ["v1.0.1", "v1.0.0", "v2.0.0"]
    assert store.versions("other") == []


def test_a_version_gives_all_its_platforms(store: ArtifactStore, file: Path) -> None:
    for platform in ("linux/arm64", "linux/amd64"):
        store.add(manifest(spec(platform=platform)), file)
    store.add(manifest(spec("v2.0.0")), file)
    found = store.by_version("hello", "v1.0.0")
    assert [one.manifest.platform for one in found] == ["linux/amd64", "linux/arm64"]


def test_runs_side_by_side_store_the_same_artifact_once(tmp_path: Path, file: Path) -> None:
    wanted = manifest(spec())
    problems: list[BaseException] = []
    together = threading.Barrier(8)

    def run() -> None:
        try:
            together.wait()
            store = ArtifactStore(tmp_path / "artifacts")
            store.add(wanted, file)
            assert store.find("hello", wanted.key)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(list((tmp_path / "artifacts").rglob("manifest.json"))) == 1
    assert leftovers(ArtifactStore(tmp_path / "artifacts")) == []
