"""Services with C: SQLite, static and dynamic, built by Zig on a Linux standby builder, live on Debian 11, 12 and 13.

One builder, and a target of each release: their glibc is 2.31, 2.36 and 2.41, and only Debian 13 has a libsqlite3.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gofallback.artifact.binary import BinaryInfo, inspect
from gofallback.artifact.glibc import version_tuple
from lab import Lab, gcc, sqlite
from lab.linux.host import LinuxHost
from tests.lab.conftest import fresh_name
from tests.lab.fleet import PYINFRA, Result, Running
from tests.paths import PROJECT

pytestmark = pytest.mark.lab

ZIG = "0.15.2"
THERE = "/home/builder/gofallback"
#: SQLite's 260,000 lines: 3 s of processor time in place of 33 with -O1; Zig adds its sanitizer below that.
QUICK_C = ["-O0", "-fno-sanitize=undefined"]
DEBIANS = ("bullseye", "bookworm", "trixie")
GCC = {"compiler": "gcc", "cc": "{triple}-gcc", "version": gcc.VERSION}
SHARED: dict[str, Any] = {"linkage": "dynamic", "tags": ["libsqlite3"]}


@dataclass
class Ledger:
    """The lab, and a controller's home of its own."""

    lab: Lab
    home: Path

    def run(self, **build: Any) -> Result:
        """The emergency: build with these keys of `build`, and ship."""
        file = self.home / "data.json"
        build["cgo"] = {"cflags": QUICK_C, **build["cgo"]}
        file.write_text(json.dumps({"build": build}))
        env = {
            **os.environ,
            "GOFALLBACK_LAB": self.lab.name,
            "GOFALLBACK_HOME": str(self.home),
            "GOFALLBACK_TEST_DATA": str(file),
            "PYINFRA_PROGRESS": "off",
        }
        inventory = str(Path(__file__).with_name("sums_inventory.py"))
        return Running([str(PYINFRA), "-y", inventory, "deploys/fallback.py"], env, PROJECT).end(1800)

    def refused(self, **build: Any) -> Result:
        """The same, where it must end badly and leave the targets as they are."""
        before = self.live()
        result = self.run(**build)
        assert result.code != 0, result.output
        assert "Traceback" not in result.output
        assert self.live() == before
        return result

    def live(self) -> list[str]:
        """What the service says, on each target."""
        said = []
        for target in self.lab.targets:
            with socket.create_connection((target.address, 8080), timeout=3) as connection:
                said.append(connection.makefile().readline().strip())
        return said

    def newest(self, platform: str = "linux-amd64") -> Path:
        """Folder of the artifact that was stored last."""
        found = (self.home / "artifacts" / "sums").glob(f"*/{platform}/*/manifest.json")
        return max(found, key=lambda file: file.stat().st_mtime).parent


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A target of each Debian with the static program live on it."""
    with Lab.up(fresh_name(), targets=3, builders=0, linux_builders=1, suite=DEBIANS) as lab:
        made = Ledger(lab, tmp_path_factory.mktemp("controller"))
        result = made.run(cgo={})
        assert result.code == 0, result.output
        yield made


@pytest.fixture(scope="module")
def sysroot() -> Path:
    """Headers and library of Debian 11's libsqlite3."""
    return sqlite.bullseye_library() / "sysroot"


def says(*engines: str) -> list[str]:
    return [f"sums {sqlite.VERSION} sum 42 sqlite {engine}" for engine in engines]


def info_of(ledger: Ledger) -> BinaryInfo:
    return inspect(ledger.newest() / "sums")


def test_a_static_program_needs_no_library_and_is_live_on_every_debian(ledger: Ledger) -> None:
    assert ledger.live() == says(sqlite.SQLITE, sqlite.SQLITE, sqlite.SQLITE)
    info = info_of(ledger)
    assert info.build
    assert (info.static, info.stripped, info.build.settings["CGO_ENABLED"]) == (True, True, "1")


