"""The output of a build on a builder, read and recognized."""

from __future__ import annotations

from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.gobuild.result import Built, Measured, read_manifests, read_measured, record, reusable
from tests.unit.specs import SPEC

DIGEST = "0f" * 32


def manifest(spec: BuildSpec = SPEC) -> Manifest:
    return Manifest(
        spec=spec, key=spec.key, sha256=DIGEST, size=12, builder="w1", built_at="2026-11-22T03:00:00Z", seconds=1.5
    )


def test_hash_is_read_from_new_and_old_windows_in_any_language() -> None:
    new = ["@file one", "@size 12", "SHA256-Hash von C:\\x:", DIGEST, "CertUtil: erfolgreich."]
    old = ["@file two", "@size 7 ", "SHA256 hash of file C:\\y:", " ".join(["0F"] * 32), "CertUtil: done."]
    assert read_measured([*new, *old]) == {"one": Measured(12, DIGEST), "two": Measured(7, DIGEST)}


def test_an_output_without_hash_or_size_is_not_there() -> None:
    assert read_measured(["@file one", "@size 12", "CertUtil: -hashfile command FAILED: 0x80070020"]) == {}
    assert read_measured(["@file one", DIGEST]) == {}


def test_output_is_used_again_only_if_manifest_and_bytes_fit() -> None:
    good = manifest()
    assert reusable(SPEC, good, Measured(12, DIGEST))
    assert not reusable(SPEC, good, Measured(13, DIGEST))
    assert not reusable(SPEC, good, Measured(12, "1f" * 32))
    assert not reusable(SPEC, None, Measured(12, DIGEST))
    assert not reusable(SPEC, good, None)
    assert not reusable(SPEC.model_copy(update={"strip": False}), good, Measured(12, DIGEST))


def test_manifest_survives_the_way_over_the_builder() -> None:
    answer = ["@file k", manifest().model_dump_json(), "", "@file broken", '{"schema_version":1', "@file none"]
    assert read_manifests(answer) == {"k": manifest()}
    assert record(manifest()) == f"gofallback-artifact 1 {DIGEST} 12 hello"


def test_line_for_the_screen_says_whether_it_was_built_now() -> None:
    assert "built in 1.5 s" in Built(manifest(), "C:\\x", reused=False).line()
    assert "there already" in Built(manifest(), "C:\\x", reused=True).line()
