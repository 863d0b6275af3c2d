"""Why two builds differ: each reason from its own pair of binaries, the cause before its symptoms."""

from __future__ import annotations

import json
import struct

import pytest

from gofallback.artifact.binary import ArtifactError
from gofallback.artifact.compare import Comparison, compare
from tests.unit.binaries import SETTINGS, ElfMaker, build_info, macho, module_text, pe

NAMES = ("w1", "w2")
ONE = ElfMaker(info=build_info(module_text()))


def elf(
    settings: dict[str, str] | None = None, *, go: str = "go1.27.0", text: str | None = None, **parts: bytes
) -> bytes:
    """A build like `ONE`, but for what is named."""
    info = text if text is not None else module_text({**SETTINGS, **(settings or {})})
    sections = tuple((f".{name}", content) for name, content in parts.items())
    return ElfMaker(info=build_info(info, go), sections=sections).bytes()


def kinds(found: Comparison) -> list[str]:
    return [finding.kind for finding in found.findings]


def test_the_same_bytes_need_no_words() -> None:
    found = compare(ONE.bytes(), ONE.bytes(), NAMES)
    assert found.same and found.lines() == [] and found.sections == []


@pytest.mark.parametrize(
    ("other", "kind", "words"),
    [
        (elf(go="go1.26.6"), "go", "Go: w1 has 1.27.0, w2 1.26.6; pin one version"),
        (elf({"vcs.revision": "d" * 40}), "commit", "commit: w1 has cccccccccccc, w2 dddddddddddd; build the same"),
        (elf({"vcs.time": "2026-01-01T00:00:00Z"}), "commit", "time of the commit: w1 has 2026-11-22T03:00:00Z, w2"),
        (elf({"vcs.modified": "true"}), "modified", "the work tree of w2 held changes (vcs.modified=true); look for"),
        (elf({"GOAMD64": "v3"}), "setting", "GOAMD64: w1 has v1, w2 v3; set it in services.<name>.build.environment"),
        (elf({"-tags": "debug"}), "setting", "-tags: w1 has none, w2 debug; look for GOFLAGS"),
        (elf({"-ldflags": "-w"}), "setting", "-ldflags: w1 has none, w2 -w; look for GOFLAGS"),
        (elf({"CGO_ENABLED": "1"}), "cgo", "CGO_ENABLED: w1 has 0, w2 1; set it for both"),
        (
            elf(text=module_text().replace("example.com/hello\tv1.1.0", "example.com/hello\t(devel)")),
            "module version",
            "version of example.com/hello: w1 has v1.1.0, w2 (devel); Go takes it from the tags",
        ),
        (
            elf(text=module_text().replace("v0.3.0\th1:x=", "v0.3.0\th1:y=")),
            "modules",
            "other modules: example.com/dep v0.3.0: w1 has h1:x=, w2 h1:y=; commit go.mod and go.sum",
        ),
        (
            elf(text=module_text(extra="dep\texample.com/more\tv1.0.0\n")),
            "modules",
            "other modules: example.com/more only in w2; commit",
        ),
        (
            elf(text=module_text().replace("path\texample.com/hello/cmd/hello", "path\texample.com/hello/cmd/ctl")),
            "program",
            "program: w1 has example.com/hello/cmd/hello, w2 example.com/hello/cmd/ctl; check build.package",
        ),
        (
            ElfMaker(info=build_info(module_text()), symbols=True).bytes(),
            "stripped",
            "w1 is stripped (-ldflags '-s -w'), the other is not; the same build.strip",
        ),
        (
            ElfMaker(info=build_info(module_text()), interpreter="/lib64/ld-linux-x86-64.so.2").bytes(),
            "linking",
            "loader: w1 has none, w2 /lib64/ld-linux-x86-64.so.2; one C compiler",
        ),
        (elf(comment=b"GCC: (Debian 12.2.0-14) 12.2.0\x00"), "compiler", "C compiler: w1 has none, w2 GCC: (Debian"),
    ],
)
def test_each_cause_is_named_with_both_sides_and_a_remedy(other: bytes, kind: str, words: str) -> None:
    found = compare(ONE.bytes(), other, NAMES)
    assert kinds(found) == [kind]
    assert words in found.lines()[0]
    back = compare(other, ONE.bytes(), NAMES)
    assert kinds(back) == [kind] and back.lines() != found.lines()


def test_an_embedded_file_with_crlf_is_found_by_its_lines() -> None:
    text = b"neighbou: Dear reader, this is the first line\nand the second\n"
    lf, crlf = (
        elf(rodata=b"\x00GET / HTTP/1.0\r\n\x00" + text),
        elf(rodata=b"\x00other GET / HTTP/1.0\r\n\x00another" + text[9:].replace(b"\n", b"\r\n")),
    )
    found = compare(lf, crlf, NAMES)
    assert kinds(found) == ["line ends"]
    assert found.lines()[0] == (
        "an embedded file has CR LF line ends in what w2 built and LF in what w1 built: "
        '"Dear reader, this is the first line"; check out with core.autocrlf=false, or add `* -text` to .gitattributes'
    )
    assert "CR LF line ends in what w1 built" in compare(crlf, lf, NAMES).lines()[0]


