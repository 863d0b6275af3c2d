"""Provisioning a real Windows host of the lab: what it ends up with, and the bad days on the way there."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gofallback.builder.paths import MARKER, program, toolchain_name
from gofallback.builder.state import marker
from gofallback.disk import file_sha256
from gofallback.model import Fleet, ToolchainPin
from lab import Lab
from lab.builders import Builder
from tests.lab import go_msi
from tests.lab.conftest import fresh_name
from tests.lab.provisioned import (
    GIT,
    GO,
    NEWER_GO,
    ROOT,
    Result,
    fleet,
    pin,
    provision,
    provision_until_killed,
    wait_for_files,
)

pytestmark = pytest.mark.lab
DISK_MB = 1500

Run = Callable[[Fleet], Result]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(fresh_name(), targets=0, builders=1, builder_disk_mb=DISK_MB) as lab:
        yield lab


@pytest.fixture
def w1(lab: Lab) -> Iterator[Builder]:
    """The lab's Windows host as on its first day."""
    host = lab.host("w1")
    assert isinstance(host, Builder)
    host.reset()
    host.wait_up()
    yield host
    host.free_disk()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The controller's archive cache."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
def run(lab: Lab, w1: Builder, cache: Path) -> Run:
    return functools.partial(provision, lab, cache=cache)


def root_of(w1: Builder) -> Path:
    """The builder's root folder, seen from this machine."""
    return w1.drive_c / "gofallback"


@pytest.fixture
def has_git(lab: Lab, w1: Builder) -> None:
    """Git counts as provisioned, for tests that are about Go: its archive takes seconds to unpack."""
    pretend(lab, w1, "git", GIT)


@pytest.fixture
def has_go(lab: Lab, w1: Builder) -> None:
    """Go counts as provisioned, for tests that are about Git: its archive has twelve thousand files."""
    pretend(lab, w1, "go", GO)


def pretend(lab: Lab, w1: Builder, tool: str, version: str) -> None:
    """Put a toolchain's marker there, and a program that is none."""
    home = f"{ROOT}\\toolchains\\{toolchain_name(tool, version)}"
    sha256 = lab.file.toolchains[tool][version]["sha256"]
    w1.put(program(tool, home), b"MZ")
    w1.put(f"{home}\\{MARKER}", marker(tool, version, "zip", "amd64", sha256).encode() + b"\r\n")


def toolchains(w1: Builder) -> list[str]:
    """Names in the toolchains folder, Git's aside."""
    return [path.name for path in (root_of(w1) / "toolchains").iterdir() if not path.name.startswith("git-")]


def wait_for_unpacking(w1: Builder, files: str = f"unpack-go{GO}-*/go/*") -> None:
    """Until tar on the host has written its first files."""
    wait_for_files(root_of(w1) / "tmp", files)


def archive_of(lab: Lab, tool: str, version: str) -> Path:
    return Path(lab.file.toolchains[tool][version]["file"])


def sha256_of(lab: Lab, version: str) -> str:
    """What the lab says its archive of that Go has."""
    return lab.file.toolchains["go"][version]["sha256"]


def says(w1: Builder, command: str) -> str:
    return w1.run(command).stdout.strip()


def test_a_fresh_host_gets_go_and_git_that_run_and_the_second_run_changes_nothing(
    lab: Lab, w1: Builder, run: Run
) -> None:
    first = run(fleet(lab, GO))
    assert first.ok, first.text
    assert f"go{GO} windows/amd64" in says(w1, f"{ROOT}\\toolchains\\go{GO}\\bin\\go.exe version")
    assert "git version 2.45.2.windows.1" in says(w1, f"{ROOT}\\toolchains\\git-{GIT}\\cmd\\git.exe --version")
    assert first.state is not None
    found = first.state.find("go", GO)
    assert found is not None
    assert found.sha256 == sha256_of(lab, GO)
    assert (first.state.leftovers, first.state.downloads) == ((), {})

    second = run(fleet(lab, GO))
    assert (second.ok, second.changed) == (True, []), second.text
    assert second.round_trips <= 3
    assert f"go {GO}: in place" in second.text


def test_another_version_comes_beside_the_old_one(lab: Lab, has_git: None, w1: Builder, run: Run) -> None:
    assert run(fleet(lab, GO)).ok
    newer = run(fleet(lab, NEWER_GO))
    assert newer.ok, newer.text
    assert newer.changed == [f"go {NEWER_GO}"]
    for version in (GO, NEWER_GO):
        assert f"go{version} windows" in says(w1, f"{ROOT}\\toolchains\\go{version}\\bin\\go.exe version")


