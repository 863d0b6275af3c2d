"""A builder that is wiped: by hand and after a run that failed; what is in use is named, what is not ours is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from gofallback.builder.git_config import GIT_CONFIG_NAME
from lab import Lab
from lab.builders import Builder
from tests.lab.conftest import fresh_name
from tests.lab.fleet import Fleet
from tests.lab.waiting import wait

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One Windows host and one target; nothing is provisioned."""
    with Lab.up(fresh_name(), targets=1, builders=1) as lab:
        yield Fleet(lab, tmp_path_factory.mktemp("controller"))


@pytest.fixture
def machine(fleet: Fleet) -> Iterator[Builder]:
    """The Windows host, with what a run would have left there; empty again afterwards."""
    host = fleet.lab.host("w1")
    assert isinstance(host, Builder)
    for name in ("work/hello/c/main.go", "mirrors/hello.git/packed-refs", "cache/gocache/00/a b", "out/hello/k/hello"):
        host.put(f"C:\\gofallback\\{name}", b"x" * 1000)
    host.put("C:\\gofallback\\notes of somebody.txt", b"not ours")
    host.put("C:\\elsewhere\\precious.txt", b"precious")
    yield host
    assert (host.drive_c / "elsewhere" / "precious.txt").read_bytes() == b"precious"
    shutil.rmtree(host.drive_c / "gofallback", ignore_errors=True)


def below(host: Builder) -> set[str]:
    """Files below the root, as they are on the host's disk."""
    root = host.drive_c / "gofallback"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def events(fleet: Fleet, event: str) -> list[dict[str, Any]]:
    """Of the newest run's journal."""
    newest = max((fleet.home / "runs").glob("*/journal.jsonl"), key=lambda path: path.stat().st_mtime)
    found = (json.loads(line) for line in newest.read_text().splitlines())
    return [one for one in found if one["event"] == event]


def test_wipe_leaves_nothing_of_ours_proves_it_and_has_nothing_to_do_the_second_time(
    fleet: Fleet, machine: Builder
) -> None:
    done = fleet.run("wipe")
    assert done.code == 0, done.output
    assert below(machine) == {"notes of somebody.txt"}
    done.line(r"builder w1: wiped, 0 MB in 4 files removed; left: notes of somebody.txt \(not ours\)")
    (told,) = events(fleet, "wiped")
    assert told["before"]["work"] == {"files": 1, "bytes": 1000} and told["left"] == {}
    listing = max((fleet.home / "runs").glob("*/wiped-w1.txt")).read_text()
    assert "1000\tcache/gocache/00/a b\n" in listing.partition("left:\n")[0]
    assert listing.partition("left:\n")[2] == "8\tnotes of somebody.txt\n"
    again = fleet.run("wipe")
    assert again.code == 0 and fleet.report()["verdict"] == "unchanged", again.output


def test_kept_folders_stay(fleet: Fleet, machine: Builder) -> None:
    done = fleet.run("wipe", data={"builder": {"wipe": {"keep": ["gocache"]}}})
    assert done.code == 0, done.output
    assert below(machine) == {"cache/gocache/00/a b", "notes of somebody.txt"}
    done.line(r"left: cache/gocache \(0 MB in 1 files\)")


def test_file_in_use_is_named_and_the_rest_is_gone(fleet: Fleet, machine: Builder) -> None:
    line = r"ping -n 60 127.0.0.1 >C:\gofallback\work\hello\c\open.txt"
    with AtWork(machine, line, machine.drive_c / "gofallback/work/hello/c/open.txt"):
        failed = fleet.run("wipe")
        assert {Path(name).name for name in below(machine)} == {"open.txt", "notes of somebody.txt"}
    assert failed.code == 4, failed.output
    failed.line(r"builder w1: not wiped: .*open\.txt .*cannot be removed; a program on the host has it open")
    after = fleet.run("wipe")
    assert after.code == 0, after.output
    assert below(machine) == {"notes of somebody.txt"}


def test_builder_on_which_somebody_builds_is_left_alone(fleet: Fleet, machine: Builder) -> None:
    before = below(machine)
    copied = machine.run(r"copy C:\windows\system32\ping.exe C:\elsewhere\go.exe", check=False)
    assert copied.returncode == 0, copied
    busy = machine.drive_c / "elsewhere" / "busy.txt"
    with AtWork(machine, r"C:\elsewhere\go.exe -n 60 127.0.0.1 >C:\elsewhere\busy.txt", busy):
        refused = fleet.run("wipe")
    assert refused.code == 4, refused.output
    refused.line("builder w1: not wiped: go.exe is at work there: another run may be building")
    assert below(machine) == before


def test_run_that_failed_wipes_its_builder_too(fleet: Fleet, machine: Builder) -> None:
    machine.put(f"C:\\gofallback\\{GIT_CONFIG_NAME}", b"[core]\n")
    known = fleet.lab.file.toolchains
    pins = [
        {"tool": tool, "version": version, "url": Path(one["file"]).as_uri(), "sha256": "0" * 64}
        for tool, versions in known.items()
        for version, one in versions.items()
        if tool in ("go", "git")
    ]
    toolchain = {"go": next(iter(known["go"])), "git": next(iter(known["git"])), "pins": pins}
    failed = fleet.run("drill", data={"toolchain": toolchain, "builder": {"wipe": {"after": "run"}}})
    assert failed.code == 4, failed.output
    failed.line(r"builder w1: wiped, .* left: notes of somebody\.txt \(not ours\)")
    assert below(machine) == {"notes of somebody.txt"}
    assert any("builder w1: wiped" in note for note in fleet.report()["notes"])
    (told,) = events(fleet, "wiped")
    assert told["before"]["work"] == {"files": 1, "bytes": 1000}


def test_linux_builder_is_wiped_too(tmp_path: Path) -> None:
    with Lab.up(fresh_name(), targets=1, builders=0, linux_builders=1) as lab:
        host, fleet = lab.host("b1"), Fleet(lab, tmp_path)
        # Go's module cache has folders without permission to write.
        host.run(
            "set -e; cd /home/builder; mkdir -p gofallback/work/hello gofallback/cache/gomodcache/m; touch precious; "
            "echo x >gofallback/work/hello/main.go; echo x >gofallback/cache/gomodcache/m/go.mod; "
            "ln -s /home/builder gofallback/work/out; touch gofallback/own; chown -R builder gofallback; "
            "chmod 555 gofallback/cache/gomodcache/m"
        )
        done = fleet.run("wipe")
        assert done.code == 0, done.output
        done.line(r"builder b1: wiped, 0 MB in 2 files removed; left: own \(not ours\)")
        left = host.run("cd /home/builder; ls precious; find gofallback -mindepth 1").stdout.split()
        assert left == ["precious", "gofallback/own"]
        assert fleet.run("wipe").code == 0 and fleet.report()["verdict"] == "unchanged"


class AtWork:
    """A program on the host while inside; `sign` is a file that it makes."""

    def __init__(self, machine: Builder, line: str, sign: Path) -> None:
        self._machine, self._sign = machine, sign
        self._thread = Thread(target=lambda: machine.run(line, check=False, timeout=90), daemon=True)

    def __enter__(self) -> None:
        self._thread.start()
        wait(self._sign.exists, 30, message="the program did not start")

    def __exit__(self, *_: object) -> None:
        self._machine.run("taskkill /f /im ping.exe", check=False)
        self._machine.run("taskkill /f /im go.exe", check=False)
        self._thread.join(60)
