"""The controller brings modules from a real git server that wants a password: over TLS, with go and git as they are."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gofallback.git.resolve import resolve
from gofallback.gobuild.modules import ModuleFiles, Modules, builder_environment
from gofallback.gomod import go_command
from gofallback.gomod.download import ModuleSet, download_modules
from gofallback.gomod.files import module_files
from gofallback.gomod.run import ModuleError, ModuleRequest
from gofallback.model.modules import PrivateModules
from gofallback.operations.modules import pack
from tests.lab.git_servers import HOST, GitServer, git_server
from tests.lab.windows_builder import commit, repository, write
from tests.unit.services import service

pytestmark = pytest.mark.lab

VAULT = {"vault.go": 'package vault\n\nfunc Name() string { return "one" }\n'}
PRIVATE: dict[str, Any] = {
    "patterns": [f"{HOST}/*"],
    "logins": [{"host": HOST, "user": "builds", "token": {"env": "LAB_MODULE_TOKEN"}}],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with git_server(tmp_path_factory.mktemp("git-server")) as server:
        yield server


@pytest.fixture(autouse=True)
def _environment(server: GitServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A controller behind a proxy, with a private CA and without a login of its user's."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("LAB_MODULE_TOKEN", server.password)
    server.down = False
    server.requests.clear()


def program(
    server: GitServer, folder: Path, module: str, version: str = "v1.0.0", *, name: str = "", **files: str
) -> Path:
    """A program that uses one module of the server (its package's name: the path's last part), go.sum made by go."""
    name = name or module.rpartition("/")[2]
    main = f'package main\n\nimport "{module}"\n\nfunc main() {{ println({name}.Name()) }}\n'
    gomod = f"module example.test/app\n\ngo 1.24\n\nrequire {module} {version}\n"
    repo = repository(folder, {"go.mod": gomod, "main.go": main, **files})
    server.tidy(repo)
    return repo


class Controller:
    """A controller's folder, and what was said."""

    def __init__(self, folder: Path, go: go_command.Go) -> None:
        self.folder = folder
        self.go = go
        self.said: list[str] = []
        self.go_calls = 0

    def files(self, repo: Path, directory: str = ".") -> ModuleFiles:
        wanted = service(source={"repository": str(repo), "ref": "main"})
        return module_files(resolve(wanted, self.folder / "mirrors"), directory)

    def gather(self, repo: Path, private: dict[str, Any] | None = None, directory: str = ".", **more: Any) -> ModuleSet:
        return download_modules(self.wanted(repo, private, directory, **more), self.said.append)

    def wanted(
        self, repo: Path, private: dict[str, Any] | None = None, directory: str = ".", **more: Any
    ) -> ModuleRequest:
        def find() -> go_command.Go:
            self.go_calls += 1
            return self.go

        return ModuleRequest(
            "app v1.0.0",
            self.files(repo, directory),
            self.folder / "modules",
            find,
            PrivateModules.model_validate(PRIVATE if private is None else private),
            **more,
        )

    def error(self, repo: Path, private: dict[str, Any] | None = None, **more: Any) -> str:
        with pytest.raises(ModuleError) as caught:
            self.gather(repo, private, **more)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def controller(server: GitServer, tmp_path: Path) -> Controller:
    return Controller(tmp_path / "controller", go_command.Go(server.go, "1.26"))


def names(found: ModuleSet) -> list[str]:
    return [file.name for file in found.files]


