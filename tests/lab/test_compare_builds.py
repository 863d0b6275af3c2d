"""Real builds of one tiny program that differ in one thing each: does `compare` find which?"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gofallback.artifact.compare import Comparison, compare_files
from gofallback.cli.main import main
from lab.cache import cache_dir
from tests.lab.programs import go

pytestmark = pytest.mark.lab

PROGRAM = """package main

import "embed"

//go:embed *.txt
var files embed.FS

//go:embed greeting.txt
var greeting string

var version = "devel"

func main() {
	text, _ := files.ReadFile("terms.txt")
	println(version, greeting, string(text))
}
"""
#: Nothing of net or fmt: the standard library's half of it is compiled in seconds.
FILES = {
    "go.mod": "module example.test/tiny\n\ngo 1.26\n",
    "main.go": PROGRAM,
    "greeting.txt": "Hello from the embedded greeting\n",
    "terms.txt": "first line of the terms\nsecond line of the terms\n",
    "debug.go": "//go:build debug\n\npackage main\n\nfunc init() { println(42) }\n",
}
LDFLAGS = "-s -w -buildid= -X=main.version=v1"
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    def built(
        name: str,
        *flags: str,
        ldflags: str = LDFLAGS,
        trim: bool = True,
        change: dict[str, str] | None = None,
        **env: str,
    ) -> Path:
        folder = tmp_path_factory.mktemp(name) / "tiny"
        folder.mkdir()
        for file, text in {**FILES, **(change or {})}.items():
            (folder / file).write_bytes(text.encode())
        environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": ""}
        environment |= {"GOCACHE": str(cache_dir() / "test-programs" / "gocache"), **env}
        out = folder.parent / name
        words = [go(), "build", "-buildvcs=false", *(["-trimpath"] if trim else []), f"-ldflags={ldflags}", *flags]
        subprocess.run([*words, "-o", out, "."], cwd=folder, env=environment, check=True)
        return out

    yield built


@pytest.fixture(scope="module")
def plain(build: Build) -> Path:
    return build("plain")


def found(one: Path, other: Path) -> Comparison:
    result = compare_files(one, other, ("w1", "w2"))
    assert not result.same
    return result


def test_the_same_sources_in_another_folder_are_the_same_bytes(
    build: Build, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(plain), str(build("again"))]) == 0
    assert "the same bytes" in capsys.readouterr().out


def test_an_embedded_file_with_crlf_is_named_by_its_line(
    build: Build, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crlf = build("crlf", change={name: FILES[name].replace("\n", "\r\n") for name in ("greeting.txt", "terms.txt")})
    result = found(plain, crlf)
    assert [finding.kind for finding in result.findings] == ["line ends"]
    assert "CR LF line ends in what w2 built" in result.lines()[0]
    # the linker puts strings side by side, so the line may begin with the end of its neighbour
    assert "Hello from the embedded greeting" in result.lines()[0] or "line of the terms" in result.lines()[0]
    assert main(["compare", str(plain), str(crlf)]) == 1
    assert "CR LF line ends in what" in capsys.readouterr().out


def test_sources_with_crlf_change_the_build_id_alone_and_not_even_that_without_one(build: Build, plain: Path) -> None:
    change = {"main.go": PROGRAM.replace("\n", "\r\n")}
    assert compare_files(plain, build("crlf-sources", change=change), ("w1", "w2")).same
    with_id = LDFLAGS.replace("-buildid= ", "")
    result = found(build("id", ldflags=with_id), build("id-crlf", ldflags=with_id, change=change))
    assert result.findings[0].kind == "build id"
    assert "the code is the same; the sources differ in bytes that change no code" in result.lines()[0]


def test_a_build_without_trimpath_is_found_by_its_folders(build: Build, plain: Path) -> None:
    other = build("untrimmed", trim=False)
    result = found(plain, other)
    assert [finding.kind for finding in result.findings] == ["path"]
    assert f"{other.parent}/tiny" in result.lines()[0] and "w2 built without -trimpath" in result.lines()[0]


def test_tags_symbols_and_stamps_are_distinguished(build: Build, plain: Path) -> None:
    tags = found(plain, build("tags", "-tags=debug"))
    assert tags.lines()[0].startswith("-tags: w1 has none, w2 debug")
    symbols = found(plain, build("symbols", ldflags=LDFLAGS.replace("-s -w ", "")))
    assert symbols.findings[0].kind == "stripped"
    stamp = found(plain, build("stamp", ldflags=LDFLAGS.replace("=v1", "=v2")))
    assert stamp.findings[0].kind == "section" and "a stamp (-X)" in stamp.lines()[0]
    code = found(
        plain,
        build("code", change={"main.go": PROGRAM + "\n//go:noinline\nfunc more() {}\n\nfunc init() { more() }\n"}),
    )
    assert code.findings[0].kind == "functions" and "main.more" in code.lines()[0]


def test_windows_and_macos_programs_are_compared_too(build: Build) -> None:
    for goos, goarch in (("windows", "amd64"), ("darwin", "arm64")):
        one = build(f"{goos}-one", GOOS=goos, GOARCH=goarch)
        other = build(
            f"{goos}-other",
            GOOS=goos,
            GOARCH=goarch,
            change={"greeting.txt": FILES["greeting.txt"].replace("\n", "\r\n")},
        )
        result = found(one, other)
        assert result.findings[0].kind == "line ends" and result.sections, result
