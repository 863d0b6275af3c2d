"""gofallback approve: what it shows, what it asks, what it writes, and that a rollout counts it."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gofallback.approval.requester import Requester
from gofallback.cli.main import main
from gofallback.controller.store import ArtifactStore
from tests.unit.approvals import Project, manifest
from tests.unit.approvals import project as make_project

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (openssh-client)")
BINARY = b"binary"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Alice's checkout: her key lies in ~/.ssh, and the store has v1.1.0 for two platforms."""
    made = make_project(tmp_path)
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    for suffix in ("", ".pub"):
        shutil.copy(made.keys / f"alice{suffix}", home / ".ssh" / f"id_ed25519{suffix}")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.chdir(made.root)
    file = tmp_path / "hello"
    file.write_bytes(BINARY)
    store = ArtifactStore(tmp_path / "state" / "artifacts")
    for one in ("linux/amd64", "linux/arm64"):
        store.add(manifest(one, BINARY), file)
    return made


def approve(*args: str) -> int:
    return main(["approve", "v1.1.0", "--environment", "production", *args])


def files(project: Project) -> list[str]:
    return sorted(path.name for path in project.folder.glob("*")) if project.folder.exists() else []


def refused(capsys: pytest.CaptureFixture[str], project: Project, *args: str) -> str:
    """The one line; nothing was written."""
    assert approve("--yes", *args) == 1
    line = capsys.readouterr().err
    assert line.startswith("gofallback: ") and line.count("\n") == 1
    assert files(project) == []
    return line


def test_it_shows_what_is_approved_and_writes_statement_and_signature(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert approve("--yes", "--valid", "5", "--reason", "reviewed with Kim") == 0
    shown = capsys.readouterr().out
    digest = json.loads((project.folder / "alice@example.com.json").read_text())["digest"]
    sha256 = hashlib.sha256(BINARY).hexdigest()
    for text in (
        "hello v1.1.0 for production",
        "c" * 40,
        "linux/amd64",
        "linux/arm64",
        sha256,
        digest,
        "alice@example",
    ):
        assert text in shown
    assert project.fingerprint("alice") in shown and "reviewed with Kim" in shown
    assert "wrote approvals/production/hello/v1.1.0/alice@example.com.json.sig" in shown
    assert "git add approvals/production/hello/v1.1.0" in shown
    assert files(project) == ["alice@example.com.json", "alice@example.com.json.sig"]
    statement = json.loads((project.folder / "alice@example.com.json").read_text())
    expires = datetime.fromisoformat(statement["expires"])
    assert timedelta(hours=4.9) < expires - datetime.now(UTC) < timedelta(hours=5.1)


def test_what_looks_like_a_secret_in_the_reason_is_never_written(project: Project) -> None:
    assert approve("--yes", "--reason", "see https://kim:canary1@ci.example.com token=canary2") == 0
    assert "canary" not in (project.folder / "alice@example.com.json").read_text()


def test_what_two_people_approved_is_enough_for_the_rollout(project: Project, tmp_path: Path) -> None:
    from gofallback.approval.digest import release_of

    assert approve("--yes") == 0
    assert approve("--yes", "--key", str(project.keys / "bob")) == 0
    stored = ArtifactStore(tmp_path / "state" / "artifacts").by_version("hello", "v1.1.0")
    release = release_of("hello", "v1.1.0", [one.manifest for one in stored])
    tally = project.count(release=release, now=datetime.now(UTC))
    assert tally.enough and not tally.rejected
    assert not project.count(
        release=release, now=datetime.now(UTC), requester=Requester(("bob@example.com",), frozenset(), "")
    ).enough


def test_approving_again_replaces_the_earlier_one(project: Project) -> None:
    assert approve("--yes", "--reason", "first") == 0
    assert approve("--yes", "--reason", "second") == 0
    assert files(project) == ["alice@example.com.json", "alice@example.com.json.sig"]
    assert json.loads((project.folder / "alice@example.com.json").read_text())["reason"] == "second"


def test_a_store_that_has_the_same_artifacts_from_another_builder_approves_the_same_digest(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert approve("--yes") == 0
    first = json.loads((project.folder / "alice@example.com.json").read_text())["digest"]
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path / "other"))
    for one in ("linux/arm64", "linux/amd64"):
        made = manifest(one, BINARY, builder="w7", built_at="2027-02-03T04:05:06Z", seconds=9.0)
        ArtifactStore(tmp_path / "other" / "artifacts").add(made, tmp_path / "hello")
    assert approve("--yes", "--key", str(project.keys / "bob")) == 0
    assert json.loads((project.folder / "bob@example.com.json").read_text())["digest"] == first


