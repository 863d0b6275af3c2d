"""The exact commit on a real Git for Windows: clean, complete, cheap the second time, healed when damaged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gofallback.builder.cmd import Cmd
from gofallback.facts.builder import forget
from tests.lab.git_servers import served
from tests.lab.windows_builder import ROOT, Bench, commit, git, repository, windows_bench, write

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with windows_bench(tmp_path_factory.mktemp("controller"), disk_mb=2000) as bench:
        yield bench


def tree_of(bench: Bench, name: str, sha: str) -> str:
    return f"{ROOT}\\work\\{name}\\{sha}"


def round_trips(bench: Bench) -> int:
    return int(bench.host.connector_data.get("round_trips") or 0)


def test_tree_is_the_commit_with_every_tag_and_line_ends_untouched(bench: Bench, tmp_path: Path) -> None:
    # `* text=auto` gives CRLF on Windows even with core.autocrlf=false, unless core.eol says otherwise.
    files = {".gitattributes": "* text=auto\n*.bat text eol=crlf\n", "data/ü 文.txt": "one\ntwo\n", "run.bat": "echo\n"}
    repo = repository(tmp_path / "lines", files)
    git(repo, "tag", "-a", "v1.0.0-note", "-m", "annotated")
    sha = commit(repo, "second", **{"raw.bin": "a\r\nb\n"})
    assert bench.deliver(bench.service(repo)), bench.messages.text
    tree = tree_of(bench, "lines", sha)
    assert bench.local(tree + r"\main.go").read_bytes() == (repo / "main.go").read_bytes()
    assert (bench.local(tree) / "data" / "ü 文.txt").read_bytes() == b"one\ntwo\n"
    assert bench.local(tree + r"\run.bat").read_bytes() == b"echo\r\n"
    assert bench.git_there(tree, "status", "--porcelain") == ""
    assert bench.git_there(tree, "describe", "--tags") == git(repo, "describe", "--tags")
    assert bench.git_there(tree, "tag", "-l").split() == git(repo, "tag", "-l").split()


def test_second_time_is_one_round_trip_and_the_next_commit_a_small_bundle(bench: Bench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "again", {"big.txt": "x" * 3_000_000})
    service = bench.service(repo)
    assert bench.deliver(service)
    before = round_trips(bench)
    assert bench.deliver(service)
    assert round_trips(bench) - before == 1
    assert "the tree is there" in bench.messages.text
    write(repo, {"small.go": "package main\n"})
    sha = commit(repo)
    bench.host.connector_data["bytes_sent"] = 0
    assert bench.deliver(service)
    assert bench.git_there(tree_of(bench, "again", sha), "rev-parse", "HEAD") == sha
    bundles = sum(
        path.stat().st_size for path in bench.local(f"{ROOT}\\mirrors\\again.git\\objects\\pack").glob("*.pack")
    )
    assert bundles < 20_000  # the second of two packs; the letters compress well


def test_a_new_tag_on_a_commit_that_is_there_reaches_the_tree(bench: Bench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "tagged")
    service = bench.service(repo)
    assert bench.deliver(service)
    git(repo, "tag", "v9.0.0")
    git(repo, "tag", "-d", "v1.0.0")
    assert bench.deliver(service)
    tree = tree_of(bench, "tagged", git(repo, "rev-parse", "HEAD"))
    assert bench.git_there(tree, "tag", "-l") == "v9.0.0"


def test_names_that_differ_only_in_case_do_not_clash_as_refs(bench: Bench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "cases")
    for name in ("Feature", "feature", "topic/a"):
        git(repo, "branch", name)
    assert bench.deliver(bench.service(repo, source={"ref": "feature"})), bench.messages.text
    git(repo, "branch", "-D", "topic/a")
    git(repo, "branch", "topic")
    commit(repo)
    assert bench.deliver(bench.service(repo)), bench.messages.text


def test_a_changed_or_half_made_tree_is_made_again(bench: Bench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "dirty")
    service = bench.service(repo)
    assert bench.deliver(service)
    tree = tree_of(bench, "dirty", git(repo, "rev-parse", "HEAD"))
    bench.local(tree + r"\main.go").write_text("package main // changed by hand\n")
    bench.local(tree + r"\stray.go").write_text("package main\n")
    began = int(time.time()) - 2 * 86400
    leftover = bench.local(f"{ROOT}\\tmp\\dirty-{git(repo, 'rev-parse', 'HEAD')[:8]}-{began:08x}0000")
    leftover.mkdir()
    forget(bench.host)
    (leftover / "half").touch()
    assert bench.deliver(service), bench.messages.text
    assert bench.git_there(tree, "status", "--porcelain") == ""
    assert not leftover.exists()


def test_a_damaged_mirror_is_filled_again(bench: Bench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "healed")
    service = bench.service(repo)
    assert bench.deliver(service)
    for pack in bench.local(f"{ROOT}\\mirrors\\healed.git\\objects\\pack").glob("*.pack"):
        pack.chmod(0o644)
        pack.unlink()
    sha = commit(repo, "second", **{"b.go": "package main\n"})
    assert bench.deliver(service), bench.messages.text
    assert "is damaged" in bench.messages.text
    assert bench.git_there(tree_of(bench, "healed", sha), "rev-parse", "HEAD") == sha


def test_submodules_are_there_from_their_own_bundles(bench: Bench, tmp_path: Path) -> None:
    repository(tmp_path / "leaf", {"leaf.txt": "leaf\n"})
    lib = repository(tmp_path / "lib", {"lib.txt": "lib\n"})
    git(lib, "submodule", "add", "-q", "../leaf", "deep/leaf")
    commit(lib)
    repo = repository(tmp_path / "super")
    git(repo, "submodule", "add", "-q", "../lib", "third party/lib")
    sha = commit(repo)
    assert bench.deliver(bench.service(repo, source={"submodules": True})), bench.messages.text
    tree = tree_of(bench, "super", sha)
    assert (bench.local(tree) / "third party/lib/deep/leaf/leaf.txt").read_bytes() == b"leaf\n"
    assert bench.git_there(tree, "status", "--porcelain") == ""
    before = round_trips(bench)
    assert bench.deliver(bench.service(repo, source={"submodules": True}))
    assert round_trips(bench) - before == 1


def test_more_submodules_than_one_command_line_holds(bench: Bench, tmp_path: Path) -> None:
    lib = repository(tmp_path / "part", {"part.txt": "part\n"})
    repo = repository(tmp_path / "whole")
    paths = [f"third party/a folder with a long name, number {number}" for number in range(9)]
    for path in paths:
        git(repo, "submodule", "add", "-q", "../part", path)
    newer = commit(lib, "newer", **{"part.txt": "newer\n"})
    git(repo / paths[0], "fetch", "-q")
    git(repo / paths[0], "checkout", "-q", newer)
    sha = commit(repo)
    assert bench.deliver(bench.service(repo, source={"submodules": True})), bench.messages.text
    tree = bench.local(tree_of(bench, "whole", sha))
    assert [(tree / path / "part.txt").read_text() for path in paths] == ["newer\n", *["part\n"] * 8]


def test_a_name_windows_cannot_hold_is_reported(bench: Bench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "names", {"what?.txt": "x"})
    service = bench.service(repo)
    assert any("cannot exist on Windows" in note for note in bench.resolve(service).notes)
    assert not bench.deliver(service)
    assert len(bench.messages.lines) <= 2
    assert "what?.txt" in bench.messages.text


def test_every_file_of_a_folder_is_listed_hidden_ones_too(bench: Bench) -> None:
    folder = f"{ROOT}\\tmp\\a folder"
    files = {"plain.txt": 5, "hidden.txt": 6, "below\\.dot\\x & y.txt": 7, "below\\empty": 0}
    for name, size in files.items():
        path = bench.local(f"{folder}\\{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    bench.ask(f'attrib +h "{folder}\\hidden.txt"')
    told = [line.strip() for line in bench.ask(Cmd().list_files(folder)).splitlines()]
    assert sorted(told) == sorted(f"{size} {folder}\\{name}" for name, size in files.items())
    assert bench.ask(Cmd().list_files(f"{ROOT}\\tmp\\nothing")) == ""


def test_a_name_that_another_run_has_taken_in_the_same_moment_is_left_as_that_run_made_it(bench: Bench) -> None:
    new, final = f"{ROOT}\\tmp\\late-1", f"{ROOT}\\tmp\\the name"
    strayed = f"{final}\\late-1"  # where a `move` that came too late puts it
    for folder in (new, f"{final}\\theirs", strayed):
        path = bench.local(folder)
        path.mkdir(parents=True)
        (path / "file.txt").touch()
    assert bench.ask(Cmd().claim(new, final)) == ""
    assert [path.name for path in bench.local(final).iterdir()] == ["theirs"]
    assert bench.local(new).exists()


def test_old_trees_are_removed(bench: Bench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "many")
    service = bench.service(repo)
    made = []
    for number in range(7):
        made.append(commit(repo, f"commit {number}"))
        assert bench.deliver(service), bench.messages.text
    kept = {path.name for path in bench.local(f"{ROOT}\\work\\many").iterdir()}
    assert made[-1] in kept
    assert len(kept) == 5


def test_the_builder_can_clone_by_itself(bench: Bench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "cloned")
    with served(bench.lab, tmp_path) as url:
        service = bench.service(f"{url}/cloned", source={"delivery": "clone"})
        assert bench.deliver(service), bench.messages.text
        git(repo, "tag", "v2.0.0")
        sha = commit(repo, "second", **{"b.go": "package main\n"})
        assert bench.deliver(service), bench.messages.text
    tree = tree_of(bench, "cloned", sha)
    assert bench.git_there(tree, "describe", "--tags") == git(repo, "describe", "--tags")
    # Back to bundles: the mirror's loose refs must not hide the packed ones.
    sha = commit(repo, "third", **{"c.go": "package main\n"})
    assert bench.deliver(bench.service(repo)), bench.messages.text
    assert bench.git_there(tree_of(bench, "cloned", sha), "rev-parse", "refs/heads/main") == sha


def test_clone_that_the_builder_may_not_do_names_the_way_out(bench: Bench, tmp_path: Path) -> None:
    repository(tmp_path / "refused")
    with served(bench.lab, tmp_path) as url:
        service = bench.service(f"{url}/refused", source={"delivery": "clone"})
        source = bench.resolve(service)
    assert source.commit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "resolve", lambda service: source)
        assert not bench.deliver(service)
    assert "set source.delivery: bundle" in bench.messages.text
    assert len(bench.messages.lines) == 1
