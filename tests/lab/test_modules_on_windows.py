"""A program with private modules, built on a Windows host that can reach no server: whole runs, as a person does."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.builders import Builder
from tests.lab.fleet import Fleet, Result
from tests.lab.git_servers import HOST, GitServer, git_server
from tests.lab.windows_builder import commit, repository, write

pytestmark = pytest.mark.lab

#: Longer than the 260 characters that old programs of Windows can do, below C:\gofallback\cache\modproxy.
LONG = "deep/" + "/".join(["a-folder-with-a-long-name"] * 8)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with git_server(tmp_path_factory.mktemp("git-server")) as server:
        yield server


def source(name: str, text: str) -> dict[str, str]:
    """A package of one function."""
    return {f"{name.lower()}.go": f'package {name.lower()}\n\nfunc Name() string {{ return "{text}" }}\n'}


class Team:
    """A controller that may read the server, its program, and the shared lab's Windows host."""

    def __init__(self, fleet: Fleet, server: GitServer, folder: Path) -> None:
        self.server = server
        self.fleet = Fleet(fleet.lab, folder / "controller", {})
        machine = fleet.lab.host("w1")
        assert isinstance(machine, Builder)
        self.proxy = machine.drive_c / "gofallback" / "cache" / "modproxy"
        self.cache = machine.drive_c / "gofallback" / "cache" / "gomodcache"
        self.drive = machine.drive_c
        self.vault = server.publish("Team/Vault", "v1.0.0", source("Vault", "first"))
        self.vault = server.publish("Team/Vault", "v1.1.0", source("Vault", "second"))
        self.other = server.publish("team/other", "v1.0.0", source("other", "x" * 3000))
        # Commits are the same for the same files, and the shared builder keeps what it built for another test.
        own = {"own.go": f"package main\n\n// {folder.name}\n"}
        self.repo = repository(folder / "program", {**self.program("v1.0.0"), **own}, tag="v8.0.0")
        server.tidy(self.repo)

    def program(self, version: str) -> dict[str, str]:
        """Its files."""
        imports = f'import (\n\t"fmt"\n\n\t"{self.other}"\n\tvault "{self.vault}"\n)\n'
        body = "func main() { fmt.Println(version, vault.Name(), other.Name()) }\n"
        needed = f"require (\n\t{self.other} v1.0.0\n\t{self.vault} {version}\n)\n"
        return {
            "go.mod": f"module example.test/app\n\ngo 1.24\n\n{needed}",
            "main.go": f'package main\n\n{imports}\nvar version = "none"\n\n{body}',
        }

    def drill(self, *arguments: str, **build: Any) -> Result:
        """Build what the repository's main branch has."""
        login = {"host": HOST, "user": self.server.user, "token": {"env": "LAB_MODULE_TOKEN"}}
        wanted = {"package": ".", "private": {"patterns": [f"{HOST}/*"], "logins": [login]}, **build}
        data = {"repository": str(self.repo), "hello": {"build": wanted}}
        return self.fleet.run("drill", "--data", "ref=main", *arguments, data=data, seconds=900)


