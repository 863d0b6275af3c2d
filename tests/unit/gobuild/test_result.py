"""How a builder's answers about sources and outputs are read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.builder.cmd import Cmd
from gofallback.gobuild.result import Built, Measured, read_manifests, read_measured, record, reusable
from gofallback.source.commands import GitOnBuilder, parse_source_state, places
from gofallback.source.model import ResolvedSource, Submodule

DIGEST = "0f" * 32
SPEC = BuildSpec(
    service="hello",
    platform="linux/amd64",
    go_version="1.26.6",
    commit="a" * 40,
    version="v1.0.0",
    package=".",
    directory=".",
    binary="hello",
)


def manifest(spec: BuildSpec = SPEC) -> Manifest:
    return Manifest(
        spec=spec, key=spec.key, sha256=DIGEST, size=12, builder="w1", built_at="2026-11-22T03:00:00Z", seconds=1.5
    )


def source() -> ResolvedSource:
    when = datetime(2026, 11, 22, tzinfo=UTC)
    leaf = Submodule(repository="https://x/leaf.git", commit="c" * 40, mirror=Path("/m/leaf"), path="lib/deep/leaf")
    lib = Submodule(repository="https://x/lib", commit="b" * 40, mirror=Path("/m/lib"), path="lib", submodules=(leaf,))
    return ResolvedSource(
        service="hello",
        repository="https://x/hello",
        ref="main",
        commit="a" * 40,
        version="v1.0.0",
        commit_time=when,
        mirror=Path("/m/hello"),
        fetched_at=when,
        age=0.0,
        submodules=(lib,),
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


def test_every_repository_has_a_mirror_of_its_own() -> None:
    where = places(source(), "C:\\gofallback")
    assert [place.tree for place in where] == ["", "lib", "lib\\deep\\leaf"]
    assert where[0].mirror == "C:\\gofallback\\mirrors\\hello.git"
    assert len({place.mirror for place in where}) == 3
    assert all(place.mirror.startswith("C:\\gofallback\\mirrors\\hello") for place in where)


def test_answer_about_a_tree_is_read() -> None:
    mirror = ("@config", "@mirror 0", "SHA256 hash of x:", DIGEST, "CertUtil: ok", "@refs 0")
    tree = ("@head 0", "a" * 40, "@head 1", "@status", " M main.go", "@end", "@done")
    look = parse_source_state(mirror + tree)
    assert (look.configured, look.complete, look.done, look.failed) == (True, True, True, None)
    assert (look.mirrors, look.refs, look.heads) == ({0: DIGEST}, {}, {0: "a" * 40})
    assert look.changes == (" M main.go",)
    assert parse_source_state(("@failed checkout hello",)).failed == "checkout hello"
    assert not parse_source_state(("@mirror 0",)).complete


def test_each_step_stays_within_what_cmd_reads_and_many_become_lines() -> None:
    lines = GitOnBuilder("C:\\gofallback\\toolchains\\git-2.45.2\\cmd\\git.exe", "C:\\gofallback")
    where = places(source(), "C:\\gofallback")
    for text in (
        lines.state(where, "C:\\t"),
        lines.tree(where, "C:\\a\\b", "C:\\t"),
        lines.receive(where[0], None, "r", "C:\\b"),
    ):
        assert all(len(line) < 8000 for line in text.splitlines())
    assert "\n" not in lines.state(where[:1], "C:\\t")
    assert "\n" not in Cmd().script(["a", "b"])
    assert Cmd().script(["a" * 5000, "b" * 5000]).splitlines() == ["a" * 5000, "b" * 5000]