def test_a_wrong_pin_stops_before_anything_is_sent_and_names_both_hashes(
    lab: Lab, has_git: None, w1: Builder, run: Run
) -> None:
    wrong = run(fleet(lab, GO, pin(lab, "go", GO, sha256="0" * 64)))
    assert not wrong.ok
    assert "0" * 64 in wrong.text
    assert sha256_of(lab, GO) in wrong.text
    assert toolchains(w1) == []
    assert list((root_of(w1) / "downloads").iterdir()) == []


def test_a_damaged_archive_on_the_host_is_replaced(lab: Lab, has_git: None, w1: Builder, run: Run) -> None:
    w1.put(f"{ROOT}\\downloads\\go{GO}.windows-amd64.zip", b"PK rotten")
    result = run(fleet(lab, GO))
    assert result.ok, result.text
    assert "damaged" in result.text


def test_a_good_archive_on_the_host_is_not_sent_again(lab: Lab, has_git: None, w1: Builder, run: Run) -> None:
    archive = archive_of(lab, "go", GO)
    w1.put(f"{ROOT}\\downloads\\{archive.name}", archive.read_bytes())
    result = run(fleet(lab, GO))
    assert result.ok, result.text
    assert f"go {GO}: the archive is there already" in result.text
    assert f"go {GO}: sent" not in result.text


@pytest.mark.parametrize(
    "moment", ["downloads/*", f"tmp/unpack-go{GO}-*/go/*", f"tmp/unpack-go{GO}-*/go/VERSION", f"toolchains/go{GO}"]
)
def test_killed_at_any_moment_the_next_run_ends_the_work(
    lab: Lab, has_git: None, w1: Builder, run: Run, cache: Path, moment: str
) -> None:
    provision_until_killed(lab, GO, cache, "w1", root_of(w1), moment)
    again = run(fleet(lab, GO))
    assert again.ok, again.text
    assert again.state is not None
    assert again.state.find("go", GO) is not None
    assert f"go{GO} windows/amd64" in says(w1, f"{ROOT}\\toolchains\\go{GO}\\bin\\go.exe version")
    if moment.startswith("tmp"):
        assert f"go {GO}: the archive is there already" in again.text
    assert (again.state.leftovers, again.state.downloads) == ((), {})


def test_a_half_made_toolchain_folder_is_replaced(lab: Lab, has_git: None, w1: Builder, run: Run) -> None:
    w1.put(f"{ROOT}\\toolchains\\go{GO}\\bin\\go.exe", b"MZ")
    result = run(fleet(lab, GO))
    assert result.ok, result.text
    assert f"go{GO} windows/amd64" in says(w1, f"{ROOT}\\toolchains\\go{GO}\\bin\\go.exe version")


def test_a_disk_too_small_is_said_before_sending_and_works_once_there_is_room(
    lab: Lab, has_git: None, w1: Builder, run: Run
) -> None:
    w1.fill_disk(leave_mb=50)
    full = run(fleet(lab, GO))
    assert not full.ok
    assert "needed" in full.text
    assert "free; make room" in full.text
    assert list((root_of(w1) / "downloads").iterdir()) == []

    w1.free_disk()
    assert run(fleet(lab, GO)).ok


def test_a_disk_that_fills_while_unpacking_is_named_and_leaves_nothing_half_done(
    lab: Lab, has_go: None, w1: Builder, run: Run
) -> None:
    def fill() -> None:
        wait_for_unpacking(w1, f"unpack-git-{GIT}-*/*")
        w1.fill_disk(leave_mb=1)

    with ThreadPoolExecutor() as pool:
        filled = pool.submit(fill)
        full = run(fleet(lab, GO))
        filled.result()
    assert not full.ok
    assert "the disk is full" in full.text
    assert "nothing was installed" in full.text
    assert not (root_of(w1) / "toolchains" / f"git-{GIT}").exists()
    assert list((root_of(w1) / "tmp").glob("unpack-*")) == []

    w1.free_disk()
    assert run(fleet(lab, GO)).ok


def test_too_little_disk_for_a_build_refuses_the_host(lab: Lab, w1: Builder, run: Run) -> None:
    result = run(fleet(lab, GO, minimum_free_mb=DISK_MB * 2))
    assert not result.ok
    assert "builder.minimum_free_mb is 3000" in result.text
    assert not (root_of(w1) / "downloads").exists()


