"""Bytes are the proof: the Windows and the Linux toolchain of one Go version make the same file of a commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.linux_build import built_on_linux
from lab import foreign
from tests.lab.windows_builder import Bench, git, repository, windows_bench

pytestmark = pytest.mark.lab
PLATFORMS = ("linux/amd64", "linux/arm64")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with windows_bench(tmp_path_factory.mktemp("controller")) as bench:
        yield bench


def equal(bench: Bench, repo: Path, folder: Path, **build: object) -> None:
    built = bench.build(bench.service(repo, **build), *PLATFORMS)
    assert built is not None, bench.messages.text
    windows = {one.spec.platform: one.sha256 for one in built}
    linux = {one.spec.platform: built_on_linux(repo, one.spec, folder) for one in built}
    assert sorted(windows) == list(PLATFORMS)
    assert windows == linux


def test_example_service_has_the_same_bytes_from_windows_and_from_linux(bench: Bench, tmp_path: Path) -> None:
    repo = Path(bench.lab.file.example["repository"])
    equal(bench, repo, tmp_path, package="./cmd/hello", version_variable="main.version")


def test_tree_that_windows_would_change_has_the_same_bytes_too(bench: Bench, tmp_path: Path) -> None:
    """Embedded text under ``text=auto``, untagged commit after a tag, tags and values with blanks and quotes."""
    files = {
        ".gitattributes": "* text=auto\n",
        "page.html": "<p>\none\n</p>\n",
        "main.go": (
            'package main\n\nimport _ "embed"\n\n//go:embed page.html\nvar page string\n\nvar label = ""\n\n'
            "func main() { println(page, label) }\n"
        ),
        "extra.go": "//go:build extra\n\npackage main\n\nfunc init() { println(`a\nb`) }\n",
    }
    repo = repository(tmp_path / "awkward", files)
    git(repo, "commit", "--quiet", "--allow-empty", "--message=after the tag")
    equal(bench, repo, tmp_path, tags=["extra"], stamp={"main.label": "50% of {version} isn't <this> & ^that!"})


def test_program_that_nobody_wrote_for_this_project_has_the_same_bytes_too(bench: Bench, tmp_path: Path) -> None:
    """age, of Debian's source packages, with its vendor folder: 43,000 lines. docs/programs.md has larger ones."""
    age = foreign.ensure(foreign.program("age"))
    equal(bench, age.repository, tmp_path, package=age.program.package, **age.program.build)
