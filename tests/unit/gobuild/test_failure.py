"""Failures of real builds: every text in data/go-output was printed by a real go, git or Windows."""

from __future__ import annotations

from pathlib import Path

import pytest

from gofallback.gobuild.build_failure import Step, classify
from gofallback.gobuild.failure import Failure

OUTPUT = Path(__file__).with_name("data") / "go-output"

CASES: dict[str, tuple[str, str, str]] = {
    "sum_mismatch": ("dependency", "example.com/dep@v1.0.0/go.mod is not the code that go.sum names", "go.sum"),
    "sum_mismatch_download": ("dependency", "checksum mismatch", "go.sum"),
    "sum_missing": ("dependency", "go.sum lacks an entry", "go mod tidy"),
    "version_missing_download": ("dependency", "not found: go: example.com/dep@v0.9.9", "GOPROXY"),
    "version_missing_build_sum": ("dependency", "example.com/dep@v0.9.9", "GOPROXY"),
    "module_version_not_found": ("dependency", 'go.mod:5: require example.com/dep: version "v9.9.9" invalid', "go.mod"),
    "module_not_required": ("dependency", "example.com/none/x", "go mod tidy"),
    "not_in_std": ("dependency", "nosuchpkg", "go.mod"),
    "proxy_off": ("dependency", "go.sum", "go mod tidy"),
    "proxy_refused": ("dependency", "example.com/dep@v1.0.0 cannot be downloaded", "HTTPS_PROXY"),
    "proxy_untrusted": ("dependency", "example.com/dep@v1.0.0 cannot be downloaded", "HTTPS_PROXY"),
    "proxy_404": ("dependency", "404 Not Found", "GOPROXY"),
    "proxy_401": ("dependency", "no credential for example.com/dep@v1.0.0", "build.modules: controller"),
    "proxy_403": ("dependency", "no credential for example.com/dep@v1.0.0", "build.modules: controller"),
    "direct_unresolved": ("dependency", "cannot be downloaded", "proxy"),
    "direct_git_unresolved": ("dependency", "git.example.invalid/x/dep.git@v1.0.0", "build.modules: controller"),
    "private_https": ("dependency", "no credential for github.com/example/dep@v1.0.0", "go mod vendor"),
    "private_https_build": ("dependency", "no credential for github.com/example/dep", "go mod vendor"),
    "private_ssh": ("dependency", "no credential for github.com/example/dep@v1.0.0", "go mod vendor"),
    "repository_missing": ("dependency", "not found", "go.mod"),
    "vendor_inconsistent": ("dependency", "vendor/ does not fit go.mod", "go mod vendor"),
    "go_mod_bad": ("dependency", "go.mod cannot be read: go.mod:4: unknown directive: nonsense", "correct go.mod"),
    "go_mod_updates": ("dependency", "go: updates to go.mod needed", "go mod tidy"),
    "no_go_mod": ("dependency", "go.mod file not found", "go.mod"),
    "compile_error": ("compile", "main.go:3:15: undefined: undefinedThing (and 1 more)", "source"),
    "compile_error_in_package": ("compile", "internal/a/a.go:3:23: cannot use", "source"),
    "syntax_error": ("compile", "main.go:4:1: syntax error", "source"),
    "embed_missing": ("compile", "main.go:5:12: pattern nothere.txt", "source"),
    "no_go_files": ("compile", "no Go files in", "correct build.package"),
    "no_package": ("compile", "directory not found", "correct build.package"),
    "build_constraints": ("compile", "build constraints exclude all Go files", "source"),
    "two_packages": ("compile", "found packages main (a.go) and other (b.go)", "source"),
    "no_main_function": ("compile", "function main is undeclared in the main package", "source"),
    "no_function_body": ("compile", "main.main: relocation target main.f not defined", "source"),
    "import_cycle": ("compile", "import cycle not allowed", "source"),
    "disk_full": ("disk", "no space left on device", "deploys/wipe.py"),
    "disk_full_cache": ("disk", "no space left on device", "deploys/wipe.py"),
    "toolchain_old": (
        "toolchain",
        "the source needs Go 1.99.1, the builder has to use 1.26.6",
        "Go of at least 1.99.1",
    ),
    "toolchain_without_compiler": ("toolchain", 'damaged: go: no such tool "compile"', "remove the toolchain's folder"),
    "toolchain_missing": ("toolchain", "damaged: go: cannot find GOROOT directory", "remove the toolchain's folder"),
    "out_of_memory": ("unknown", "runtime: out of memory: cannot allocate", "builder.parallel_platforms"),
    "cgo_library_missing": ("cgo", "no library for the target: error: unable to find", "build.cgo.sysroot"),
    "cgo_library_missing_gcc": ("cgo", "cannot find -lfoo", "build.cgo.ldflags"),
    "cgo_library_too_new": ("cgo", "a library of the sysroot needs glibc 2.34 (", "as old as the oldest target"),
    "cgo_header_missing": ("cgo", "does not find the header foo/bar.h", "below usr/include"),
    "cgo_header_missing_gcc": ("cgo", "does not find the header foo/bar.h", "below usr/include"),
    "cgo_compiler_missing": ("cgo", "there is no C compiler on the builder", "build.cgo.cc"),
    "cgo_compiler_missing_gcc": ("cgo", "aarch64-linux-gnu-gcc", "build.cgo.cc"),
    "cgo_assembler_missing_gcc": ("cgo", "lacks a part of its own, as: x86_64-linux-gnu-gcc: fatal", "binutils"),
    "cgo_wrong_triple": ("cgo", "unknown architecture: 'x86_65'", "build.cgo.cc"),
    "cgo_wrong_arch_gcc": ("cgo", "for another architecture", "build.cgo.cc, with {triple}"),
    "cgo_flag_unknown": ("cgo", "Unknown Clang option: '-mfoo'", "build.cgo.cflags"),
    "cgo_flag_unknown_gcc": ("cgo", "unrecognized command-line option '-mfoo'", "build.cgo.cflags"),
    "cgo_flag_not_allowed": ("cgo", "does not let a source ask for the flag -mfoo (#cgo CFLAGS)", "build.cgo"),
    "cgo_static_glibc": ("cgo", "glibc can only be linked dynamically", "build.linkage: dynamic"),
    "cgo_symbol_missing": ("cgo", "g is in none of the libraries", "build.cgo.ldflags"),
    "cgo_symbol_missing_gcc": ("compile", "undefined reference to `g'", "source"),
    "cgo_pkg_config_absent": ("cgo", "the source asks for pkg-config, which is not on the builder", "pkg_config"),
    "cgo_pkg_config": ("cgo", "pkg-config knows no package nosuch", "build.cgo.pkg_config_path"),
    "vcs_failed": ("unknown", "error obtaining VCS status", "remove the checkout"),
}
STEPS: dict[str, tuple[Step, str, str]] = {
    "vet": ("vet", "vet", "main.go:5:27: fmt.Printf format %d"),
    "vet_build_failed": ("vet", "compile", "main.go:3:15: undefined: nope"),
    "test_failed": ("test", "test", "TestX: main_test.go:5: got 1, want 2"),
    "test_panic": ("test", "test", "TestX"),
    "test_build_failed": ("test", "compile", "main_test.go:5:28: undefined: nope"),
    "sum_mismatch": ("test", "dependency", "checksum mismatch"),
}


