"""A Linux standby builder of the lab: provisioned without root, builds what the others build, and its bad days."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.linux_build import built_on_linux
from gofallback.artifact.manifest import Manifest
from gofallback.builder.paths import MARKER
from gofallback.builder.state import marker
from gofallback.model import Fleet as Data
from lab import Lab
from lab.linux.builder import LinuxBuilder
from tests.lab.conftest import fresh_name
from tests.lab.fleet import Fleet
from tests.lab.provisioned import (
    GO,
    LINUX_GIT,
    LINUX_ROOT,
    Result,
    linux_fleet,
    linux_pin,
    provision,
    provision_until_killed,
)

pytestmark = pytest.mark.lab
GO_PROGRAM = f"{LINUX_ROOT}/toolchains/go{GO}/bin/go"
Run = Callable[[Data], Result]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(fresh_name(), targets=1, builders=0, linux_builders=1) as lab:
        yield lab


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The controller's archive cache."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
def b1(lab: Lab) -> Iterator[LinuxBuilder]:
    """The builder as on its first day."""
    host = lab.host("b1")
    assert isinstance(host, LinuxBuilder)
    host.reset()
    yield host
    host.free_disk()


@pytest.fixture
def run(lab: Lab, b1: LinuxBuilder, cache: Path) -> Run:
    return functools.partial(provision, lab, cache=cache, name="b1")


@pytest.fixture
def has_git(lab: Lab, b1: LinuxBuilder) -> None:
    """Git counts as provisioned, for tests that are about Go."""
    home = f"{LINUX_ROOT}/toolchains/git-{LINUX_GIT}"
    sha256 = lab.file.linux_toolchains["git"][LINUX_GIT]["sha256"]
    b1.put(f"{home}/bin/git", b"#!/bin/sh\n", 0o755)
    b1.put(f"{home}/{MARKER}", marker("git", LINUX_GIT, "tar", "amd64", sha256).encode() + b"\n")
    b1.run(f"chown -R builder: {LINUX_ROOT}")


def names(b1: LinuxBuilder, folder: str) -> list[str]:
    """What is in a folder below the builder's root, hidden files too."""
    return b1.run(f"ls -A {LINUX_ROOT}/{folder} 2>/dev/null", check=False).stdout.split()


def below(b1: LinuxBuilder) -> Path:
    """The builder's root folder, seen from this machine."""
    return b1.root / LINUX_ROOT.lstrip("/")


def test_a_fresh_host_gets_go_and_git_without_root_and_the_second_run_changes_nothing(
    lab: Lab, b1: LinuxBuilder, run: Run
) -> None:
    before = b1.run("find / -xdev -newer /etc/hostname -user builder -not -path '/home/*' -not -path '/proc/*'").stdout
    first = run(linux_fleet(lab, GO))
    assert first.ok, first.text
    assert f"go{GO} linux/amd64" in b1.run(f"su - builder -c '{GO_PROGRAM} version'").stdout
    assert first.state is not None
    assert (first.state.leftovers, first.state.downloads) == ((), {})
    assert b1.run(f"find {LINUX_ROOT} -not -user builder").stdout == ""
    after = b1.run("find / -xdev -newer /etc/hostname -user builder -not -path '/home/*' -not -path '/proc/*'").stdout
    assert after == before, "something was written outside the login's home"

    second = run(linux_fleet(lab, GO))
    assert (second.ok, second.changed) == (True, []), second.text
    assert second.round_trips <= 3


def test_a_wrong_pin_stops_before_anything_is_sent(lab: Lab, has_git: None, b1: LinuxBuilder, run: Run) -> None:
    wrong = run(linux_fleet(lab, GO, linux_pin(lab, "go", GO, sha256="0" * 64)))
    assert not wrong.ok
    assert "0" * 64 in wrong.text
    assert names(b1, "downloads") == []


def test_an_archive_of_another_version_is_not_installed(lab: Lab, has_git: None, b1: LinuxBuilder, run: Run) -> None:
    other = linux_pin(lab, "go", "1.27.3")
    posing = linux_pin(lab, "go", GO, url=other.url, sha256=other.sha256)
    result = run(linux_fleet(lab, GO, posing))
    assert not result.ok
    assert "says version 1.27.3" in result.text
    assert f"it should say {GO}" in result.text
    assert f"go{GO}" not in names(b1, "toolchains")
    assert names(b1, "tmp") == []