@pytest.fixture
def team(fleet: Fleet, server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Team:
    monkeypatch.setenv("PATH", f"{server.go.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setenv("LAB_MODULE_TOKEN", server.password)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.down = False
    team = Team(fleet, server, tmp_path)
    subprocess.run(["rm", "-rf", str(team.proxy)], check=True)
    return team


def sent(result: Result) -> list[int]:
    """Bytes of modules that went to the builder, one figure a delivery."""
    units = {"B": 1, "kB": 1000, "MB": 1_000_000}
    found = re.findall(r"module files sent \(([\d.]+) (B|kB|MB)\)", result.output)
    return [round(float(number) * units[unit]) for number, unit in found]


def test_private_modules_reach_the_builder_without_a_credential_and_each_byte_once(team: Team) -> None:
    first = team.drill()
    assert first.code == 0, first.output
    first.line("2 modules .* verified with go.sum")
    assert (team.proxy / HOST / "!team" / "!vault" / "@v" / "v1.0.0.zip").is_file()
    [everything] = sent(first)

    commit(team.repo, **{"more.go": "package main\n"})
    second = team.drill()
    assert second.code == 0, second.output
    second.line("2 modules .* are in the controller's cache; no server was contacted")
    second.line("2 modules are on the builder; nothing sent")
    assert sent(second) == []

    write(team.repo, team.program("v1.1.0"))
    team.server.tidy(team.repo)
    third = team.drill()
    assert third.code == 0, third.output
    [news] = sent(third)
    assert 0 < news < everything / 2
    assert list((team.proxy / HOST / "!team" / "!vault" / "@v").glob("*.zip")).__len__() == 2

    leaked = [
        "grep",
        "-rlF",
        team.server.password,
        str(team.drive / "gofallback"),
        str(team.drive / "users"),
        str(team.fleet.home),
    ]
    assert subprocess.run(leaked, capture_output=True, text=True, check=False).stdout == ""
    assert team.server.password not in first.output + second.output + third.output
    bills = [json.loads(path.read_text()) for path in team.fleet.home.rglob("sbom.json")]
    assert any(HOST in json.dumps(one) and "SHA-256" in json.dumps(one) for one in bills)


def test_a_wrong_token_ends_the_run_with_one_line_and_nothing_reaches_the_builder(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_MODULE_TOKEN", "not-the-right-one")
    result = team.drill()
    assert result.code != 0
    line = result.line("refuses the credential")
    assert f"renew it where build.private.logins {HOST} names it" in line
    assert "not-the-right-one" not in result.output and "Traceback" not in result.output
    assert not list(team.proxy.rglob("*.zip"))


def test_what_a_killed_run_left_half_there_is_completed_and_nothing_else_is_sent(team: Team) -> None:
    first = team.drill()
    assert first.code == 0, first.output
    archive = team.proxy / HOST / "team" / "other" / "@v" / "v1.0.0.zip"
    size = archive.stat().st_size
    for gone in ([team.proxy / "receipts", team.cache], [team.cache]):  # a killed run; a damaged disk, a cleaner
        archive.write_bytes(archive.read_bytes()[:100])
        subprocess.run(["rm", "-rf", *map(str, gone)], check=True)
        commit(team.repo, **{"more.go": f"package main // {len(gone)}\n"})
        result = team.drill()
        assert result.code == 0, result.output
        assert sent(result) == [size]
    result.line("other/@v/v1.0.0.zip is gone or damaged on the builder")


def test_at_night_with_every_server_gone_a_new_commit_is_built_from_the_cache(team: Team) -> None:
    assert team.drill().code == 0
    team.server.down = True
    team.server.requests.clear()
    commit(team.repo, **{"main_night.go": "package main\n", "go.mod": (team.repo / "go.mod").read_text() + "// x\n"})
    subprocess.run(["rm", "-rf", str(team.proxy), str(team.cache)], check=True)
    result = team.drill()
    assert result.code == 0, result.output
    assert team.server.requests == []


def test_what_go_sum_does_not_name_is_refused_by_go_itself(team: Team) -> None:
    sums = (team.repo / "go.sum").read_text().splitlines(keepends=True)
    write(team.repo, {"go.sum": "".join(line for line in sums if f"{team.vault} v1.0.0 h1" not in line)})
    commit(team.repo)
    result = team.drill(environment={"GOFLAGS": "-mod=readonly"})
    assert result.code != 0
    result.line(f"go.sum lacks an entry: .*missing go.sum entry for module providing package {team.vault}")
    result.line("go mod tidy")


def test_a_file_that_was_changed_on_the_builder_is_found_by_go_and_sent_again(team: Team) -> None:
    assert team.drill().code == 0
    path = team.proxy / HOST / "team" / "other" / "@v" / "v1.0.0.zip"
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    size, padding = path.stat().st_size, 0
    for _ in range(2):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, text in content.items():
                archive.writestr(name, text.replace(b"xxx", b"yyy"))
            archive.comment = b"-" * padding
        padding = size - path.stat().st_size
    assert path.stat().st_size == size, "another size is found before go sees it"
    subprocess.run(["rm", "-rf", str(team.cache)], check=True)
    commit(team.repo, **{"more.go": "package main\n"})
    result = team.drill()
    assert result.code == 0, result.output
    result.line(f"{team.other}@v1.0.0.* is not the code that go.sum names")
    result.line("sending all of its modules again")
    assert path.stat().st_size == size and b"---" not in path.read_bytes()


def test_a_module_with_a_name_longer_than_old_windows_programs_can_do(team: Team, tmp_path: Path) -> None:
    path = team.server.publish(LONG, "v1.0.0", source("long", "long"))
    main = (
        f'package main\n\nimport long "{path}"\n\nvar version = ""\n\nfunc main() {{ println(long.Name(), version) }}\n'
    )
    gomod = f"module example.test/app\n\ngo 1.24\n\nrequire {path} v1.0.0\n"
    team.repo = repository(tmp_path / "long", {"go.mod": gomod, "main.go": main}, tag="v9.0.0")
    team.server.tidy(team.repo)
    result = team.drill()
    assert result.code == 0, result.output
