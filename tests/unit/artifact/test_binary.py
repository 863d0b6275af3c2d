"""The description of a binary; garbage is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gofallback.artifact import buildinfo
from gofallback.artifact.binary import ArtifactError, inspect, inspect_bytes
from tests.unit.binaries import MAGIC, ElfMaker, build_info, macho, module_text, pe
from tests.unit.examples import examples

INFO = build_info(module_text())
DYNAMIC = ElfMaker(
    info=INFO,
    interpreter="/lib64/ld-linux-x86-64.so.2",
    needed=("libc.so.6", "libresolv.so.2"),
    versions=("GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.9", "GLIBC_PRIVATE"),
)


def test_a_static_linux_program_is_described() -> None:
    info = inspect_bytes(ElfMaker(info=INFO).bytes())
    assert (info.format, info.bits, info.machine, info.goarch, info.abi) == ("ELF", 64, "X86_64", "amd64", "System V")
    assert (info.kind, info.static, info.interpreter, info.glibc, info.stripped) == ("executable", True, "", None, True)


def test_the_build_info_is_read() -> None:
    build = inspect_bytes(ElfMaker(info=INFO).bytes()).build
    assert build is not None
    assert (build.go_version, build.release) == ("go1.27.0", "1.27.0")
    assert (build.path, build.module, build.module_version) == (
        "example.com/hello/cmd/hello",
        "example.com/hello",
        "v1.1.0",
    )
    assert build.dependencies == [("example.com/dep", "v0.3.0")]
    assert build.revision == "c" * 40
    assert build.settings["vcs.modified"] == "false"
    assert build.settings["CGO_ENABLED"] == "0"


def test_a_dynamic_program_names_its_loader_libraries_and_highest_glibc() -> None:
    info = inspect_bytes(DYNAMIC.bytes())
    assert not info.static
    assert info.interpreter == "/lib64/ld-linux-x86-64.so.2"
    assert info.needed == ("libc.so.6", "libresolv.so.2")
    assert info.glibc == "2.34"


@pytest.mark.parametrize(
    ("maker", "goarch", "abi"),
    [
        (ElfMaker(machine=3, bits=32), "386", "System V"),
        (ElfMaker(machine=40, bits=32), "arm", "System V"),
        (ElfMaker(machine=183), "arm64", "System V"),
        (ElfMaker(machine=183, abi=9), "arm64", "FreeBSD"),
        (ElfMaker(machine=62, abi=2), "amd64", "NetBSD"),
        (ElfMaker(machine=62, abi=12), "amd64", "OpenBSD"),
        (ElfMaker(machine=8, bits=32, little=False), "mips", "System V"),
        (ElfMaker(machine=8, bits=64, little=True), "mips64le", "System V"),
        (ElfMaker(machine=21, little=False), "ppc64", "System V"),
        (ElfMaker(machine=21, little=True), "ppc64le", "System V"),
        (ElfMaker(machine=243), "riscv64", "System V"),
        (ElfMaker(machine=22, little=False), "s390x", "System V"),
        (ElfMaker(machine=258), "loong64", "System V"),
        (ElfMaker(machine=62, bits=32), "", "System V"),  # x32 is none of Go's
    ],
)
def test_architecture_and_abi_are_read_from_the_header(maker: ElfMaker, goarch: str, abi: str) -> None:
    info = inspect_bytes(maker.bytes())
    assert (info.goarch, info.abi, info.build) == (goarch, abi, None)


def test_a_symbol_table_is_seen() -> None:
    assert not inspect_bytes(ElfMaker(symbols=True).bytes()).stripped


def test_a_windows_program_is_described() -> None:
    info = inspect_bytes(pe(info=INFO))
    assert (info.format, info.bits, info.goarch, info.abi, info.kind) == (
        "PE",
        32,
        "386",
        "Windows console",
        "executable",
    )
    assert info.build is not None
    assert info.build.release == "1.27.0"
    assert inspect_bytes(pe(machine=0x8664, wide=True)).goarch == "amd64"
    assert inspect_bytes(pe(machine=0xAA64, wide=True)).goarch == "arm64"
    assert inspect_bytes(pe(dll=True)).kind == "library"
    assert inspect_bytes(pe()).stripped
    assert not inspect_bytes(pe(debug=True)).stripped


def test_a_macos_program_is_described() -> None:
    info = inspect_bytes(macho(info=INFO))
    assert (info.format, info.bits, info.goarch, info.abi, info.kind) == ("Mach-O", 64, "arm64", "macOS", "executable")
    assert info.needed == ("/usr/lib/libSystem.B.dylib",)
    assert info.build is not None
    assert info.build.module == "example.com/hello"
    assert inspect_bytes(macho(platform=2)).abi == "iOS"
    assert not inspect_bytes(macho(segment=b"__DWARF")).stripped


def test_the_magic_in_a_programs_own_strings_is_no_build_info() -> None:
    decoy = (MAGIC + b"\x08\x02").ljust(32, b"\x00") + b"\x05hello\x00"
    build = inspect_bytes(ElfMaker(info=decoy.ljust(64, b"\x00") + INFO).bytes()).build
    assert build is not None
    assert build.release == "1.27.0"
    assert inspect_bytes(ElfMaker(info=decoy).bytes()).build is None


def test_build_info_of_go_117_and_older_counts_as_none() -> None:
    old = (MAGIC + b"\x08\x00").ljust(32, b"\x00")
    assert buildinfo.find(old) is None


def test_settings_in_quotes_are_unquoted() -> None:
    lines = [
        "path\tx",
        'build\t-ldflags="-s -w \\"-X=a=b c\\""',
        'build\t"odd key"="v=1"',
        "build\t-gcflags=`all=-N -l`",
        "build\tCGO_CFLAGS=",
    ]
    text = "\n".join(lines) + "\n"
    found = buildinfo.find(build_info(text))
    assert found is not None
    assert found.settings == {
        "-ldflags": '-s -w "-X=a=b c"',
        "odd key": "v=1",
        "-gcflags": "all=-N -l",
        "CGO_CFLAGS": "",
    }


def test_a_development_version_with_experiments_is_kept_whole() -> None:
    found = buildinfo.find(build_info(module_text(), version="go1.27.0 X:synctest"))
    assert found is not None
    assert (found.go_version, found.release) == ("go1.27.0 X:synctest", "1.27.0")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is not a binary (ELF, PE or Mach-O): the file is empty"),
        (b"#!/bin/sh\n", "is not a binary (ELF, PE or Mach-O): it is a script"),
        (b"PK\x03\x04", "is not a binary (ELF, PE or Mach-O): it is a zip archive; unpack it first"),
        (b"\x1f\x8b\x08", "is not a binary (ELF, PE or Mach-O): it is a gzip archive; unpack it first"),
        (b"!<arch>\n", "is not a binary (ELF, PE or Mach-O): it is an archive of object files, so the package is not a "
                       "main package: correct build.package"),
        (b"hello", "is not a binary (ELF, PE or Mach-O): it begins with 68 65 6c 6c 6f"),
        (b"MZ", "is a cut-off binary (2 bytes); build or copy it again"),
        (b"MZ".ljust(128, b"\x00"), "is a DOS program or a damaged PE file; build or copy it again"),
    ],
)  # fmt: skip
def test_what_is_no_binary_is_refused_with_what_it_is(tmp_path: Path, content: bytes, line: str) -> None:
    path = tmp_path / "hello"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        inspect(path)
    assert str(caught.value) == f"{path}: {line}"


def test_a_missing_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"hello: cannot be read \(No such file or directory\)$"):
        inspect(tmp_path / "hello")
    with pytest.raises(ArtifactError, match=r"cannot be read \(Is a directory\)$"):
        inspect(tmp_path)


@pytest.mark.parametrize(
    "whole", [ElfMaker(info=INFO).bytes(), pe(info=INFO), macho(info=INFO)], ids=["elf", "pe", "macho"]
)
def test_a_file_cut_off_in_transfer_is_refused(whole: bytes) -> None:
    with pytest.raises(ArtifactError, match="copy it again"):
        inspect_bytes(whole[: len(whole) - len(INFO) // 2])


SEEDS = [
    DYNAMIC.bytes(),
    ElfMaker(info=INFO, bits=32, machine=3, symbols=True).bytes(),
    pe(info=INFO, debug=True),
    macho(info=INFO),
]
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12)


def survives(content: bytes) -> None:
    try:
        inspect_bytes(content)
    except ArtifactError as error:
        assert "\n" not in str(error)
        assert str(error)


@settings(max_examples=examples(300), deadline=2000)
@given(st.sampled_from(SEEDS), CHANGES, st.floats(0, 1))
def test_a_damaged_binary_is_described_or_refused_but_never_crashes(
    seed: bytes, changes: list[tuple[float, int]], kept: float
) -> None:
    content = bytearray(seed)
    for where, byte in changes:
        # Most of a file is padding: half of the changes go into the first 300 bytes, where the headers are.
        content[int(where * 2 * 300) if where < 0.5 else int((where - 0.5) * 2 * len(content))] = byte
    survives(bytes(content[: max(64, int(len(content) * min(1.0, kept * 1.5)))]))


@settings(max_examples=examples(100), deadline=2000)
@given(
    st.sampled_from([b"", b"\x7fELF\x02\x01\x01", b"MZ", b"\xcf\xfa\xed\xfe", MAGIC + b"\x08\x02"]),
    st.binary(max_size=600),
)
def test_garbage_is_refused_but_never_crashes(head: bytes, rest: bytes) -> None:
    survives(head + rest)
    buildinfo.find(head + rest)
