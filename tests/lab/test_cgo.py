"""Services with C: SQLite, static and dynamic, built by Zig on a Linux standby builder, live on Debian 11.

One builder and one target whose glibc is 2.31; the same binaries run in the trees of Debian 12 and 13 too.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gofallback.artifact.binary import BinaryInfo, inspect
from lab import Lab, sqlite
from lab.cache import cache_dir
from lab.linux import tree
from tests.lab.conftest import fresh_name
from tests.lab.fleet import PYINFRA, ROOT, Result, Running

pytestmark = pytest.mark.lab

ZIG = "0.15.2"
THERE = "/home/builder/gofallback"
#: SQLite's 260,000 lines: 3 s of processor time in place of 33 with -O1; Zig adds its sanitizer below that.
QUICK_C = ["-O0", "-fno-sanitize=undefined"]
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
        return Running([str(PYINFRA), "-y", inventory, "deploys/fallback.py"], env, ROOT).end(1800)

    def refused(self, **build: Any) -> Result:
        """The same, where it must end badly and leave the target as it is."""
        before = self.live()
        result = self.run(**build)
        assert result.code != 0, result.output
        assert "Traceback" not in result.output
        assert self.live() == before
        return result

    def live(self) -> str:
        """What the service on the target says."""
        address = self.lab.host("t1").address
        with socket.create_connection((address, 8080), timeout=3) as connection:
            return connection.makefile().readline().strip()

    def newest(self) -> Path:
        """Folder of the artifact that was stored last."""
        found = (self.home / "artifacts" / "sums").glob("*/*/*/manifest.json")
        return max(found, key=lambda file: file.stat().st_mtime).parent


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A Debian 11 target with the static program live on it."""
    with Lab.up(fresh_name(), targets=1, builders=0, linux_builders=1, suite="bullseye") as lab:
        made = Ledger(lab, tmp_path_factory.mktemp("controller"))
        result = made.run(cgo={})
        assert result.code == 0, result.output
        yield made


@pytest.fixture(scope="module")
def sysroot() -> Path:
    """Headers and library of Debian 11's libsqlite3."""
    return sqlite.bullseye_library() / "sysroot"


def in_debian(suite: str, binary: Path, *libraries: Path) -> str:
    """What the program says in the tree of a Debian release, whose glibc it then uses. Nothing is written there."""
    root = tree.ensure(cache_dir(), suite)
    line = 'for f; do touch "/tmp/${f##*/}"; mount --bind "$f" "/tmp/${f##*/}"; done; shift $(($# - 1))'
    inside = f'mount -t tmpfs none "$0/tmp"; {line.replace("/tmp/", "$0/tmp/")}; '
    inside += 'LD_LIBRARY_PATH=/tmp exec chroot "$0" "/tmp/${1##*/}" -sum 40,2'
    # A mount namespace of its own: what is mounted in it ends with it.
    command = ["unshare", "--mount", "sh", "-c", inside, str(root), *map(str, libraries), str(binary)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{suite}: {done.stderr}"
    return done.stdout.strip()


def info_of(ledger: Ledger) -> BinaryInfo:
    return inspect(ledger.newest() / "sums")


def test_a_static_program_needs_no_library_and_runs_on_every_debian(ledger: Ledger) -> None:
    assert ledger.live() == f"sums {sqlite.VERSION} sum 42 sqlite {sqlite.SQLITE}"
    info = info_of(ledger)
    assert info.build
    assert (info.static, info.stripped, info.build.settings["CGO_ENABLED"]) == (True, True, "1")
    for suite in ("bullseye", "bookworm", "trixie"):
        assert in_debian(suite, ledger.newest() / "sums") == f"sums {sqlite.VERSION} sum 42 sqlite {sqlite.SQLITE}"


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


def test_a_dynamic_program_is_linked_for_the_oldest_target_with_the_sysroots_library(
    ledger: Ledger, sysroot: Path
) -> None:
    built = {**SHARED, "cgo": {"sysroot": str(sysroot)}}
    lacking = ledger.refused(**built)
    assert "libsqlite3.so.0: cannot open shared object file" in lacking.line("smoke sums")
    assert "sent 7 files" in lacking.line("sysroot .*: sent")
    library, package = sorted((sysroot.parent / "debs").glob("libsqlite3-0_*")), "/root/libsqlite3-0.deb"
    ledger.lab.host("t1").put(package, library[0].read_bytes())
    ledger.lab.host("t1").run(f"dpkg -i {package}")
    result = ledger.run(**built)
    assert result.code == 0, result.output
    assert ledger.live() == f"sums {sqlite.VERSION} sum 42 sqlite {sqlite.SQLITE_BULLSEYE}"
    manifest = json.loads((ledger.newest() / "manifest.json").read_text())
    assert manifest["spec"]["cgo"]["target"] == "x86_64-linux-gnu.2.31"
    info = info_of(ledger)
    assert "libsqlite3.so.0" in info.needed
    shared = (sysroot / "usr/lib/x86_64-linux-gnu/libsqlite3.so.0").resolve()
    for suite in ("bullseye", "bookworm", "trixie"):
        with_library = in_debian(suite, ledger.newest() / "sums", named(shared, "libsqlite3.so.0"))
        assert with_library == f"sums {sqlite.VERSION} sum 42 sqlite {sqlite.SQLITE_BULLSEYE}"


def named(file: Path, name: str) -> Path:
    """A copy under another name, beside nothing else."""
    folder = cache_dir() / "trees" / "sqlite" / "named"
    folder.mkdir(exist_ok=True)
    if not (folder / name).exists():
        shutil.copy(file, folder / name)
    return folder / name


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


def test_a_sysroot_without_the_library_is_told_as_that(ledger: Ledger, sysroot: Path, tmp_path: Path) -> None:
    shutil.copytree(sysroot / "usr/include", tmp_path / "bare/usr/include")
    result = ledger.refused(**SHARED, cgo={"sysroot": str(tmp_path / "bare")})
    assert "C compiler or library: the linker finds no library for the target" in result.output
    assert "sqlite3" in result.line("the linker finds no library")
    assert "build.cgo.sysroot" in result.line("to do:")


def test_a_sysroot_without_the_header_is_told_as_that(ledger: Ledger, sysroot: Path, tmp_path: Path) -> None:
    shutil.copytree(sysroot / "usr/lib", tmp_path / "bare/usr/lib")
    result = ledger.refused(**SHARED, cgo={"sysroot": str(tmp_path / "bare")})
    assert "the C compiler does not find the header sqlite3.h" in result.output


def test_c_without_a_compiler_is_said_before_anything_compiles(ledger: Ledger) -> None:
    result = ledger.refused(cgo={"compiler": "gcc", "cc": "{triple}-gcc"})
    line = result.line("the C compiler x86_64-linux-gnu-gcc does not answer on b1")
    assert "correct build.cgo.cc" in line
    assert "building (" not in result.output


def test_a_wrong_triple_is_told_as_that(ledger: Ledger) -> None:
    result = ledger.refused(cgo={"cflags": ["--target=x86_65-linux-gnu"]})
    assert "is for another architecture" in result.output
    assert "to do: name the cross compiler of the platform" in result.output
