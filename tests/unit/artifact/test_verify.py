"""Which binaries are refused before any target changes, and with which line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gofallback.artifact.binary import BinaryInfo, inspect_bytes
from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.artifact.compat import TargetFacts, compat_table, compatibility, minimum_kernel
from gofallback.artifact.verify import problems
from gofallback.report.screen import text
from tests.unit.binaries import SETTINGS, ElfMaker, build_info, macho, module_text, pe
from tests.unit.specs import SPEC

LOADER = "/lib64/ld-linux-x86-64.so.2"


def binary(version: str = "go1.27.0", maker: ElfMaker | None = None, **settings: str) -> BinaryInfo:
    info = build_info(
        module_text({**SETTINGS, **{key.replace("_dot_", "."): value for key, value in settings.items()}}), version
    )
    return inspect_bytes(replace(maker or ElfMaker(), info=info).bytes())


def found(info: BinaryInfo, **changes: Any) -> list[str]:
    spec = SPEC.model_copy(update=changes)
    lines = problems(info, spec, sha256=info.sha256, size=info.size)
    assert all("\n" not in line and line.startswith(f"hello {spec.platform}: ") for line in lines)
    return [line.removeprefix(f"hello {spec.platform}: ") for line in lines]


def test_the_binary_of_the_spec_has_no_problem() -> None:
    assert found(binary()) == []


def test_the_agent_needs_no_commit() -> None:
    bare = {key: value for key, value in SETTINGS.items() if not key.startswith("vcs")}
    info = inspect_bytes(ElfMaker(info=build_info(module_text(bare))).bytes())
    assert found(info, commit="d" * 64) == []


def test_changed_bytes_are_named_with_both_hashes() -> None:
    info = binary()
    (line,) = problems(info, SPEC, sha256="0" * 64, size=info.size)
    assert line == f"hello linux/amd64: has sha256 {info.sha256}, should have {'0' * 64}: changed on the way; run again"
    (line,) = problems(info, SPEC, sha256="0" * 64, size=1)
    assert line == f"hello linux/amd64: has {info.size} bytes, should have 1: cut off or changed on the way; run again"


CASES: dict[str, tuple[BinaryInfo, dict[str, Any], str]] = {
    "other architecture": (
        binary(maker=ElfMaker(machine=183), GOARCH="arm64"), {},
        "is for arm64 (64 bit, machine AARCH64), should be for amd64;",
    ),
    "other system's ABI": (binary(maker=ElfMaker(abi=9)), {}, "has the OS ABI FreeBSD, should have System V or Linux;"),
    "other format": (inspect_bytes(pe(machine=0x8664, wide=True)), {}, "is a PE file, should be ELF;"),
    "macOS, not iOS": (inspect_bytes(macho()), {"platform": "ios/arm64"}, "is for macOS, should be for iOS;"),
    "a library": (inspect_bytes(pe(dll=True)), {"platform": "windows/386"}, "is no program but library;"),
    "dynamic where static is expected": (
        binary(maker=ElfMaker(interpreter=LOADER, needed=("libc.so.6",), versions=("GLIBC_2.34",))), {},
        f"is dynamically linked (needs {LOADER}, libc.so.6), should be static;",
    ),
    "symbols": (binary(maker=ElfMaker(symbols=True)), {}, "has symbols or DWARF, should be stripped"),
    "no build info": (inspect_bytes(ElfMaker().bytes()), {}, "has no Go build info: should be built by Go 1.18"),
    "other Go": (binary(version="go1.26.6"), {}, "was built by Go 1.26.6, should be Go 1.27.0;"),
    "other platform recorded": (binary(GOOS="android"), {}, "was built for android/amd64, should be for linux/amd64;"),
    "other commit": (binary(vcs_dot_revision="d" * 40), {}, f"was built from commit {'d' * 40}, should be {'c' * 40};"),
    "no commit": (binary(vcs_dot_revision=""), {}, f"has no commit in it, should have {'c' * 40};"),
    "changed tree": (binary(vcs_dot_modified="true"), {}, "was built from a changed work tree (vcs.modified=true)"),
    "paths of the builder": (binary(**{"-trimpath": "false"}), {}, "was built without -trimpath"),
    "other tags": (binary(**{"-tags": "a"}), {"tags": ("b",)}, "was built with the tags 'a', should be 'b';"),
    "cgo": (binary(CGO_ENABLED="1"), {}, "was built with CGO_ENABLED=1, should be 0;"),
    "other CPU level": (
        binary(), {"environment": (("GOAMD64", "v3"),)}, "was built with GOAMD64=v1, should be v3;"
    ),
    "other flags": (binary(**{"-ldflags": "-s"}), {}, "was built with other -ldflags than asked for;"),
    "other program": (
        binary(), {"package": "./cmd/other"},
        "is the program example.com/hello/cmd/hello, should be example.com/hello/cmd/other;",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("info", "changes", "line"), CASES.values(), ids=list(CASES))
def test_a_binary_of_another_spec_is_refused(info: BinaryInfo, changes: dict[str, Any], line: str) -> None:
    assert [one for one in found(info, **changes) if one.startswith(line)], found(info, **changes)


def test_tags_in_another_order_are_the_same() -> None:
    assert found(binary(**{"-tags": "b,a"}), tags=("a", "b")) == []


def test_dynamic_linkage_is_fine_when_the_spec_has_it() -> None:
    info = binary(maker=ElfMaker(interpreter=LOADER, needed=("libc.so.6",)), CGO_ENABLED="1")
    assert found(info, linkage="dynamic") == []


ZIG = CgoSpec(compiler="zig", version="0.15.2", target="x86_64-linux-gnu.2.31")
STATIC_ZIG = CgoSpec(compiler="zig", version="0.15.2", target="x86_64-linux-musl")
MUSL_LOADER = "/lib/ld-musl-x86_64.so.1"


def test_a_static_program_with_c_passes_only_when_it_is_really_static() -> None:
    assert found(binary(CGO_ENABLED="1"), cgo=STATIC_ZIG) == []
    linked = binary(maker=ElfMaker(interpreter=MUSL_LOADER, needed=("libc.so",)), CGO_ENABLED="1")
    (line,) = found(linked, cgo=STATIC_ZIG)
    assert line == (
        f"is dynamically linked (needs {MUSL_LOADER}, libc.so), should be static; set cgo.libc: musl, or "
        "linkage: dynamic"
    )


def test_missing_c_is_refused_and_unexpected_c_too() -> None:
    (line,) = found(binary(), cgo=STATIC_ZIG)
    assert line.startswith("was built with CGO_ENABLED=0, should be 1;")
    (line,) = found(binary(CGO_ENABLED="1"))
    assert line.startswith("was built with CGO_ENABLED=1, should be 0;")


def test_a_program_that_needs_more_glibc_than_it_was_linked_for_is_refused() -> None:
    maker = ElfMaker(interpreter=LOADER, needed=("libc.so.6",), versions=("GLIBC_2.2.5", "GLIBC_2.34"))
    info = binary(maker=maker, CGO_ENABLED="1")
    assert found(info, linkage="dynamic", cgo=ZIG.model_copy(update={"target": "x86_64-linux-gnu.2.34"})) == []
    named = info.model_copy(update={"glibc_symbols": (("2.34", ("dlsym", "pthread_create")), ("2.2.5", ("puts",)))})
    (line,) = found(named, linkage="dynamic", cgo=ZIG)
    assert line.startswith("needs glibc 2.34 (GLIBC_2.34: dlsym, pthread_create), was to be linked for 2.31;")


def test_another_c_library_than_in_the_spec_is_refused() -> None:
    info = binary(maker=ElfMaker(interpreter=MUSL_LOADER, needed=("libc.so",)), CGO_ENABLED="1")
    (line,) = found(info, linkage="dynamic", cgo=ZIG)
    assert line.startswith(f"is for the loader {MUSL_LOADER}, should be linked for gnu;")
    dynamic_musl = CgoSpec(compiler="zig", version="0.15.2", target="x86_64-linux-musl")
    assert found(info, linkage="dynamic", cgo=dynamic_musl) == []


TARGET = TargetFacts(name="t1", goarch="amd64", kernel="6.1.0-18-amd64", libc="glibc", libc_version="2.36")
GLIBC = binary(maker=ElfMaker(interpreter=LOADER, needed=("libc.so.6",), versions=("GLIBC_2.2.5", "GLIBC_2.34")))
MUSL = binary(maker=ElfMaker(interpreter="/lib/ld-musl-x86_64.so.1", needed=("libc.musl-x86_64.so.1",)))
I386 = binary(maker=ElfMaker(machine=3, bits=32), GOARCH="386")
ARM = binary(maker=ElfMaker(machine=40, bits=32), GOARCH="arm")

#: binary, what differs at the target, reason (empty: it runs).
COMPATIBLE: dict[str, tuple[BinaryInfo, dict[str, str], str]] = {
    "static on anything": (binary(), {"libc": "none", "libc_version": ""}, ""),
    "static on musl": (binary(), {"libc": "musl", "libc_version": "1.2.3"}, ""),
    "other architecture": (
        binary(), {"goarch": "arm64"},
        "t1: architecture: needs amd64, has arm64; add linux/arm64 to build.platforms",
    ),
    "32-bit on 64-bit": (I386, {}, ""),
    "64-bit on 32-bit": (
        binary(), {"goarch": "386"}, "t1: architecture: needs amd64, has 386; add linux/386 to build.platforms"
    ),
    "arm on arm64": (ARM, {"goarch": "arm64"}, ""),
    "other system": (binary(GOOS="freebsd"), {}, "t1: system: needs freebsd, has linux; build for linux"),
    "old kernel": (
        binary(), {"kernel": "2.6.32-754.el6.x86_64"},
        "t1: kernel: needs 3.2 or later, has 2.6.32-754.el6.x86_64; Go 1.27.0 supports Linux 3.2 and later: build "
        "with an older Go or update the kernel",
    ),
    "old kernel, old Go": (binary(version="go1.23.12"), {"kernel": "2.6.32-754.el6.x86_64"}, ""),
    "unknown kernel": (binary(), {"kernel": ""}, ""),
    "glibc new enough": (GLIBC, {}, ""),
    "glibc exactly": (GLIBC, {"libc_version": "2.34"}, ""),
    "glibc too old": (
        GLIBC, {"libc_version": "2.31"},
        't1: libc: needs glibc 2.34 or later, has glibc 2.31; set build.cgo.glibc: "2.31" (or auto), or build it '
        "static (linkage: static)",
    ),
    "glibc 2.4 is older than 2.34": (
        GLIBC, {"libc_version": "2.4"},
        't1: libc: needs glibc 2.34 or later, has glibc 2.4; set build.cgo.glibc: "2.4" (or auto), or build it '
        "static (linkage: static)",
    ),
    "glibc program on musl": (
        GLIBC, {"libc": "musl", "libc_version": "1.2.3"},
        "t1: libc: needs glibc 2.34 or later, has musl 1.2.3; build it static (linkage: static) or on a system as "
        "old as the target",
    ),
    "musl program on glibc": (
        MUSL, {},
        "t1: libc: needs musl, has glibc 2.36; build it static (linkage: static) or on a system as old as the target",
    ),
    "musl program on musl": (MUSL, {"libc": "musl", "libc_version": "1.2.3"}, ""),
    "dynamic on a target without libc": (
        GLIBC, {"libc": "none", "libc_version": ""},
        "t1: libc: needs glibc 2.34 or later, has none; build it static (linkage: static) or on a system as old as "
        "the target",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("info", "changes", "reason"), COMPATIBLE.values(), ids=list(COMPATIBLE))
def test_a_target_runs_a_binary_or_the_reason_says_why_not(
    info: BinaryInfo, changes: dict[str, str], reason: str
) -> None:
    verdict = compatibility(info, TARGET.model_copy(update=changes))
    assert verdict.reason == reason
    assert verdict.ok == (reason == "")


@pytest.mark.parametrize(
    ("go", "goarch", "kernel"),
    [
        ("1.18.10", "amd64", "2.6.23"),
        ("1.21.0", "amd64", "2.6.32"),
        ("1.23.12", "arm64", "2.6.32"),
        ("1.23.12", "arm", "3.1"),
        ("1.24", "amd64", "3.2"),
        ("1.27.0", "arm", "3.2"),
        ("1.27.0", "loong64", "5.19"),
        ("1.27.0", "mips64le", "4.8"),
        ("devel", "amd64", "3.2"),
    ],
)
def test_the_lowest_kernel_follows_the_go_release_and_the_architecture(go: str, goarch: str, kernel: str) -> None:
    assert minimum_kernel(go, goarch) == kernel


def test_the_table_shows_need_and_state_for_each_target() -> None:
    old = TARGET.model_copy(update={"name": "t2", "libc_version": "2.31"})
    judged = [(target.name, compatibility(GLIBC, target)) for target in (TARGET, old)]
    lines = text(compat_table(judged), width=140).splitlines()
    rows = [" ".join(line.replace("│", " ").split()) for line in lines]
    assert "libc glibc 2.34 or later glibc 2.36 yes" in rows
    assert any(row.startswith("libc glibc 2.34 or later glibc 2.31 no (set build.cgo.glibc:") for row in rows)


def test_a_refusal_names_symbols_versions_target_and_remedy() -> None:
    symbols = (("2.34", ("dlsym", "pthread_create", "stat", "x")), ("2.33", ("y",)), ("2.14", ("memcpy",)))
    info = GLIBC.model_copy(update={"glibc_symbols": symbols})
    verdict = compatibility(info, TARGET.model_copy(update={"libc_version": "2.31-13+deb11u11"}))
    assert verdict.reason == (
        "t1: libc: needs glibc 2.34 or later, has glibc 2.31-13+deb11u11; it asks for GLIBC_2.34 (dlsym, "
        "pthread_create, stat and 1 more), GLIBC_2.33 (y); "
        'set build.cgo.glibc: "2.31" (or auto), or build it static (linkage: static)'
    )


def test_the_remedy_for_a_gcc_is_one_that_its_group_data_takes() -> None:
    """``build.cgo.glibc`` is refused beside ``compiler: gcc``."""
    verdict = compatibility(GLIBC, TARGET.model_copy(update={"libc_version": "2.31"}), "gcc")
    assert verdict.reason == (
        "t1: libc: needs glibc 2.34 or later, has glibc 2.31; give the GCC a sysroot with glibc 2.31 "
        "(build.cgo.sysroot), take Zig, or build it static (linkage: static)"
    )


def test_libraries_that_do_not_come_with_libc_are_named() -> None:
    libc = ("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "libresolv.so.2", "ld-linux-x86-64.so.2")
    info = binary(maker=ElfMaker(interpreter=LOADER, needed=(*libc, "libsqlite3.so.0")))
    verdict = compatibility(info, TARGET)
    assert verdict.ok
    assert [(row.needs, row.state) for row in verdict.rows if row.what == "libraries"] == [("libsqlite3.so.0", "warn")]
    plain = binary(maker=ElfMaker(interpreter=LOADER, needed=libc))
    assert not [row for row in compatibility(plain, TARGET).rows if row.what == "libraries"]


def test_the_table_says_once_what_holds_for_many_targets() -> None:
    hosts = [TARGET.model_copy(update={"name": f"t{number}"}) for number in range(1, 11)]
    judged = [(f"{host.name} {name}", compatibility(GLIBC, host)) for host in hosts for name in ("hello", "agent")]
    shown = text(compat_table(judged), width=120)
    assert shown.count("glibc 2.34 or later") == 1
    first = " ".join(line.split("│")[1].strip() for line in shown.splitlines() if line.count("│") == 6)
    assert first.strip() == ", ".join(f"t{number}" for number in range(1, 11)) + ": hello, agent"
