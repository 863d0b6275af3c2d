"""The git commands for a builder, and their output."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from gofallback.builder.cmd import Cmd
from gofallback.source.commands import GitOnBuilder, parse_source_state, places
from gofallback.source.model import ResolvedSource, Submodule

DIGEST = "0f" * 32


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
