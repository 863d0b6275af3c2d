"""What a wipe removes, what it leaves, and how it reports both, for builders of both kinds."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from gofallback.builder.wipe import (
    OURS,
    Contents,
    contents_line,
    names_to_remove,
    needs_wipe,
    parse_contents,
    remains,
    removal_line,
)
from gofallback.model import DataError, parse_fleet
from gofallback.operations.wipe import WipeResult
from tests.unit.services import MINIMAL


def contents(*paths: str, names: tuple[str, ...] = (), root: str = "C:\\gofallback") -> Contents:
    tops = {path.split("/")[0] for path in paths if "/" in path} & set(OURS)
    return Contents(root, dict.fromkeys(paths, 1_000_000), frozenset({*tops, *names}))


FULL = contents(
    "toolchains/go1.26.6/bin/go.exe",
    "cache/gocache/00/a",
    "cache/gomodcache/x/go.mod",
    "cache/later/thing",
    "work/hello/c/main.go",
    "mirrors/hello.git/packed-refs",
    names=("tmp", "out"),
)


def test_everything_that_gofallback_makes_goes_and_what_is_put_aside_goes_last() -> None:
    assert names_to_remove(FULL, []) == ["toolchains", "mirrors", "work", "out", "cache", "tmp"]


def test_what_is_kept_stays_and_everything_else_in_its_folder_goes_unknown_names_too() -> None:
    gone = names_to_remove(FULL, ["toolchains", "gocache"])
    assert gone == ["mirrors", "work", "out", "cache/gomodcache", "cache/later", "tmp"]
    assert "cache" not in names_to_remove(FULL, ["cache"])


def test_settings_that_were_written_for_git_go_too() -> None:
    found = contents("gitconfig-5ed06824", "gitconfig", "work/x/y")
    assert names_to_remove(found, ["toolchains"]) == ["work", "gitconfig-5ed06824"]
    assert remains(contents("gitconfig-5ed06824", "gitconfig"), [])[1:] == (["gitconfig-5ed06824"], ["gitconfig"])


def test_what_is_not_ours_is_left_and_reported() -> None:
    found = contents("passwords.txt", "photos/1.jpg", "work/hello/c/main.go")
    assert names_to_remove(found, []) == ["work"]
    after = contents("passwords.txt", "photos/1.jpg")
    assert remains(after, []) == ([], [], ["passwords.txt", "photos/1.jpg"])


@pytest.mark.parametrize("root", ["C:\\gofallback", "/home/builder/gofallback"])
def test_nothing_outside_of_the_root_is_in_the_line_that_removes(root: str) -> None:
    line = removal_line(root, names_to_remove(FULL, []), "1a2b")
    inner = f"{root}/" if root.startswith("/") else f"{root}\\"
    assert line.count(root) == line.count(inner) > 10
    assert "*" not in line and ".." not in line


def test_files_that_could_not_be_removed_are_named_and_kept_ones_are_summed() -> None:
    after = contents("toolchains/go1.26.6/bin/go.exe", "tmp/wiped-work-1a2b/hello/open.txt")
    kept, stuck, foreign = remains(after, ["toolchains"])
    assert kept == ["toolchains (1 MB in 1 files)"]
    assert (stuck, foreign) == (["tmp/wiped-work-1a2b/hello/open.txt"], [])
    assert remains(contents(names=("work",)), [])[1] == ["work"], (
        "an empty folder that is a program's current one is named too"
    )


def test_one_line_says_what_went_and_what_is_left() -> None:
    done = WipeResult(FULL, contents("toolchains/go1.26.6/bin/go.exe"), kept=("toolchains (1 MB in 1 files)",))
    assert done.line() == "wiped, 5 MB in 5 files removed; left: toolchains (1 MB in 1 files)"
    assert WipeResult(FULL, contents()).line() == "wiped, 6 MB in 6 files removed; left: nothing"
    assert WipeResult(contents(), contents(), idle=True).line() == "nothing to wipe; left: nothing"
    assert WipeResult(FULL, problem="w1 is gone").line() == "not wiped: w1 is gone"


def test_answer_that_is_cut_off_is_none() -> None:
    lines = ["@busy go.exe", "@there 3", "12 C:\\gofallback\\work\\a b.txt", "7 D:\\other\\x", "@listed"]
    assert parse_contents("C:\\gofallback", lines[:-1]) is None
    found = parse_contents("C:\\gofallback", lines)
    assert found is not None
    assert (found.files, found.busy) == ({"work/a b.txt": 12}, ("go.exe",))


@pytest.mark.parametrize(
    ("folders", "keep", "needed"),
    [
        ([], [], False),
        (["toolchains", "work"], ["toolchains"], True),
        (["toolchains", "cache", "cache\\gocache"], ["toolchains", "gocache"], False),
        (["cache", "cache/gocache", "cache/gotmp"], ["gocache"], True),
        (["photos"], [], False),
    ],
)
def test_second_wipe_has_nothing_to_do(folders: list[str], keep: list[str], needed: bool) -> None:
    assert needs_wipe(folders, keep) is needed


@pytest.mark.parametrize(
    ("wipe", "message"),
    [
        ({"after": "always"}, "builder.wipe.after"),
        ({"keep": ["work"]}, r"builder.wipe.keep\[0\]"),
        ({"keep": ["cache", "gocache"]}, "cache includes its single folders; remove one or the other"),
        ({"keeps": []}, "builder.wipe.keeps"),
    ],
)
def test_group_data_that_makes_no_sense_is_refused_by_key(wipe: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_fleet({"services": [MINIMAL], "builder": {"wipe": wipe}})


@pytest.mark.parametrize(
    "root",
    [
        "C:\\\\",
        "C:\\.",
        "d:\\. \\",
        "C:\\Users",
        "c:\\users\\bob\\",
        "C:\\Windows\\Temp",
        "C:\\Program Files",
        "C:\\x\\\\y",
        "/home",
        "/home/bob/",
        "/root",
        "/tmp",
        "/var/lib",
    ],
)
def test_a_root_that_holds_other_things_than_ours_is_refused(root: str) -> None:
    system = "linux" if root.startswith("/") else "windows"
    with pytest.raises(DataError, match=r"builder.root: should be a folder of its own"):
        parse_fleet({"services": [MINIMAL], "builder": {"os": system, "root": root}})


@pytest.mark.parametrize(
    "root",
    ["C:\\gofallback", "C:\\Users\\bob\\gofallback", "/gofallback", "/srv/gofallback", "/home/b/gofallback"],
)
def test_a_folder_of_its_own_is_taken(root: str) -> None:
    system = "linux" if root.startswith("/") else "windows"
    assert parse_fleet({"services": [MINIMAL], "builder": {"os": system, "root": root}}).builder.root == root


def test_a_name_with_a_line_end_passes_for_no_word_of_the_builder() -> None:
    evil = ["3 /srv/gofallback/work/x", "@busy nothing", "@there 99", "@home", "@listed", "9 /srv/gofallback/out/y"]
    found = parse_contents("/srv/gofallback", ["@there x", "@there 99", *evil, "@listed"])
    assert found is not None
    assert (found.files, found.busy, found.home) == ({"work/x": 3, "out/y": 9}, (), False)
    assert found.names == frozenset()
    assert parse_contents("/srv/gofallback", ["@there 3", *evil]) is None


def sh(line: str) -> list[str]:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A builder's root on this machine; a module cache without write permission in it, and a link that leads out."""
    made = tmp_path / "root it's"
    for name in ("work/hello/c/main.go", "cache/gocache/a", "cache/gomodcache/m/go.mod", "own.txt", "tmp/left/over"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("x\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("x")
    (made / "work" / "way-out").symlink_to(tmp_path / "outside")
    (made / "cache/gomodcache/m").chmod(0o555)
    return made


def test_a_posix_shell_does_what_the_lines_say(root: Path, tmp_path: Path) -> None:
    before = parse_contents(str(root), sh(contents_line(str(root))))
    assert before is not None and before.busy == ()
    assert before.count() == (5, 10)
    sh(removal_line(str(root), names_to_remove(before, ["gocache"]), "1a2b"))
    after = parse_contents(str(root), sh(contents_line(str(root))))
    assert after is not None
    assert sorted(after.files) == ["cache/gocache/a", "own.txt"]
    assert remains(after, ["gocache"])[1:] == ([], ["own.txt"])
    assert names_to_remove(after, ["gocache"]) == []
    assert (tmp_path / "outside" / "precious").read_text() == "x"


def test_the_home_folder_of_the_login_is_recognized(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", f"{root}/")
    at_home = parse_contents(str(root), sh(contents_line(str(root))))
    below = parse_contents(f"{root}/cache", sh(contents_line(f"{root}/cache")))
    assert at_home is not None and at_home.home
    assert below is not None and not below.home


def test_a_root_behind_a_link_is_listed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    found = parse_contents(str(tmp_path / "link"), sh(contents_line(str(tmp_path / "link"))))
    assert found is not None and found.count() == (5, 10)


@pytest.mark.parametrize("by_link", [False, True])
def test_a_program_that_works_below_the_root_is_seen(root: Path, tmp_path: Path, by_link: bool) -> None:
    worker = subprocess.Popen(["sleep", "30"], cwd=root / "work" / "hello")
    (tmp_path / "link").symlink_to(root)
    asked = str(tmp_path / "link" if by_link else root)
    try:
        found = parse_contents(asked, sh(contents_line(asked)))
        assert found is not None and found.busy == ("sleep",)
    finally:
        worker.kill()
        worker.wait()