@contextmanager
def watched(secret: str) -> Iterator[list[str]]:
    """Within, every process of this machine is looked at; gives those with the secret in arguments or environment."""
    found: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for path in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        if secret.encode() in (path / name).read_bytes():
                            found.append(f"{name} of {(path / 'comm').read_text().strip()}")
                    except OSError:
                        continue
            time.sleep(0.01)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def test_a_private_module_comes_with_a_token_that_is_nowhere_to_be_seen(
    server: GitServer, controller: Controller, tmp_path: Path
) -> None:
    repo = program(server, tmp_path / "app", server.publish("team/vault", "v1.0.0", VAULT))
    wanted = controller.wanted(repo)
    home = tmp_path / "nobody"
    write(home, {".gitconfig": "[credential]\n\thelper = store\n"})
    with watched(server.password) as seen:
        found = download_modules(wanted, controller.said.append)
    assert names(found) == [f"{HOST}/team/vault/@v/v1.0.0.{kind}" for kind in ("info", "mod", "zip")]
    assert any("git-upload-pack" in request for request in server.requests)
    assert seen == []
    written = subprocess.run(
        ["grep", "-rlF", server.password, str(controller.folder), str(home)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert written.stdout == ""
    assert server.password not in "\n".join(controller.said)


def test_the_users_own_login_does_as_well(
    server: GitServer, controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = program(
        server,
        tmp_path / "app",
        server.publish("team/own", "v1.0.0", {"own.go": "package own\n\nfunc Name() string { return `own` }\n"}),
    )
    for name, value in server.login(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    assert controller.gather(repo, {"patterns": [f"{HOST}/*"]}).modules == 1


def test_the_next_commit_asks_nobody_and_a_new_version_is_all_that_is_fetched(
    server: GitServer, controller: Controller, tmp_path: Path
) -> None:
    for version in ("v1.0.0", "v1.1.0"):
        path = server.publish(
            "team/warm", version, {"warm.go": f"package warm\n\nfunc Name() string {{ return `{version}` }}\n"}
        )
    other = server.publish("team/other", "v1.0.0", {"other.go": "package other\n"})
    repo = program(server, tmp_path / "app", path, other__go="", **{"more.go": f'package main\n\nimport _ "{other}"\n'})
    first = controller.gather(repo)
    assert (first.modules, first.fetched) == (2, sum(f.size for f in first.files if f.name.endswith(".zip")))
    server.requests.clear()
    commit(repo, **{"main_more.go": "package main\n"})
    second = controller.gather(repo)
    assert names(second) == names(first)
    assert (second.fetched, server.requests, controller.go_calls) == (0, [], 1)
    write(repo, {"go.mod": (repo / "go.mod").read_text().replace(f"{path} v1.0.0", f"{path} v1.1.0")})
    server.tidy(repo)
    third = controller.gather(repo)
    assert [file.size for file in third.files if file.name.endswith("v1.1.0.zip")] == [third.fetched]
    assert not any("other" in request for request in server.requests)


def test_with_every_server_gone_the_cache_is_enough(server: GitServer, controller: Controller, tmp_path: Path) -> None:
    path = server.publish("team/night", "v1.0.0", {"night.go": "package night\n\nfunc Name() string { return `x` }\n"})
    repo = program(server, tmp_path / "app", path)
    controller.gather(repo)
    server.requests.clear()
    server.down = True
    # Another go.mod, so that what the first run wrote down does not count: go itself has to do with its cache.
    write(repo, {"go.mod": (repo / "go.mod").read_text() + "\n// changed\n"})
    commit(repo)
    for offline in (False, True):
        found = controller.gather(repo, offline=offline)
        assert (found.modules, found.fetched) == (1, 0)
    assert server.requests == []


def test_with_every_server_gone_and_nothing_cached_the_error_says_so(
    server: GitServer, controller: Controller, tmp_path: Path
) -> None:
    path = server.publish("team/gone", "v1.0.0", {"gone.go": "package gone\n\nfunc Name() string { return `x` }\n"})
    repo = program(server, tmp_path / "app", path)
    server.down = True
    text = controller.error(repo)
    assert f"{path}@v1.0.0 cannot be downloaded" in text
    assert "HTTPS_PROXY" in text
    text = controller.error(repo, offline=True)
    assert "not in the controller's cache" in text
    assert "source_offline" in text


def test_a_wrong_token(
    server: GitServer, controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = server.publish(
        "team/locked", "v1.0.0", {"locked.go": "package locked\n\nfunc Name() string { return `x` }\n"}
    )
    repo = program(server, tmp_path / "app", path)
    monkeypatch.setenv("LAB_MODULE_TOKEN", "not-the-right-one")
    text = controller.error(repo)
    assert f"refuses the credential for {path}@v1.0.0" in text
    assert f"renew it where build.private.logins {HOST} names it" in text
    assert "not-the-right-one" not in text
    text = controller.error(repo, {"patterns": [f"{HOST}/*"]})
    assert "wants a credential" in text
    assert "build.private.logins" in text
    monkeypatch.setenv("LAB_MODULE_TOKEN", server.password)
    assert controller.gather(repo).modules == 1


def test_a_version_that_the_server_does_not_have(server: GitServer, controller: Controller, tmp_path: Path) -> None:
    path = server.publish("team/few", "v1.0.0", {"few.go": "package few\n\nfunc Name() string { return `x` }\n"})
    repo = program(server, tmp_path / "app", path)
    for name in ("go.mod", "go.sum"):
        write(repo, {name: (repo / name).read_text().replace("v1.0.0", "v1.7.0")})
    commit(repo)
    text = controller.error(repo)
    assert f"not found: go: {path}@v1.7.0" in text
    assert "push the missing version" in text


def test_a_moved_tag_is_a_sum_mismatch(server: GitServer, controller: Controller, tmp_path: Path) -> None:
    path = server.publish("team/moved", "v1.0.0", {"moved.go": "package moved\n\nfunc Name() string { return `x` }\n"})
    repo = program(server, tmp_path / "app", path)
    server.publish("team/moved", "v1.0.0", {"moved.go": "package moved\n\nfunc Name() string { return `evil` }\n"})
    text = controller.error(repo)
    assert f"{path}@v1.0.0 is not the code that go.sum names" in text
    assert "moved the version's tag" in text
    assert "compare with the module's author" in text
    assert not list((controller.folder / "modules" / "sets").glob("*"))


def test_a_go_sum_that_lacks_an_entry(server: GitServer, controller: Controller, tmp_path: Path) -> None:
    path = server.publish(
        "team/unsummed", "v1.0.0", {"u.go": "package unsummed\n\nfunc Name() string { return `x` }\n"}
    )
    repo = program(server, tmp_path / "app", path)
    write(repo, {"go.sum": ""})
    commit(repo)
    text = controller.error(repo)
    assert "go.sum lacks an entry" in text
    assert "go mod tidy" in text


def test_a_replacement_by_a_private_fork_and_one_by_a_folder(
    server: GitServer, controller: Controller, tmp_path: Path
) -> None:
    fork = server.publish(
        "fork/upstream", "v1.2.3", {"u.go": "package upstream\n\nfunc Name() string { return `f` }\n"}
    )
    gomod = (
        "module example.test/app\n\ngo 1.24\n\n"
        "require (\n\texample.test/upstream v1.0.0\n\texample.test/near v0.0.0\n)\n\n"
        f"replace example.test/upstream => {fork} v1.2.3\n\nreplace example.test/near => ./third/near\n"
    )
    main = 'package main\n\nimport (\n\t_ "example.test/near"\n\t_ "example.test/upstream"\n)\n\nfunc main() {}\n'
    near = {"third/near/go.mod": "module example.test/near\n\ngo 1.24\n", "third/near/n.go": "package near\n"}
    repo = repository(tmp_path / "app", {"go.mod": gomod, "main.go": main, **near})
    server.tidy(repo)
    found = controller.gather(repo)
    assert [name for name in names(found) if name.endswith(".zip")] == [f"{fork}/@v/v1.2.3.zip"]


def test_a_workspace_of_the_commit_counts_with_all_its_modules(
    server: GitServer, controller: Controller, tmp_path: Path
) -> None:
    path = server.publish("team/shared", "v1.0.0", {"s.go": "package shared\n\nfunc Name() string { return `x` }\n"})
    lib = {
        "lib/go.mod": f"module example.test/lib\n\ngo 1.24\n\nrequire {path} v1.0.0\n",
        "lib/lib.go": f'package lib\n\nimport _ "{path}"\n',
    }
    app = {
        "app/go.mod": "module example.test/app\n\ngo 1.24\n",
        "app/main.go": "package main\n\nfunc main() {}\n",
    }
    repo = repository(tmp_path / "space", {**lib, **app})
    for name in ("go.mod", "main.go"):
        (repo / name).unlink()
    server.tidy(repo)
    commit(repo, **{"go.work": "go 1.24\n\nuse (\n\t./app\n\t./lib\n)\n"})
    assert controller.gather(repo, directory="app").modules == 1
    assert controller.gather(repo, directory="app", environment={"GOWORK": "off"}).modules == 0


def build_from(found: ModuleSet, repo: Path, folder: Path, go: Path) -> subprocess.CompletedProcess[str]:
    """What a Linux builder does: unpack what was sent, and build with nothing else in reach."""
    proxy = folder / "a root" / "cache" / "modproxy"
    proxy.mkdir(parents=True)
    pack(found.files, folder / "sent.tar")
    subprocess.run(["tar", "-xf", str(folder / "sent.tar"), "-C", str(proxy)], check=True)
    told = builder_environment("controller", PrivateModules.model_validate(PRIVATE), str(proxy))
    own = {name: str(folder / name) for name in ("GOCACHE", "GOMODCACHE", "GOPATH", "HOME")}
    settings = {"PATH": "/usr/bin:/bin", "GOTOOLCHAIN": "local", "GOENV": "off", "GOFLAGS": "-modcacherw -mod=mod"}
    return subprocess.run(
        [str(go), "list", *Modules("controller").flags, "-deps", "-f", "{{.ImportPath}} {{.Dir}}", "."],
        cwd=repo,
        env={**settings, **own, **{name: value for name, value in told.items() if value}},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_was_sent_is_all_that_go_needs_on_a_linux_builder(
    server: GitServer, controller: Controller, tmp_path: Path
) -> None:
    path = server.publish("Team/Linux", "v1.0.0", {"l.go": "package linux\n\nfunc Name() string { return `x` }\n"})
    repo = program(server, tmp_path / "app", path, name="linux")
    found = controller.gather(repo)
    server.requests.clear()
    done = build_from(found, repo, tmp_path / "builder", server.go)
    assert done.returncode == 0, done.stderr
    assert f"{path} " in done.stdout
    assert server.requests == []


def test_a_module_that_go_sum_does_not_name_is_not_brought_and_go_refuses_it_whatever_goflags_says(
    server: GitServer, controller: Controller, tmp_path: Path
) -> None:
    path = server.publish("team/loose", "v1.0.0", {"l.go": "package loose\n\nfunc Name() string { return `x` }\n"})
    repo = program(server, tmp_path / "app", path)
    controller.gather(repo)  # it is in the cache all the same
    write(repo, {"go.sum": "".join(line for line in (repo / "go.sum").open() if "/go.mod " in line)})
    commit(repo)
    found = controller.gather(repo)
    assert found.modules == 0
    done = build_from(found, repo, tmp_path / "builder", server.go)
    assert done.returncode != 0
    assert f"missing go.sum entry for module providing package {path}" in done.stderr


def test_a_go_that_is_too_old(server: GitServer, controller: Controller, tmp_path: Path) -> None:
    path = server.publish("team/future", "v1.0.0", {"f.go": "package future\n\nfunc Name() string { return `x` }\n"})
    repo = program(server, tmp_path / "app", path)
    write(repo, {"go.mod": (repo / "go.mod").read_text().replace("go 1.24", "go 1.99")})
    commit(repo)
    text = controller.error(repo)
    assert "needs Go 1.99" in text
    assert "toolchain.pins" in text


def test_a_full_disk(server: GitServer, controller: Controller, tmp_path: Path) -> None:
    noise = os.urandom(600_000).hex()
    path = server.publish(
        "team/fat", "v1.0.0", {"f.go": "package fat\n\nfunc Name() string { return `x` }\n", "noise": noise}
    )
    repo = program(server, tmp_path / "app", path)
    small = controller.folder / "modules"
    small.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "lab-modules", str(small)], check=True)
    try:
        text = controller.error(repo)
        assert "disk is full" in text
        assert "free space" in text
        subprocess.run(["mount", "-o", "remount,size=40m", str(small)], check=True)
        assert controller.gather(repo).modules == 1
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_a_cache_that_was_damaged_on_the_disk_is_not_used(
    server: GitServer, controller: Controller, tmp_path: Path
) -> None:
    path = server.publish("team/rot", "v1.0.0", {"r.go": "package rot\n\nfunc Name() string { return `x` }\n"})
    repo = program(server, tmp_path / "app", path)
    found = controller.gather(repo)
    archive = next(file.path for file in found.files if file.name.endswith(".zip"))
    archive.write_bytes(archive.read_bytes()[:-40])
    assert controller.gather(repo).modules == 1
    assert controller.go_calls == 2