@pytest.mark.parametrize("moment", ["downloads/*", f"tmp/unpack-go{GO}-*/go/*", f"toolchains/go{GO}"])
def test_killed_at_any_moment_the_next_run_ends_the_work(
    lab: Lab, has_git: None, b1: LinuxBuilder, run: Run, cache: Path, moment: str
) -> None:
    provision_until_killed(lab, GO, cache, "b1", below(b1), moment)
    again = run(linux_fleet(lab, GO))
    assert again.ok, again.text
    assert again.state is not None
    assert f"go{GO} linux/amd64" in b1.run(f"su - builder -c '{GO_PROGRAM} version'").stdout
    assert (again.state.leftovers, again.state.downloads) == ((), {})


def test_a_full_disk_is_said_before_sending_and_works_once_there_is_room(
    lab: Lab, has_git: None, b1: LinuxBuilder, run: Run
) -> None:
    b1.fill_disk(leave_mb=50)
    full = run(linux_fleet(lab, GO))
    assert not full.ok
    assert "free; make room" in full.text
    assert names(b1, "downloads") == []
    b1.free_disk()
    assert run(linux_fleet(lab, GO)).ok


def test_a_login_that_may_not_write_there_is_refused_with_the_reason(lab: Lab, b1: LinuxBuilder, run: Run) -> None:
    result = run(linux_fleet(lab, GO, root="/srv/gofallback"))
    assert not result.ok
    assert "/srv/gofallback" in result.text
    assert "more) cannot be made" in result.text  # the folders are not listed
    assert "write permission" in result.text


def test_a_host_without_the_unpacker_of_an_archive_is_refused_by_name(
    lab: Lab, has_git: None, b1: LinuxBuilder, run: Run
) -> None:
    packed = linux_pin(lab, "go", GO, url=linux_pin(lab, "go", GO).url.replace(".tar.gz", ".tar.xz"))
    result = run(linux_fleet(lab, GO, packed))
    assert not result.ok
    assert "xz missing in the login's PATH" in result.text
    assert names(b1, "downloads") == []


def test_a_machine_wide_go_of_the_right_version_is_used(lab: Lab, has_git: None, b1: LinuxBuilder, run: Run) -> None:
    b1.run("mkdir -p /usr/local/go/bin")
    b1.put("/usr/local/go/VERSION", f"go{GO}\n".encode())
    b1.put("/usr/local/go/bin/go", b"#!/bin/sh\n", 0o755)
    used = run(linux_fleet(lab, GO))
    assert used.ok, used.text
    assert f"go {GO}: installed on the machine: /usr/local/go" in used.text
    refused = run(linux_fleet(lab, GO, use_installed=False))
    assert (refused.ok, refused.changed) == (True, [f"go {GO}"]), refused.text


@pytest.fixture
def fleet(lab: Lab, b1: LinuxBuilder, tmp_path: Path) -> Fleet:
    made = Fleet(lab, tmp_path)
    made.fresh_targets()
    return made


def test_the_emergency_runs_on_a_linux_builder_with_the_bytes_that_every_builder_makes(
    lab: Lab, fleet: Fleet, b1: LinuxBuilder, tmp_path: Path
) -> None:
    build = fleet.start("fallback", "--data", "ref=v1.1.0")
    build.wait_for("building")
    build.kill()

    first = fleet.run("fallback", "--data", "ref=v1.1.0")
    assert first.code == 0, first.output
    (path,) = (tmp_path / "artifacts" / "hello").rglob("manifest.json")
    manifest = Manifest.model_validate_json(path.read_text())
    assert manifest.builder == "b1"
    assert manifest.sha256 == built_on_linux(Path(lab.file.example["repository"]), manifest.spec, tmp_path)
    target = lab.host("t1")
    assert manifest.sha256 in target.run("sha256sum /opt/hello/current/bin/hello").stdout

    second = fleet.run("fallback", "--data", "ref=v1.1.0")
    assert second.code == 0
    assert "nothing was changed" in second.output
