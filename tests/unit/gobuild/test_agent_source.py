"""The agent's sources as the builder gets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gofallback.gobuild import agent_source
from gofallback.gobuild.agent_source import agent_digest, agent_files


def test_the_builder_gets_a_whole_module_without_its_tests() -> None:
    sources = agent_files()
    assert sources["go.mod"].startswith(b"module gofallback.local/agent\n")
    assert b"func main()" in sources["main.go"]
    assert not [name for name in sources if name.endswith("_test.go")]


def test_the_digest_depends_on_names_and_contents_and_not_on_their_order() -> None:
    digest = agent_digest({"a.go": b"1", "b.go": b"2"})
    assert digest == agent_digest({"b.go": b"2", "a.go": b"1"})
    assert digest != agent_digest({"a.go": b"2", "b.go": b"1"})
    assert digest != agent_digest({"a.go": b"1b.go", "": b"2"})
    assert len(agent_digest()) == 64 and agent_digest() == agent_digest(agent_files())


def test_a_checkout_with_windows_line_ends_has_the_same_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = agent_digest()
    folder = tmp_path / "agent"
    folder.mkdir()
    for name, content in agent_files().items():
        (folder / name).write_bytes(content.replace(b"\n", b"\r\n"))
    (folder / "main_test.go").write_bytes(b"package main\r\n")
    monkeypatch.setattr(agent_source, "files", lambda _package: tmp_path)
    assert agent_digest() == digest
