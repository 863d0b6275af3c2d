"""The state of a Windows builder, from the output of cmd.exe of Windows 10, of a translated Windows and of Wine."""

from __future__ import annotations

import re

import pytest

from gofallback.builder.cmd import Cmd
from gofallback.builder.paths import Layout, inside, literal, toolchain_name
from gofallback.builder.state import marker, same_version
from gofallback.builder.state_parser import StateError, parse, read_version
from gofallback.windows.quoting import QuotingError

ROOT = "C:\\gofallback"
SHA = "ab" * 32
COMMIT, TAGGED = "1" * 40, "2" * 40

ANSWER = f"""@@version

Microsoft Windows [Version 10.0.20348.2340]
@@environment
SystemRoot=C:\\Windows
ProgramFiles=C:\\Program Files
ProgramFiles(x86)=C:\\Program Files (x86)
PROCESSOR_ARCHITECTURE=AMD64
USERNAME=builder
@@tools
tar.exe
curl.exe
certutil.exe
@@go
go1.25.1
time 2025-08-27T15:49:40Z
@@git
git version 2.55.0.windows.5
@@free
 Volume in drive C has no label.
 Directory of C:\\gofallback
               0 File(s)              0 bytes
               9 Dir(s)     81520893952 bytes free
@@folders
toolchains
Downloads
cache\\gocache
@@toolchains
@d go1.27.0
{marker("go", "1.27.0", "zip", "amd64", SHA)}
@x go
@d git-2.45.2
{marker("git", "2.45.2", "zip", "amd64", SHA)}
@d go1.26.6
@x go
@@leftovers
unpack-go1.27.0-0a1b
@@downloads
71000000 go1.27.0.windows-amd64.zip
@@mirrors
@d hello.git
# pack-refs with: peeled fully-peeled sorted
{COMMIT} refs/heads/main
{COMMIT} refs/tags/v1.0.0
^{TAGGED}
@@checkouts
hello {COMMIT}
@@end
"""


def answer(**sections: str) -> list[str]:
    """The answer with some sections replaced."""
    text = ANSWER
    for name, body in sections.items():
        text = re.sub(rf"(?ms)^@@{name}$.*?(?=^@@)", lambda _, n=name, b=body: f"@@{n}\n{b}\n", text)
    return text.splitlines()


def test_one_answer_has_the_whole_state() -> None:
    state = parse(ROOT, answer())

    assert state.version == "10.0.20348.2340"
    assert (state.free_bytes, state.arch) == (81520893952, "amd64")
    assert state.tools == {"tar.exe", "curl.exe", "certutil.exe"}
    assert state.folders == {"toolchains", "downloads", "cache\\gocache"}
    assert state.downloads == {"go1.27.0.windows-amd64.zip": 71000000}
    assert state.mirrors == {"hello": (COMMIT, TAGGED)}
    assert state.checkouts == {"hello": (COMMIT,)}
    assert state.leftovers == ("unpack-go1.27.0-0a1b",)


def test_a_toolchain_counts_only_with_its_marker_and_its_program() -> None:
    state = parse(ROOT, answer())

    found = state.find("go", "1.27.0")
    assert found is not None
    assert (found.path, found.sha256, found.origin) == ("C:\\gofallback\\toolchains\\go1.27.0", SHA, "ours")
    assert state.find("git", "2.45.2") is None, "its program is missing"
    assert state.find("go", "1.26.6") is None, "its marker is missing"


def test_a_marker_under_another_name_does_not_count() -> None:
    moved = f"@d go1.26.6\n{marker('go', '1.27.0', 'zip', 'amd64', SHA)}\n@x go"
    assert parse(ROOT, answer(toolchains=moved)).toolchains == {}


def test_a_machine_wide_install_is_used_only_where_its_version_matches_and_only_if_allowed() -> None:
    state = parse(ROOT, answer())

    git = state.find("git", "2.55.0.5")
    assert git is not None
    assert (git.path, git.origin, git.sha256) == ("C:\\Program Files\\Git", "machine", None)
    assert state.find("git", "2.55.0.5", use_installed=False) is None
    assert state.find("git", "2.55.0") is None
    assert state.toolchain_path("go", "1.25.1") == "C:\\Program Files\\Go"
    assert state.toolchain_path("go", "1.25.1", use_installed=False) == "C:\\gofallback\\toolchains\\go1.25.1"