def read(name: str) -> str:
    return (OUTPUT / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("kind", "remedy", "text"),
    [
        ("unknown", "parallel_platforms", "fatal error: out of memory"),
        (
            "unknown",
            "parallel_platforms",
            "go: fork/exec C:\\gofallback\\go\\bin\\go.exe: The paging file is too small for "
            "this operation to complete.",
        ),
        ("unknown", "parallel_platforms", "fork/exec /usr/bin/cc: cannot allocate memory"),
        (
            "dependency",
            "build.modules: controller",
            "go: a.test/b@v1.0.0: git ls-remote -q origin: exit status 128:\n"
            "\tssh: connect to host a.test port 22: Connection refused",
        ),
        (
            "compile",
            "source",
            "/usr/bin/ld: b.o: in function `g': b.c:1: multiple definition of `g'; a.o:a.c:1: first defined here",
        ),
    ],
)
def test_more_of_what_builders_print_when_they_fail(kind: str, remedy: str, text: str) -> None:
    failure = classify(text, 1, False)
    assert failure.kind == kind, failure
    assert remedy in failure.remedy


@pytest.mark.parametrize("name", CASES)
def test_cause_and_remedy_of_a_failed_build(name: str) -> None:
    kind, cause, remedy = CASES[name]
    failure = classify(read(name), 1, False)
    assert failure.kind == kind, failure
    assert cause in failure.cause
    assert remedy in failure.remedy
    assert "\n" not in failure.cause + failure.remedy
    assert len(failure.cause) < 400