@pytest.fixture
def server(lab: Lab) -> Iterator[tuple[str, list[str]]]:
    """A web server on the controller's side of the lab's network, with the lab's archives; its address and requests."""
    folder = archive_of(lab, "go", GO).parent
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            asked.append(self.path)

        def log_message(self, *_: object) -> None:
            return

    made = ThreadingHTTPServer(("0.0.0.0", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    controller = ".".join([*lab.host("w1").address.split(".")[:3], "1"])
    yield f"http://{controller}:{made.server_address[1]}", asked
    made.shutdown()
    made.server_close()


def test_pull_lets_the_host_download_and_checks_there(
    lab: Lab, w1: Builder, run: Run, server: tuple[str, list[str]]
) -> None:
    pins = [
        pin(lab, tool, version, url=f"{server[0]}/{archive_of(lab, tool, version).name}")
        for tool, version in (("go", GO), ("git", GIT))
    ]
    result = run(fleet(lab, GO, *pins, delivery="pull"))
    assert result.ok, result.text
    assert f"/go{GO}.windows-amd64.zip" in server[1]
    assert "downloaded by the builder" in result.text
    assert f"go{GO} windows/amd64" in says(w1, f"{ROOT}\\toolchains\\go{GO}\\bin\\go.exe version")


def test_pull_of_a_wrong_archive_unpacks_nothing_and_names_both_hashes(
    lab: Lab, has_git: None, w1: Builder, run: Run, server: tuple[str, list[str]]
) -> None:
    other = pin(lab, "go", GO, url=f"{server[0]}/go{NEWER_GO}.windows-amd64.zip")
    result = run(fleet(lab, GO, other, delivery="pull"))
    assert not result.ok
    assert sha256_of(lab, GO) in result.text
    assert sha256_of(lab, NEWER_GO) in result.text
    assert toolchains(w1) == []
    assert list((root_of(w1) / "downloads").iterdir()) == []


def test_pull_from_a_server_without_the_file_is_one_clear_line(
    lab: Lab, has_git: None, run: Run, server: tuple[str, list[str]]
) -> None:
    result = run(fleet(lab, GO, pin(lab, "go", GO, url=f"{server[0]}/none.zip"), delivery="pull"))
    assert not result.ok
    assert "404" in result.text
    assert "builder.delivery" in result.text


def test_a_machine_wide_go_of_the_right_version_is_used(lab: Lab, has_git: None, w1: Builder, run: Run) -> None:
    assert run(fleet(lab, GO)).ok
    machine = w1.drive_c / "Program Files" / "Go"
    ours = root_of(w1) / "toolchains" / f"go{GO}"
    (machine / "bin").mkdir(parents=True)
    shutil.copy(ours / "VERSION", machine / "VERSION")
    shutil.copy(ours / "bin" / "go.exe", machine / "bin" / "go.exe")
    shutil.rmtree(ours)

    used = run(fleet(lab, GO))
    assert (used.ok, used.changed) == (True, []), used.text
    assert f"go {GO}: installed on the machine: C:\\Program Files\\Go" in used.text

    refused = run(fleet(lab, GO, use_installed=False))
    assert (refused.ok, refused.changed) == (True, [f"go {GO}"]), refused.text


def test_a_host_lost_while_unpacking_fails_and_the_next_run_works(
    lab: Lab, has_git: None, w1: Builder, run: Run
) -> None:
    with ThreadPoolExecutor() as pool:
        running = pool.submit(run, fleet(lab, GO))
        wait_for_unpacking(w1)
        w1.stop_sshd()
        lost = running.result(120)
    w1.start_sshd()
    assert not lost.ok, lost.text
    assert run(fleet(lab, GO)).ok


@pytest.fixture(scope="module")
def msi(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return go_msi.make(archive_of(lab, "go", GO), GO, tmp_path_factory.mktemp("msi"))


def msi_pin(lab: Lab, package: Path) -> ToolchainPin:
    return pin(lab, "go", GO, kind="msi", url=package.as_uri(), sha256=file_sha256(package))


def test_an_installer_is_run_silently_into_a_folder_of_ours(
    lab: Lab, has_git: None, w1: Builder, run: Run, msi: Path
) -> None:
    result = run(fleet(lab, GO, msi_pin(lab, msi)))
    assert result.ok, result.text
    assert f"go{GO} windows/amd64" in says(w1, f"{ROOT}\\toolchains\\go{GO}\\bin\\go.exe version")
    assert not (w1.drive_c / "Program Files" / "Go").exists()

    again = run(fleet(lab, GO, msi_pin(lab, msi)))
    assert (again.ok, again.changed) == (True, []), again.text


def test_an_installer_that_is_none_is_one_clear_line(
    lab: Lab, has_git: None, w1: Builder, run: Run, tmp_path: Path
) -> None:
    package = tmp_path / "go.msi"
    package.write_bytes(b"not a package" * 1000)
    result = run(fleet(lab, GO, msi_pin(lab, package)))
    assert not result.ok
    assert "msiexec: " in result.text
    assert result.state is not None
    assert result.state.find("go", GO) is None
