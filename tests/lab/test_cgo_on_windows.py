"""C on the lab's Windows host: Zig is provisioned and answers, a sysroot is sent once; the rest needs a real Windows.

Zig compiles nothing under Wine (docs/not-yet-proven.md), so the last step here is how that is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.builder.paths import Layout
from gofallback.controller import sysroot as sysroots
from gofallback.controller.sysroot import Sysroot
from gofallback.model import ToolchainPin
from gofallback.operations import build as build_operation
from gofallback.operations.archive import ToolchainJob, deliver
from gofallback.operations.cgo import sysroot_ready
from gofallback.operations.toolchain import unpack
from tests.lab.windows_builder import ROOT, Bench, repository, windows_bench

pytestmark = pytest.mark.lab

ZIG = "0.15.2"
PROGRAM = 'package main\n\n// int one(void) { return 1; }\nimport "C"\n\nfunc main() { println(C.one()) }\n'


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with windows_bench(tmp_path_factory.mktemp("controller"), disk_mb=5000) as made:
        yield made


@pytest.fixture(scope="module")
def zig(bench: Bench) -> str:
    """Zig, brought as provisioning brings it: its folder on the host."""
    archive = bench.lab.file.toolchains["zig"][ZIG]
    pin = ToolchainPin(tool="zig", version=ZIG, url=Path(archive["file"]).as_uri(), sha256=archive["sha256"])
    job = ToolchainJob(pin, ROOT, bench.home / "downloads")
    assert deliver(bench.state, bench.host, job), bench.messages.text
    assert unpack(bench.state, bench.host, job), bench.messages.text
    return job.final


@pytest.fixture
def sysroot(tmp_path: Path) -> Sysroot:
    """Three files, one with a blank in its name."""
    (tmp_path / "s/usr/include").mkdir(parents=True)
    (tmp_path / "s/usr/lib").mkdir()
    (tmp_path / "s/usr/include/a name.h").write_text("int a;\n")
    (tmp_path / "s/usr/lib/libfoo.so.1").write_bytes(b"\x7fELF")
    (tmp_path / "s/usr/lib/libfoo.so").symlink_to("libfoo.so.1")
    return sysroots.read(tmp_path / "s", tmp_path / "cache", where="x")


def brought(bench: Bench, sysroot: Sysroot) -> str:
    """Bring it; what was said."""
    bench.messages.lines.clear()
    assert sysroot_ready(bench.state, bench.host, ROOT, sysroot, bench.home / "packed"), bench.messages.text
    return bench.messages.text


def test_zig_is_unpacked_and_answers_its_version(bench: Bench, zig: str) -> None:
    assert zig == f"{ROOT}\\toolchains\\zig-{ZIG}"
    assert bench.ask(f"{zig}\\zig.exe version").strip() == ZIG


def test_a_sysroot_is_sent_once_and_a_damaged_one_is_replaced(bench: Bench, sysroot: Sysroot) -> None:
    there = bench.local(Layout(ROOT).sysroot(sysroot.digest))
    assert "sent 3 files" in brought(bench, sysroot)
    assert (there / "usr/lib/libfoo.so").read_bytes() == b"\x7fELF"
    assert "there already (3 files)" in brought(bench, sysroot)
    (there / "usr/include/a name.h").write_text("int")
    assert "is damaged; replacing it" in brought(bench, sysroot)
    assert (there / "usr/include/a name.h").read_text() == "int a;\n"
    (there / "usr/lib/libfoo.so").unlink()
    assert "is damaged; replacing it" in brought(bench, sysroot)
    assert not list(bench.drive.glob("tmp/sysroot-*"))
    assert not list(bench.drive.glob("downloads/sysroot-*"))


def test_names_that_differ_only_in_case_are_refused_here(bench: Bench, sysroot: Sysroot) -> None:
    bench.messages.lines.clear()
    alike = replace(sysroot, same_on_windows=(("usr/include/X.h", "usr/include/x.h"),))
    assert not sysroot_ready(bench.state, bench.host, ROOT, alike, bench.home / "packed")
    assert "usr/include/X.h and usr/include/x.h differ only in case" in bench.messages.text


def test_a_zig_that_cannot_work_is_reported_as_that(bench: Bench, zig: str, tmp_path: Path) -> None:
    assert zig
    service = bench.service(repository(tmp_path / "withc", {"main.go": PROGRAM}))
    assert bench.deliver(service), bench.messages.text
    job = bench.job(service, ["linux/amd64"])
    cgo = CgoSpec(compiler="zig", version=ZIG, target="x86_64-linux-musl")
    bench.messages.lines.clear()
    with_c = replace(job, specs=tuple(spec.model_copy(update={"cgo": cgo}) for spec in job.specs))
    assert not build_operation.build(bench.state, bench.host, with_c, lambda built: None)
    assert "Zig cannot work on the builder" in bench.messages.text
    assert "under Wine Zig compiles nothing" in bench.messages.text