def test_without_a_terminal_and_without_yes_nothing_is_approved(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/null").open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert approve() == 1
    assert "standard input is no terminal, so nobody can confirm" in capsys.readouterr().err
    assert files(project) == []


def test_a_key_that_is_not_allowed_gets_the_line_it_needs(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    key = project.person("mallory", allowed=False)
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    line = refused(capsys, project, "--key", str(key))
    assert f'have a line like you@example.com namespaces="gofallback-approval" {public} put into allowed_sig' in line


def test_a_key_of_somebody_else_cannot_be_used_under_a_name(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "may not approve as bob@example.com" in refused(
        capsys, project, "--key", str(project.keys / "alice"), "--as", "bob@example.com"
    )


def test_without_an_allowed_key_it_says_where_it_looked(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(Path.home() / ".ssh")
    assert "no key of yours (ssh-agent, ~/.ssh/id_*) may sign by allowed_signers; name one with --key" in refused(
        capsys, project
    )


def test_a_key_of_two_names_asks_which(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.allow("ally@example.com", "alice")
    assert "the key belongs to alice@example.com, ally@example.com" in refused(capsys, project)
    assert approve("--yes", "--as", "ally@example.com") == 0


def test_what_is_no_key_is_refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no SSH key, or cannot be read" in refused(capsys, project, "--key", "/etc/hostname")


def test_a_version_that_is_not_in_the_store_is_refused_with_those_that_are(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["approve", "v9.9.9", "--environment", "production", "--yes"]) == 1
    assert (
        "v9.9.9: not in the artifact store (hello: v1.1.0); build it with deploys/drill.py" in capsys.readouterr().err
    )


def test_a_service_that_is_not_in_the_store_is_refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--service helo: the artifact store has none; it has: hello" in refused(capsys, project, "--service", "helo")


def test_a_damaged_artifact_is_never_approved(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for binary in (tmp_path / "state" / "artifacts").rglob("hello"):
        if binary.is_file():
            binary.write_bytes(b"tampered")
    assert approve("--yes") == 1
    said = capsys.readouterr().err
    assert "is damaged" in said and "hello v1.1.0: not in the artifact store" in said
    assert files(project) == []


def test_an_environment_that_is_no_name_is_refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["approve", "v1.1.0", "--environment", "../x", "--yes"]) == 1
    assert "environment '../x': should be" in capsys.readouterr().err


@pytest.mark.parametrize("hours", ["0", "x", "-3", "99999"])
def test_hours_that_are_none_are_refused(project: Project, hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        approve("--yes", f"--valid={hours}")
    assert ended.value.code == 2 and "should be hours from 1 to 8760" in capsys.readouterr().err


@pytest.fixture
def agent(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Bob's key is only in an agent."""
    said = subprocess.run(["ssh-agent", "-s"], check=True, capture_output=True, text=True).stdout
    found = dict(re.findall(r"(SSH_AUTH_SOCK|SSH_AGENT_PID)=([^;]+);", said))
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    subprocess.run(["ssh-add", "-q", str(project.keys / "bob")], check=True, capture_output=True)
    shutil.rmtree(Path.home() / ".ssh")
    yield project
    os.kill(int(found["SSH_AGENT_PID"]), 15)


def test_a_key_in_the_agent_signs(agent: Project) -> None:
    assert approve("--yes") == 0
    assert files(agent) == ["bob@example.com.json", "bob@example.com.json.sig"]


def test_the_question_and_the_passphrase_are_asked_on_the_terminal(project: Project, tmp_path: Path) -> None:
    key = tmp_path / "home" / ".ssh" / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "five words", "-f", str(key)], check=True)
    said = on_terminal([("Type yes: ", "yes\n"), ("passphrase", "five words\n")])
    assert "wrote approvals/production/hello/v1.1.0/alice@example.com.json.sig" in said
    assert "five words" not in said


def test_any_other_answer_than_yes_approves_nothing(project: Project) -> None:
    assert "not approved, nothing was written" in on_terminal([("Type yes: ", "y\n")])
    assert files(project) == []


def on_terminal(dialogue: list[tuple[str, str]]) -> str:
    """Run the command on a terminal of its own; what it said."""
    pid, terminal = pty.fork()
    if pid == 0:
        argv = [sys.executable, "-m", "gofallback.cli.main", "approve", "v1.1.0", "--environment", "production"]
        os.execv(sys.executable, argv)
    said, deadline = "", time.monotonic() + 20
    answers = list(dialogue)
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # EIO: the other end is closed
            break
        if not part:
            break
        said += part.decode(errors="replace")
        if answers and answers[0][0] in said:
            os.write(terminal, answers.pop(0)[1].encode())
    os.close(terminal)
    os.waitpid(pid, 0)
    return said
