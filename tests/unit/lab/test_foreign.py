"""Repositories made of Debian's source: `go.mod`, `vendor/` and `modules.txt` say the same, or Go refuses to build."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.foreign.packages import Package
from lab.foreign.pins import PINS, PROGRAMS, Program
from lab.foreign.vendor import semantic, write_module

PROGRAM = Program("tool", "v2.1.0", "example.test/tool", "./cmd/tool", ("linux/amd64",), ())


@pytest.mark.parametrize(
    ("debian", "path", "version"),
    [
        ("1:0.25.0+ds-1", "golang.org/x/tools", "v0.25.0"),
        ("0.0~git20210226.20ebb0f-1", "github.com/pkg/diff", "v0.0.0-git20210226.20ebb0f"),
        ("2.0.0-2", "gopkg.in/yaml.v3", "v3.0.0"),
        ("3.0.1-3", "gopkg.in/yaml.v3", "v3.0.1"),
        ("2.0.0-2", "github.com/google/renameio/v2", "v2.0.0"),
        ("4.1-1", "github.com/old/thing", "v4.1.0+incompatible"),
    ],
)
def test_debian_versions_become_ones_that_go_accepts_for_that_module(debian: str, path: str, version: str) -> None:
    assert semantic(debian, path) == version


def tree(source: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(content)


def made(tmp_path: Path) -> Path:
    """A program with an embedded page, one package that has a go.mod of a second major version, and one without any."""
    source, work = tmp_path / "src", tmp_path / "work"
    tree(
        source,
        {
            "example.test/tool/go.mod": "module example.test/tool\n\ngo 1.22.0\n\ntoolchain go1.22.7\n",
            "example.test/tool/cmd/tool/main.go": "package main\n",
            "example.test/tool/cmd/tool/main_test.go": "package main\n",
            "example.test/tool/cmd/tool/web/page.html": "<p>\n",
            "example.test/lib/go.mod": "module example.test/lib/v2\n\ngo 1.13\n",
            "example.test/lib/deep/deep.go": "package deep\n",
            "gopkg.in/old/thing.v1/thing.go": "package thing\n",
        },
    )
    packages = {
        "example.test/tool/cmd/tool": Package(
            source / "example.test/tool/cmd/tool", {"example.test/tool/cmd/tool"}, {"web/page.html"}
        ),
        "example.test/lib/deep": Package(source / "example.test/lib/deep", {"example.test/lib/v2/deep"}),
        "gopkg.in/old/thing.v1": Package(source / "gopkg.in/old/thing.v1", {"gopkg.in/old/thing.v1"}),
    }
    owners = {"example.test/lib/deep": "2.3.0-1", "gopkg.in/old/thing.v1": "1.0.4-1"}
    write_module(packages, source, PROGRAM, owners, work)
    return work


def test_module_names_what_is_vendored_under_the_paths_it_is_imported_by(tmp_path: Path) -> None:
    work = made(tmp_path)
    assert (work / "go.mod").read_text() == (
        "module example.test/tool\n\ngo 1.22\n\nrequire (\n"
        "\texample.test/lib/v2 v2.3.0\n\tgopkg.in/old/thing.v1 v1.0.4\n)\n"
    )
    assert (work / "vendor/modules.txt").read_text().splitlines() == [
        "# example.test/lib/v2 v2.3.0",
        "## explicit; go 1.21",
        "example.test/lib/v2/deep",
        "# gopkg.in/old/thing.v1 v1.0.4",
        "## explicit; go 1.21",
        "gopkg.in/old/thing.v1",
    ]


def test_files_are_those_that_a_build_needs(tmp_path: Path) -> None:
    work = made(tmp_path)
    found = sorted(str(path.relative_to(work)) for path in work.rglob("*") if path.is_file())
    assert found == [
        "cmd/tool/main.go",
        "cmd/tool/web/page.html",
        "go.mod",
        "vendor/example.test/lib/v2/deep/deep.go",
        "vendor/gopkg.in/old/thing.v1/thing.go",
        "vendor/modules.txt",
    ]


def test_every_package_that_a_program_needs_is_pinned() -> None:
    needed = {name for program in PROGRAMS for name in program.needs}
    assert needed == set(PINS)