@pytest.mark.parametrize("name", STEPS)
def test_gates_name_their_own_failures_and_not_the_builds(name: str) -> None:
    step, kind, cause = STEPS[name]
    failure = classify(read(name), 1, False, step=step)
    assert failure.kind == kind, failure
    assert cause in failure.cause


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (r"go: unlinkat C:\gofallback\cache\gotmp\go-build12\b001\exe\a.out.exe: Access is denied.", "permission"),
        (
            r"open C:\gofallback\out\hello: The process cannot access the file because it is being used by another "
            "process.",
            "permission",
        ),
        (
            "open x.exe: Operation did not complete successfully because the file contains a virus or potentially "
            "unwanted software.",
            "permission",
        ),
        # Win32 error 33 and 1224, and Wine's own words for 32
        (r"open C:\gofallback\out\hello: Another process has locked a portion of the file.", "permission"),
        ("the requested operation cannot be performed on a file with a user-mapped section open.", "permission"),
        (r"remove C:\gofallback\out\hello: Sharing violation.", "permission"),
        (r"write C:\gofallback\cache\gocache\ab\x: There is not enough space on the disk.", "disk"),
        (".\\cmd\\hello\\main.go:7:2: undefined: x\r", "compile"),
        (r"reading file:///C:/proxy/x/@v/v1.0.0.mod: The system cannot find the file specified.", "dependency"),
    ],
)
def test_windows_own_words(text: str, kind: str) -> None:
    assert classify(text, 1, False).kind == kind


def test_paths_of_windows_are_shown_as_in_the_repository() -> None:
    assert classify(".\\cmd\\hello\\main.go:7:2: undefined: x", 1, False).cause == "cmd/hello/main.go:7:2: undefined: x"


def test_a_timeout_names_its_seconds() -> None:
    failure = classify("half a line", 1, True, seconds=1800)
    assert (failure.kind, failure.cause) == ("timeout", "not finished after 1800 s")
    assert "build.timeout" in failure.remedy


def test_what_nobody_knows_shows_its_last_lines_and_exit_status() -> None:
    failure = classify("# x\nfirst\nsecond thing broke\nvery strange\n", 2, False)
    assert failure.kind == "unknown"
    assert failure.cause == "exit status 2: first | second thing broke | very strange"
    assert classify("", 9009, False) == Failure(
        "unknown", "exit status 9009: nothing was printed", "read the whole output, or run again with -vvv"
    )


@pytest.mark.parametrize(
    "text",
    [
        "sh: 1: cd: can't cd to /home/builder/gofallback/work/hello/9b2d/nope",
        "bash: line 1: cd: /home/builder/gofallback/work/hello/9b2d/nope: No such file or directory",
        "The system cannot find the path specified.\r",
    ],
)
def test_a_wrong_build_directory_leads_to_its_key(text: str) -> None:
    failure = classify(text, 1, False)
    assert failure.cause.startswith("the commit has no such folder") and "build.directory" in failure.remedy


def test_a_shells_word_about_a_path_does_not_hide_what_go_says() -> None:
    text = "The system cannot find the path specified.\n./main.go:7:2: undefined: x"
    assert classify(text, 1, False).cause == "main.go:7:2: undefined: x"