def test_the_provenance_names_the_c_compiler_with_its_pin(ledger: Ledger) -> None:
    import base64

    envelope = json.loads((ledger.newest() / "provenance.json").read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["cgo"] == {
        "compiler": "zig",
        "version": ZIG,
        "target": "x86_64-linux-musl",
        "cflags": QUICK_C,
    }
    (zig,) = [one for one in definition["resolvedDependencies"] if one["name"] == "zig"]
    assert zig["digest"]["sha256"] == ledger.lab.file.linux_toolchains["zig"][ZIG]["sha256"]
    assert zig["annotations"] == {"version": ZIG}


def test_a_dynamic_program_linked_for_the_oldest_debian_is_live_on_all_with_the_library_each_has(
    ledger: Ledger, sysroot: Path
) -> None:
    built = {**SHARED, "cgo": {"sysroot": str(sysroot)}}
    lacking = ledger.refused(**built)
    assert "libsqlite3.so.0: cannot open shared object file" in lacking.line("smoke sums")
    assert "sent 7 files" in lacking.line("sysroot .*: sent")
    library, package = sorted((sysroot.parent / "debs").glob("libsqlite3-0_*")), "/root/libsqlite3-0.deb"
    for target in ledger.lab.targets[:2]:  # Debian 13's own system has a newer one
        target.put(package, library[0].read_bytes())
        target.run(f"dpkg -i {package}")
    result = ledger.run(**built)
    assert result.code == 0, result.output
    assert ledger.live() == says(sqlite.SQLITE_BULLSEYE, sqlite.SQLITE_BULLSEYE, sqlite.SQLITE_TRIXIE)
    manifest = json.loads((ledger.newest() / "manifest.json").read_text())
    assert manifest["spec"]["cgo"]["target"] == "x86_64-linux-gnu.2.31"
    assert "libsqlite3.so.0" in info_of(ledger).needed


def test_a_sysroot_is_sent_once_and_a_damaged_one_is_replaced(ledger: Ledger, sysroot: Path) -> None:
    again = {**SHARED, "cgo": {"sysroot": str(sysroot)}}
    kept = ledger.run(**again, stamp={"main.version": "v1.0.0-again"})
    assert kept.line("sysroot .*: there already")
    ledger.lab.host("b1").run(
        f"for file in {THERE}/cache/sysroots/*/usr/include/sqlite3.h; do echo '// hand' >> \"$file\"; done"
    )
    mended = ledger.run(**again, stamp={"main.version": "v1.0.0-more"})
    assert mended.line("is damaged; replacing it")
    assert mended.line("sysroot .*: sent 7 files")


def test_a_program_that_needs_a_newer_glibc_than_a_target_has_is_refused(ledger: Ledger, sysroot: Path) -> None:
    result = ledger.refused(**SHARED, cgo={"glibc": "2.34", "sysroot": str(sysroot)})
    reason = result.line("will not run there: t1: libc:")
    assert "needs glibc 2.34 or later, has glibc 2.31" in reason
    assert "it asks for GLIBC_2.34 (" in reason
    assert 'set build.cgo.glibc: "2.31" (or auto), or build it static (linkage: static)' in reason


def test_a_sysroot_without_the_library_is_reported_as_that(ledger: Ledger, sysroot: Path, tmp_path: Path) -> None:
    shutil.copytree(sysroot / "usr/include", tmp_path / "bare/usr/include")
    result = ledger.refused(**SHARED, cgo={"sysroot": str(tmp_path / "bare")})
    assert "C compiler or library: the linker finds no library for the target" in result.output
    assert "sqlite3" in result.line("the linker finds no library")
    assert "build.cgo.sysroot" in result.line("to do:")


def test_a_sysroot_without_the_header_is_reported_as_that(ledger: Ledger, sysroot: Path, tmp_path: Path) -> None:
    shutil.copytree(sysroot / "usr/lib", tmp_path / "bare/usr/lib")
    result = ledger.refused(**SHARED, cgo={"sysroot": str(tmp_path / "bare")})
    assert "the C compiler does not find the header sqlite3.h" in result.output


def test_c_without_a_compiler_is_said_before_anything_compiles(ledger: Ledger) -> None:
    result = ledger.refused(cgo={"compiler": "gcc", "cc": "{triple}-gcc-4.9"})
    line = result.line("the C compiler x86_64-linux-gnu-gcc-4.9 does not answer on b1")
    assert "correct build.cgo.cc" in line
    assert "building (" not in result.output


def test_a_wrong_triple_is_reported_as_that(ledger: Ledger) -> None:
    result = ledger.refused(cgo={"cflags": ["--target=x86_65-linux-gnu"]})
    assert "is for another architecture" in result.output
    assert "to do: name the cross compiler of the platform" in result.output


@pytest.fixture(scope="module")
def with_gcc(ledger: Ledger) -> Ledger:
    """Debian's GCC on the builder, for amd64 and for arm64."""
    builder = ledger.lab.host("b1")
    assert isinstance(builder, LinuxHost)
    gcc.install(builder)
    return ledger


def test_a_named_gcc_of_another_version_than_group_data_says_builds_nothing(with_gcc: Ledger) -> None:
    result = with_gcc.refused(cgo={**GCC, "version": "12.2.0"})
    assert result.line(f"x86_64-linux-gnu-gcc is version {gcc.VERSION}, build.cgo.version says 12.2.0")
    assert "building (" not in result.output


def test_a_cross_gcc_builds_for_arm64_what_runs_there_and_a_glibc_too_new_for_a_target_is_refused(
    with_gcc: Ledger,
) -> None:
    result = with_gcc.refused(linkage="dynamic", platforms=["linux/arm64"], cgo=GCC)
    reason = result.line("will not run there: t1: libc:")  # a GCC links the glibc of its own system: Debian 13's
    assert "has glibc 2.31" in reason and "give the GCC a sysroot with glibc 2.31" in reason
    assert "has glibc 2.41" not in result.output
    made = with_gcc.newest("linux-arm64")
    spec = json.loads((made / "manifest.json").read_text())["spec"]["cgo"]
    assert (spec["cc"], spec["version"]) == ("aarch64-linux-gnu-gcc", gcc.VERSION)
    info = inspect(made / "sums")
    assert (info.goarch, info.static, "libc.so.6" in info.needed) == ("arm64", False, True)
    assert info.glibc and version_tuple(info.glibc) > (2, 31)
    assert gcc.run_arm64(made / "sums", "-sum", "40,2") == says(sqlite.SQLITE)[0]


def test_a_gcc_with_the_sysroot_of_the_oldest_debian_makes_what_is_live_on_all(with_gcc: Ledger) -> None:
    result = with_gcc.run(linkage="dynamic", cgo={**GCC, "sysroot": str(gcc.bullseye_libc())})
    assert result.code == 0, result.output
    assert with_gcc.live() == says(sqlite.SQLITE, sqlite.SQLITE, sqlite.SQLITE)
    info = info_of(with_gcc)
    assert not info.static
    assert info.glibc and version_tuple(info.glibc) <= (2, 31)


def test_what_a_named_gcc_links_statically_is_live_on_every_debian(with_gcc: Ledger) -> None:
    result = with_gcc.run(cgo=GCC)
    assert result.code == 0, result.output
    assert result.line("sums .*linux/amd64: x86_64-linux-gnu-gcc 14.2.0")
    assert with_gcc.live() == says(sqlite.SQLITE, sqlite.SQLITE, sqlite.SQLITE)
    assert info_of(with_gcc).static
