"""Modules from a git server over ssh: Debian's sshd and git on a host of the lab, a key of the lab, nobody asked."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gofallback.gomod import go_command
from lab import Lab
from lab.linux.host import LinuxHost, new_key
from tests.lab.conftest import fresh_name
from tests.lab.git_servers import HOST, GitServer
from tests.lab.programs import go
from tests.lab.test_modules_on_controller import Controller, program

pytestmark = pytest.mark.lab
PRIVATE = {"patterns": [f"{HOST}/*"]}
FILES = {"key.go": "package key\n\nfunc Name() string { return `key` }\n"}


@dataclass
class SshServer(GitServer):
    """Module paths end in .git, so that go asks git at once; git goes by ssh, as in teams that use keys."""

    host: LinuxHost | None = None
    key: Path = Path("none")
    known_hosts: Path = Path("none")

    def environment(self) -> dict[str, str]:
        """What a user with that key has."""
        assert self.host is not None
        ssh = f"ssh -F /dev/null -i {self.key} -o IdentitiesOnly=yes -o UserKnownHostsFile={self.known_hosts}"
        return {
            "GIT_SSH_COMMAND": ssh,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.ssh://deploy@{self.host.address}/srv/git/.insteadOf",
            "GIT_CONFIG_VALUE_0": f"https://{HOST}/",
        }

    def publish(self, name: str, version: str, files: dict[str, str]) -> str:
        """As above, and on to the host."""
        path = super().publish(name, version, files)
        assert self.host is not None
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(self.folder / "bare", "git")
        (self.host.root / "srv" / "bare.tar").write_bytes(buffer.getvalue())
        self.host.run("cd /srv && rm -rf git && tar -xf bare.tar --no-same-owner && chown -R deploy git")
        return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with Lab.up(fresh_name(), targets=1, builders=0) as lab:
        host = lab.hosts[0]
        assert isinstance(host, LinuxHost)
        (host.root / "usr/bin/git").write_bytes(Path(shutil.which("git") or "git").read_bytes())
        host.run("chmod 755 /usr/bin/git && ln -sf git /usr/bin/git-upload-pack")
        folder = tmp_path_factory.mktemp("ssh-server")
        yield SshServer(
            folder,
            "deploy",
            "no password",
            folder / "none",
            go(),
            host=host,
            key=lab.file.key,
            known_hosts=lab.file.known_hosts,
        )


@pytest.fixture
def controller(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Controller(tmp_path / "controller", go_command.Go(server.go, "1.26"))


def test_a_module_comes_over_ssh_with_the_users_key(server: SshServer, controller: Controller, tmp_path: Path) -> None:
    path = server.publish("team/key.git", "v1.0.0", FILES)
    repo = program(server, tmp_path / "app", path, name="key")
    found = controller.gather(repo, PRIVATE)
    assert [file.name for file in found.files if file.name.endswith(".zip")] == [f"{path}/@v/v1.0.0.zip"]


def test_a_key_that_the_server_does_not_know_and_a_host_that_nobody_knows(
    server: SshServer, controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = server.publish("team/shut.git", "v1.0.0", {"shut.go": "package shut\n\nfunc Name() string { return `x` }\n"})
    repo = program(server, tmp_path / "app", path, name="shut")
    stranger = tmp_path / "stranger"
    stranger.touch(mode=0o600)
    stranger.write_bytes(new_key()[0])
    good = server.environment()["GIT_SSH_COMMAND"]
    monkeypatch.setenv("GIT_SSH_COMMAND", good.replace(str(server.key), str(stranger)))
    text = controller.error(repo, PRIVATE)
    assert f"ssh refuses the login for {path}" in text
    assert "ssh-add -l" in text
    monkeypatch.setenv("GIT_SSH_COMMAND", good.replace(str(server.known_hosts), "/dev/null"))
    text = controller.error(repo, PRIVATE)
    assert "Host key verification failed" in text
    assert "host key is known" in text