def test_text_that_both_end_with_crlf_is_no_cause() -> None:
    one, other = (elf(rodata=stamp + b"\x00Content-Length: 0\r\n\r\n\x00") for stamp in (b"v1", b"v2"))
    found = compare(one, other, NAMES)
    assert kinds(found) == ["section"]
    assert ".rodata differs first at byte 1: w1 has 'v1.Content" in found.lines()[0]
    assert found.lines()[0].endswith("a stamp (-X), embedded data or generated code that is not the same on both")


def test_paths_of_the_machine_are_summed_up_as_folders() -> None:
    names = [
        b"C:/gofallback/toolchains/go1.27.0/src/runtime/proc.go",
        b"C:/gofallback/toolchains/go1.27.0/src/net/x.go",
    ]
    names += [b"C:/gofallback/work/hello/main.go", b"C:/gofallback/work/hello/sub/y.go"]
    trimmed = elf(gopclntab=b"\x00runtime/proc.go\x00main.go\x00")
    found = compare(trimmed, elf({"-trimpath": "false"}, gopclntab=b"\x00" + b"\x00".join(names) + b"\x00"), NAMES)
    assert kinds(found) == ["path"]
    assert found.lines() == [
        "paths of the machine: w1 has none, w2 has C:/gofallback/toolchains/go1.27.0, C:/gofallback/work/hello; "
        "w2 built without -trimpath; build with -trimpath on both"
    ]


def note(text: bytes) -> bytes:
    return struct.pack("<III", 4, len(text), 4) + b"Go\x00\x00" + text


def test_a_build_id_alone_means_that_the_sources_differ_in_bytes_that_change_no_code() -> None:
    one, other = (elf(**{"note.go.buildid": note(b"a/b/c/" + end)}) for end in (b"one", b"two"))
    found = compare(one, other, NAMES)
    assert kinds(found)[0] == "build id"
    assert "Go's build ID: w1 has one, w2 two; the code is the same; the sources differ in bytes" in found.lines()[0]
    without = compare(elf(**{"note.go.buildid": note(b"a/b/c/d")}), elf(), NAMES)
    assert "Go's build ID: w2 has none (-buildid=)" in without.lines()[0]


def test_functions_that_only_one_has_are_named_when_nothing_else_explains_it() -> None:
    one = elf(gopclntab=b"\x00main.main\x00main.serve\x00")
    other = elf(gopclntab=b"\x00main.main\x00main.debugOnly\x00main.serve\x00")
    found = compare(one, other, NAMES)
    assert found.only == ([], ["main.debugOnly"])
    assert "only w2 has the functions main.debugOnly; other sources, build tags" in found.lines()[0]
    explained = compare(one, elf({"-tags": "debug"}, gopclntab=b"\x00main.main\x00main.debugOnly\x00"), NAMES)
    assert kinds(explained) == ["setting"] and explained.only == (["main.serve"], ["main.debugOnly"])


def test_causes_come_before_symptoms_and_only_a_few_are_lines() -> None:
    settings = {"vcs.revision": "d" * 40, "GOAMD64": "v3", "-tags": "debug", "CGO_ENABLED": "1"}
    found = compare(ONE.bytes(), elf(settings, go="go1.26.6", **{"note.go.buildid": note(b"a/b")}), NAMES)
    assert kinds(found) == ["go", "commit", "cgo", "setting", "setting", "build id"]
    assert len(found.lines()) == 5 and found.lines()[-1] == "and 2 more in the report"
    assert Comparison.model_validate_json(found.model_dump_json()) == found
    rows = {row["name"]: row for row in json.loads(found.model_dump_json())["sections"]}
    assert rows[".note.go.buildid"]["sizes"] == [None, 19] and rows[".go.buildinfo"]["first"] is not None


def test_bytes_that_were_appended_are_no_section() -> None:
    found = compare(ONE.bytes(), ONE.bytes() + b"x", NAMES)
    assert kinds(found) == ["outside"] and found.sections == []
    assert found.lines()[0].endswith("it was changed, signed or appended to after the build")


def test_pe_and_macho_files_are_compared_too() -> None:
    one, other = build_info(module_text()), build_info(module_text({**SETTINGS, "GOAMD64": "v3"}))
    for make in (pe, macho):
        found = compare(make(info=one), make(info=other), NAMES)
        assert kinds(found) == ["setting"] and len(found.sections) == 1
    assert kinds(compare(pe(info=one), macho(info=one), NAMES)) == ["platform"]
    unknown = compare(pe(), pe(info=one), NAMES)
    assert kinds(unknown) == ["build info"] and "w1 has no Go build info: packed" in unknown.lines()[0]


def test_what_is_no_binary_is_named_by_whose_it_is() -> None:
    with pytest.raises(ArtifactError, match="what w2 has is not a binary"):
        compare(ONE.bytes(), b"#!/bin/sh\n", NAMES)