@pytest.mark.parametrize(
    ("last", "free"),
    [
        ("               5 Verzeichnis(se),  12345678901 Bytes frei", 12345678901),
        ("               5 个目录  12345678901 可用字节", 12345678901),
        ("       7 directories        81520893952 bytes free", 81520893952),
        ("               2 Dir(s)  81,520,893,952 bytes free", 81520893952),
        ("               2 Rep(s)   81\u202f520\u202f893\u202f952 octets libres", 81520893952),
        ("               2 Dir(s)               0 bytes free", 0),
        ("File Not Found", None),
    ],
)
def test_free_space_is_read_in_any_language(last: str, free: int | None) -> None:
    assert parse(ROOT, answer(free=f" Volume in drive C has no label.\n{last}")).free_bytes == free


def test_a_fresh_host_without_the_root_folder_is_empty_not_an_error() -> None:
    lines = answer()
    state = parse(ROOT, [*lines[: lines.index("@@folders")], "@@end"])
    assert (state.folders, state.toolchains, state.mirrors) == (frozenset(), {}, {})
    assert state.free_bytes == 81520893952


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "nothing"),
        (["'ver' is not recognized"], "'ver' is not recognized"),
        (answer()[:-1], "incomplete"),
        ([*answer()[:3], "@@unreadable"], "cannot be entered"),
    ],
)
def test_an_answer_that_is_cut_off_or_of_another_shell_is_one_clear_line(lines: list[str], says: str) -> None:
    with pytest.raises(StateError) as error:
        parse(ROOT, lines)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_fits_into_one_line_and_reads_no_secrets() -> None:
    text = Cmd().state("C:\\" + "x" * 200)
    assert len(text) < 8000
    assert "\n" not in text
    assert not re.search(r"(^|& )set *(&|$)", text), "a bare `set` prints the whole environment"


@pytest.mark.parametrize(
    ("tool", "output", "version"),
    [
        ("go", "go version go1.27.0 windows/amd64", "1.27.0"),
        ("go", "go version go1.28rc1 windows/amd64", "1.28rc1"),
        ("go", "go1.25.1\ntime 2025-08-27T15:49:40Z", "1.25.1"),
        ("git", "git version 2.55.0.windows.5", "2.55.0.5"),
        ("git", "git version 2.45.2.windows.1", "2.45.2"),
        ("git", "git version 2.30.2", "2.30.2"),
        ("git", "The system cannot find the path specified.", None),
    ],
)
def test_versions_are_read_from_the_programs_output(tool: str, output: str, version: str | None) -> None:
    assert read_version(tool, output) == version


def test_git_for_windows_counts_its_first_build_as_the_plain_version() -> None:
    assert same_version("git", "2.45.2.1", "2.45.2")
    assert not same_version("git", "2.45.2.2", "2.45.2")
    assert not same_version("go", "1.27.0", "1.27")


@pytest.mark.parametrize(
    "path", ["C:\\gofallback\\tmp", "c:\\GOFALLBACK\\out\\hello", "C:/gofallback/tmp/x", "C:\\gofallback\\a\\..\\b"]
)
def test_paths_below_the_root_are_inside(path: str) -> None:
    assert inside(ROOT, path)


@pytest.mark.parametrize(
    "path",
    [
        "C:\\gofallback",
        "C:\\gofallback\\",
        "C:\\gofallback2\\x",
        "C:\\gofallback\\..\\Windows",
        "C:\\gofallback\\a\\..\\..\\Windows",
        "D:\\gofallback\\x",
        "gofallback\\x",
        "\\gofallback\\x",
        "C:gofallback\\x",
        "C:\\gofallback\\x:stream",
        "C:\\GOFALL~1\\x",
    ],
)
def test_paths_elsewhere_are_outside(path: str) -> None:
    assert not inside(ROOT, path)


def test_names_of_toolchain_folders_stand_side_by_side() -> None:
    assert toolchain_name("go", "1.27.0") == "go1.27.0"
    assert Layout(ROOT).toolchain("git", "2.55.0.5") == "C:\\gofallback\\toolchains\\git-2.55.0.5"


@pytest.mark.parametrize("path", ['C:\\a"b', "C:\\%TEMP%", "C:\\a\nb"])
def test_a_path_that_cmd_would_expand_or_split_is_refused(path: str) -> None:
    with pytest.raises(QuotingError):
        literal(path)
