"""Real Go binaries of seven platforms: what we read is what `go version -m` prints, and what was asked for passes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gofallback.artifact.binary import BinaryInfo, inspect
from gofallback.artifact.compat import TargetFacts, compatibility
from gofallback.artifact.spec import BuildSpec
from gofallback.artifact.verify import problems
from gofallback.model.platform import GO_PLATFORMS, platform_of
from lab.cache import cache_dir
from tests.lab.programs import go

pytestmark = pytest.mark.lab

PLATFORMS = [
    *("linux/amd64", "linux/arm64", "freebsd/amd64"),
    *("windows/amd64", "windows/arm64", "darwin/arm64", "darwin/amd64"),
]
MAIN = """\
package main

import (
	"fmt"
	"net"
)

var version = "dev"

func main() { fmt.Println("hello", version, net.IPv6loopback) }
"""


def run(*argv: str, cwd: Path, **environment: str) -> str:
    found = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "GO"))}
    ours = {"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOCACHE": str(cache_dir() / "test-programs" / "gocache")}
    done = subprocess.run(argv, cwd=cwd, env=found | ours | environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one program, clean and tagged."""
    folder = tmp_path_factory.mktemp("hello")
    (folder / "cmd" / "hello").mkdir(parents=True)
    (folder / "cmd" / "hello" / "main.go").write_text(MAIN)
    (folder / "go.mod").write_text("module example.com/hello\n\ngo 1.24\n")
    run("git", "init", "-q", "-b", "main", ".", cwd=folder)
    run("git", "add", ".", cwd=folder)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    run("git", *who, "commit", "-q", "-m", "Say hello", cwd=folder)
    run("git", "tag", "v1.1.0", cwd=folder)
    return folder


def spec(tree: Path, platform: str) -> BuildSpec:
    return BuildSpec(
        service="hello",
        platform=platform,
        go_version=run(str(go()), "env", "GOVERSION", cwd=tree).strip().removeprefix("go"),
        commit=run("git", "rev-parse", "HEAD", cwd=tree).strip(),
        version="v1.1.0",
        package="./cmd/hello",
        directory=".",
        binary="hello",
        tags=("netgo", "osusergo"),
        stamp=(("main.version", "v1.1.0 of today"),),
    )


def build(tree: Path, made: BuildSpec, target: Path, *flags: str, **environment: str) -> BinaryInfo:
    target.parent.mkdir(parents=True, exist_ok=True)
    run(
        *(str(go()), "build", "-p=1", *made.flags(), *flags, "-o", str(target), made.package),
        cwd=tree,
        **{"GOOS": made.goos, "GOARCH": made.goarch, "CGO_ENABLED": "0"} | environment,
    )
    return inspect(target)


def judged(info: BinaryInfo, made: BuildSpec) -> list[str]:
    return problems(info, made, sha256=info.sha256, size=info.size)


def as_go_prints(info: BinaryInfo) -> list[str]:
    """The lines of `go version -m` below its first, made of what we read."""
    assert info.build
    lines = [f"path {info.build.path}", f"mod {info.build.module} {info.build.module_version}"]
    return lines + [f"build {key}={value}" for key, value in info.build.settings.items()]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_real_binary_is_read_as_go_reads_it_and_passes(tree: Path, tmp_path: Path, platform: str) -> None:
    made = spec(tree, platform)
    info = build(tree, made, tmp_path / made.file_name)
    first, *rest = run(str(go()), "version", "-m", str(tmp_path / made.file_name), cwd=tree).splitlines()
    assert info.build
    assert first.endswith(f": {info.build.go_version}")
    assert as_go_prints(info) == [" ".join(line.split()) for line in rest]
    assert info.goarch == made.goarch
    assert judged(info, made) == []
    wrong = made.model_copy(update={"platform": next(other for other in PLATFORMS if other != platform)})
    assert judged(info, wrong) != []


@pytest.mark.parametrize(
    ("built", "asked", "said"),
    [
        ("windows/amd64", "darwin/amd64", "is a PE file, should be Mach-O; check `platforms`"),
        ("darwin/arm64", "linux/arm64", "is a Mach-O file, should be ELF; check `platforms`"),
        ("windows/arm64", "windows/amd64", "is for arm64 (64 bit, machine ARM64), should be for amd64"),
        ("darwin/amd64", "darwin/arm64", "is for amd64 (64 bit, machine X86_64), should be for arm64"),
        ("linux/arm64", "linux/amd64", "is for arm64 (64 bit, machine AARCH64), should be for amd64"),
    ],
)
def test_a_binary_for_another_platform_is_refused_in_words(
    tree: Path, tmp_path: Path, built: str, asked: str, said: str
) -> None:
    info = build(tree, spec(tree, built), tmp_path / "program")
    found = judged(info, spec(tree, asked))
    assert any(line.startswith(f"hello {asked}: {said}") for line in found), found
    assert f"was built for {built}, should be for {asked}" in " / ".join(found)


def test_a_windows_program_without_a_console_is_refused(tree: Path, tmp_path: Path) -> None:
    made = spec(tree, "windows/amd64")
    info = build(tree, made, tmp_path / "hello.exe", "-ldflags=-s -w -buildid= -H=windowsgui")
    assert "is a program of the subsystem Windows GUI, should be Windows console" in " / ".join(judged(info, made))


def test_a_binary_with_symbols_from_a_changed_tree_is_refused(tree: Path, tmp_path: Path) -> None:
    made = spec(tree, "linux/amd64")
    extra = tree / "left-behind"
    extra.write_text("x")
    try:
        info = build(tree, made, tmp_path / "hello", "-ldflags=", "-trimpath=false")
    finally:
        extra.unlink()
    found = " / ".join(judged(info, made))
    assert "has symbols or DWARF, should be stripped" in found
    assert "vcs.modified=true" in found
    assert "was built without -trimpath" in found


def test_a_binary_that_needs_a_loader_is_refused_where_static_was_asked(tree: Path, tmp_path: Path) -> None:
    made = spec(tree, "linux/amd64")
    info = build(tree, made, tmp_path / "hello", "-buildmode=pie")
    assert not info.static
    assert [line for line in judged(info, made) if "is dynamically linked" in line]


def test_a_dynamic_program_of_this_machine_fits_it_and_not_an_older_one() -> None:
    info = inspect(Path("/bin/ls").resolve())
    libc, version = str(os.confstr("CS_GNU_LIBC_VERSION")).split()
    assert libc == "glibc"
    platform = platform_of(os.uname().sysname, os.uname().machine)
    assert platform
    ctx = TargetFacts(goarch=platform.split("/")[1], kernel=os.uname().release, libc="glibc", libc_version=version)
    assert compatibility(info, ctx).ok
    assert info.glibc
    older = compatibility(info, ctx.model_copy(update={"libc_version": "2.2"}))
    assert older.reason.startswith(f"libc: needs glibc {info.glibc} or later, has glibc 2.2;")


def test_our_table_of_platforms_is_gos_own(tmp_path: Path) -> None:
    assert set(run(str(go()), "tool", "dist", "list", cwd=tmp_path).split()) == GO_PLATFORMS
