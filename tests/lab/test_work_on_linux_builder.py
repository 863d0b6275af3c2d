"""Sources and builds on a Linux builder: the same as on Windows, and what only a Linux host can do to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from bench.linux_build import built_on_linux
from gofallback.operations.source import Checkout, _Transfer, deliver
from tests.lab.git_servers import served
from tests.lab.linux_bench import ROOT, LinuxBench, linux_bench
from tests.lab.windows_builder import commit, git, repository

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinuxBench]:
    with linux_bench(tmp_path_factory.mktemp("home")) as made:
        yield made


def tree_of(name: str, sha: str) -> str:
    return f"{ROOT}/work/{name}/{sha}"


def trips(bench: LinuxBench) -> int:
    return int(bench.host.connector_data.get("round_trips") or 0)


def test_the_tree_is_the_commit_with_names_and_line_ends_untouched(bench: LinuxBench, tmp_path: Path) -> None:
    strange = {"crlf.txt": "a\r\nb\r\n", "aux.txt": "x", "it's $HOME; a \\ name": "y", "-f": "z"}
    repo = repository(tmp_path / "tree", strange)
    sha = git(repo, "rev-parse", "HEAD")
    assert bench.deliver(bench.service(repo)), bench.messages.text
    tree = bench.local(tree_of("tree", sha))
    assert {name: (tree / name).read_bytes().decode() for name in strange} == strange
    assert bench.git_there(str(tree_of("tree", sha)), "describe", "--tags") == "v1.0.0"

    before = trips(bench)
    assert bench.deliver(bench.service(repo))
    assert trips(bench) - before == 1
    assert "the tree is there" in bench.messages.text


def test_submodules_and_a_new_tag_reach_the_tree(bench: LinuxBench, tmp_path: Path) -> None:
    repository(tmp_path / "lib", {"lib.go": "package lib\n"})
    repo = repository(tmp_path / "parent")
    git(repo, "submodule", "--quiet", "add", "../lib", "deep er/lib")
    sha = commit(repo, "with a submodule")
    service = bench.service(repo, source={"submodules": True})
    assert bench.deliver(service), bench.messages.text
    assert (bench.local(tree_of("parent", sha)) / "deep er/lib/lib.go").read_text() == "package lib\n"
    assert bench.git_there(tree_of("parent", sha), "status", "--porcelain") == ""
    git(repo, "tag", "v9.9.9")
    assert bench.deliver(service), bench.messages.text
    assert bench.git_there(tree_of("parent", sha), "describe", "--tags") == "v9.9.9"


def test_a_changed_tree_and_a_damaged_mirror_are_made_again(bench: LinuxBench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "mended")
    sha = git(repo, "rev-parse", "HEAD")
    service = bench.service(repo)
    assert bench.deliver(service)
    tree = bench.local(tree_of("mended", sha))
    (tree / "main.go").write_text("package broken\n")
    assert bench.deliver(service), bench.messages.text
    assert "package main" in (tree / "main.go").read_text()

    for pack in (bench.drive / "mirrors" / "mended.git" / "objects").rglob("*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(b"not a pack")
    newer = commit(repo, "newer", **{"new.go": "package main\n"})
    assert bench.deliver(service), bench.messages.text
    assert (bench.local(tree_of("mended", newer)) / "new.go").exists()


def test_the_builder_can_clone_by_itself_and_says_so_when_it_cannot(bench: LinuxBench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "cloned")
    with served(bench.lab, tmp_path) as url:
        service = bench.service(f"{url}/cloned", source={"delivery": "clone"})
        assert bench.deliver(service), bench.messages.text
        sha = commit(repo, "second", **{"b.go": "package main\n"})
        source = bench.resolve(service)
    assert source.commit == sha
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "resolve", lambda service: source)
        assert not bench.deliver(service)
    assert "set source.delivery: bundle" in bench.messages.text


def test_two_runs_that_bring_the_same_commit_at_the_same_time_both_succeed(bench: LinuxBench, tmp_path: Path) -> None:
    lib = repository(tmp_path / "lib", {"lib.txt": "lib\n"})
    repo = repository(tmp_path / "twice", {f"part{number}.txt": "x" * 20_000 for number in range(200)})
    git(repo, "submodule", "add", "-q", str(lib), "third/lib")
    sha = commit(repo)
    source = bench.resolve(bench.service(repo, source={"submodules": True}))
    for _ in range(2):  # with nothing there, and with a tree that somebody changed
        works = [Checkout(source, ROOT, bench.git, bench.home / f"bundles{number}") for number in range(3)]
        runs = [gevent.spawn(deliver, bench.state, bench.host, work) for work in works]
        gevent.joinall(runs, raise_error=True)
        assert [run.value for run in runs] == [True, True, True], bench.messages.text
        tree = bench.local(f"{ROOT}/work/twice/{sha}")
        assert len(list(tree.glob("part*.txt"))) == 200 and (tree / "third/lib/lib.txt").read_text() == "lib\n"
        assert bench.git_there(f"{ROOT}/work/twice/{sha}", "status", "--porcelain", "--ignored") == ""
        assert not [
            one.name for one in bench.local(f"{ROOT}/tmp").iterdir() if one.name.startswith(("twice", "mirror"))
        ]
        (tree / "part1.txt").write_text("changed by hand\n")


def test_a_tree_that_another_run_builds_in_stays_when_one_like_it_comes(bench: LinuxBench, tmp_path: Path) -> None:
    repo = repository(tmp_path / "inuse")
    work = Checkout(bench.resolve(bench.service(repo)), ROOT, bench.git, bench.home / "bundles")
    assert deliver(bench.state, bench.host, work)
    tree = bench.local(work.tree)
    inode = tree.stat().st_ino
    # what a run does that looked before the other one had put its tree in place
    _Transfer(bench.state, bench.host, work).make_tree()
    assert tree.stat().st_ino == inode and not bench.local(work.temporary).exists()
    assert "another run has brought the tree meanwhile" in bench.messages.text


def test_what_the_login_has_set_changes_no_byte(bench: LinuxBench, tmp_path: Path) -> None:
    # sshd starts bash, which reads this for commands too.
    profile = bench.local("/home/builder/.bashrc")
    profile.write_text(
        "export GOFLAGS=-tags=other GOPROXY=http://nobody CGO_ENABLED=1 GOAMD64=v3\n"
        "export GIT_DIR=/nowhere GIT_WORK_TREE=/tmp GIT_INDEX_FILE=/tmp/index GIT_OBJECT_DIRECTORY=/tmp/objects\n"
        "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.autocrlf GIT_CONFIG_VALUE_0=true GIT_DEFAULT_HASH=sha256\n"
    )
    repo = repository(tmp_path / "bytes")
    try:
        (built,) = bench.build(bench.service(repo)) or ()
    finally:
        profile.unlink()
    assert built.sha256 == built_on_linux(repo, built.spec, tmp_path)


def test_code_behind_a_symbolic_link_is_refused_by_name_as_it_would_be_on_windows(
    bench: LinuxBench, tmp_path: Path
) -> None:
    repo = repository(tmp_path / "linked", {"shared/part.go": "package main\n\nfunc part() {}\n"})
    (repo / "part.go").symlink_to("shared/part.go")
    commit(repo)
    (note,) = bench.resolve(bench.service(repo)).notes
    assert note.startswith("part.go: symbolic link, on every builder a text file") and "put the code itself" in note
    told = bench.failure(bench.service(repo))
    assert "part.go:1:1: expected 'package', found" in told and "symbolic link in the repository" in told


def test_tests_run_there_and_stop_a_bad_commit(bench: LinuxBench, tmp_path: Path) -> None:
    bad = 'package main\n\nimport "testing"\n\nfunc TestIt(t *testing.T) { t.Fatal("no") }\n'
    service = bench.service(repository(tmp_path / "gates", {"main_test.go": bad}), test=True)
    assert "go test: TestIt" in bench.failure(service)


def test_a_build_that_takes_too_long_is_ended_with_all_its_processes(bench: LinuxBench, tmp_path: Path) -> None:
    slow = {"main.go": 'package main\n\nimport "net/http"\n\nfunc main() { http.ListenAndServe(":1", nil) }\n'}
    text = bench.failure(bench.service(repository(tmp_path / "slow", slow)), "linux/riscv64", timeout=4)
    assert "timeout: not finished after 4 s" in text
    for _ in range(20):
        running = bench.machine.run("ps -u builder -o comm=").stdout.split()
        if not {"go", "compile", "link"} & set(running):
            break
        time.sleep(0.5)
    assert not {"go", "compile", "link"} & set(running)


def test_a_connection_that_breaks_in_mid_build_does_not_end_the_run(bench: LinuxBench, tmp_path: Path) -> None:
    service = bench.service(repository(tmp_path / "cutoff"))

    def drop() -> None:
        for _ in range(600):
            if "compile" in bench.machine.run("ps -u builder -o comm=", check=False).stdout.split():
                break
            time.sleep(0.1)
        bench.machine.run("pkill -u builder sshd")

    assert bench.deliver(service)
    thread = threading.Thread(target=drop)
    thread.start()
    built = bench.build(service, "linux/ppc64le")
    thread.join()
    assert built is not None, bench.messages.text
    assert "connection lost" in bench.messages.text


def test_a_full_disk_is_named_and_the_next_run_succeeds(bench: LinuxBench, tmp_path: Path) -> None:
    service = bench.service(repository(tmp_path / "full"))
    assert bench.deliver(service)
    bench.machine.fill_disk(leave_mb=2)
    try:
        text = bench.failure(service, "linux/s390x")
    finally:
        bench.machine.free_disk()
    assert "disk full" in text
    assert bench.build(service, "linux/s390x") is not None, bench.messages.text


def test_an_output_is_used_again_and_a_damaged_one_is_built_anew(bench: LinuxBench, tmp_path: Path) -> None:
    service = bench.service(repository(tmp_path / "again"))
    (first,) = bench.build(service) or ()
    (second,) = bench.build(service) or ()
    assert (first.reused, second.reused) == (False, True)
    bench.local(first.path).write_bytes(b"damaged")
    (third,) = bench.build(service) or ()
    assert (third.reused, third.sha256) == (False, first.sha256)
