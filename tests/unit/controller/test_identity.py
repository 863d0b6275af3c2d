"""Who runs: asked of real programs in a checkout and with keys of the test's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gofallback.controller.identity import checkout, fingerprints, read_identity

KEYGEN = "256 SHA256:2uqd6vVTRtNRCY4lU9N9nyK2hSu/wYSGd1zxRHvDvHY alice at work (ED25519)\n"
AGENT = KEYGEN + "3072 SHA256:u6dhqKcNNrAbNyPf0cCbRjSLAXo8AZHNAaZyL3NqBK4 no comment (RSA)\n"


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "inventory.py").write_text("targets = []\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent of whoever runs the tests."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def test_what_ssh_prints_becomes_fingerprint_comment_and_kind() -> None:
    assert fingerprints(AGENT, "agent") == [
        "SHA256:2uqd6vVTRtNRCY4lU9N9nyK2hSu/wYSGd1zxRHvDvHY alice at work (ED25519, agent)",
        "SHA256:u6dhqKcNNrAbNyPf0cCbRjSLAXo8AZHNAaZyL3NqBK4 no comment (RSA, agent)",
    ]
    assert fingerprints("The agent has no identities.\n", "agent") == []


def test_the_checkout_is_named_by_commit_and_whether_it_was_changed(project: Path) -> None:
    head = subprocess.run(["git", "-C", project, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert checkout(project) == (head.stdout.strip(), False)
    (project / "inventory.py").write_text("targets = ['t1']\n")
    assert checkout(project) == (head.stdout.strip(), True)


@pytest.mark.usefixtures("alone")
def test_a_folder_that_is_no_checkout_and_keys_that_are_not_there_are_no_trouble(tmp_path: Path) -> None:
    found = read_identity([str(tmp_path / "nobody")], project=tmp_path)
    assert (found.commit, found.dirty, found.keys) == ("", None, [])
    assert (found.uid, found.pid) == (os.getuid(), os.getpid())


@pytest.mark.usefixtures("alone")
def test_a_key_file_is_named_by_its_fingerprint_and_never_asked_for_its_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "id_lab"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-C", "alice@ctl1", "-f", str(key)], check=True
    )
    monkeypatch.setenv("SUDO_USER", "alice")
    found = read_identity([str(key), str(key)], project=tmp_path)
    assert len(found.keys) == 1
    assert found.keys[0].startswith("SHA256:")
    assert found.keys[0].endswith(" alice@ctl1 (ED25519, id_lab)")
    assert found.sudo_user == "alice"
    key.with_suffix(".pub").unlink()
    assert read_identity([str(key)], project=tmp_path).keys == []


@pytest.mark.usefixtures("alone")
def test_without_any_of_the_programs_what_is_known_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = read_identity(project=tmp_path)
    assert (found.commit, found.keys) == ("", [])
    assert found.host
