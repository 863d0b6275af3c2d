"""The controller's side of the source, with real git repositories in a temporary folder."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gofallback.git import submodules
from gofallback.git.fetch import SourceError, SourceRequest
from gofallback.git.resolve import bundle, refs_file, resolve
from gofallback.model import Service
from gofallback.source.model import ResolvedSource

WHEN = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _own_git_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gitconfig").write_text("[user]\n\tname = Lab\n\temail = lab@example.invalid\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file:ssh:https")


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    run(folder, "init", "-q", "-b", "main")
    commit(folder, "first", **(files or {"main.go": "package main\n"}))
    return folder


def commit(folder: Path, message: str, **files: str) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    run(folder, "add", "-A")
    run(folder, "commit", "-q", "--allow-empty", "-m", message)
    return run(folder, "rev-parse", "HEAD")


def service(repository: Path | str, ref: str = "main", *, submodules: bool = False) -> Service:
    return Service.model_validate(
        {
            "name": "hello",
            "source": {"repository": str(repository), "ref": ref, "submodules": submodules},
            "health": {"check": {"type": "tcp", "address": "127.0.0.1:8080"}},
        }
    )


class Controller:
    def __init__(self, folder: Path) -> None:
        self.mirrors = folder / "mirrors"
        self.lines: list[str] = []
        self.time = WHEN

    def resolve(
        self, repository: Path | str, ref: str = "main", *, offline: bool = False, submodules: bool = False
    ) -> ResolvedSource:
        data = service(repository, ref, submodules=submodules)
        return resolve(data, self.mirrors, offline=offline, now=lambda: self.time, report=self.lines.append)

    def refusal(
        self, repository: Path | str, ref: str = "main", *, offline: bool = False, submodules: bool = False
    ) -> str:
        with pytest.raises(SourceError) as error:
            self.resolve(repository, ref, offline=offline, submodules=submodules)
        assert "\n" not in str(error.value)
        return str(error.value)


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


def unpack(part: Path, refs: str, folder: Path) -> Path:
    """What a builder does with a bundle."""
    if not folder.exists():
        run(folder.parent, "init", "-q", "--bare", str(folder))
    run(folder, "bundle", "unbundle", str(part))
    (folder / "packed-refs").write_text(refs)
    return folder


def test_branch_tag_and_sha_all_mean_their_commit(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    first = run(repo, "rev-parse", "HEAD")
    run(repo, "tag", "-a", "v1.0.0", "-m", "one")
    second = commit(repo, "second", **{"a.go": "package main\n"})
    for ref, expected in (
        ("main", second),
        ("refs/heads/main", second),
        ("v1.0.0", first),
        (first, first),
        (second[:9], second),
    ):
        assert controller.resolve(repo, ref).commit == expected


def test_version_is_what_git_describe_says(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    assert controller.resolve(repo).version == run(repo, "describe", "--tags", "--always")
    run(repo, "tag", "v1.1.0")
    assert controller.resolve(repo).version == "v1.1.0"
    sha = commit(repo, "second")
    assert controller.resolve(repo).version == f"v1.1.0-1-g{sha[:7]}"


def test_version_can_be_a_folder_name_whatever_the_tag_is_called(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    run(repo, "tag", "release/2026 11".replace(" ", "=é"))
    assert controller.resolve(repo).version == "release-2026--11"


def test_the_line_for_people_names_ref_commit_and_version(tmp_path: Path, controller: Controller) -> None:
    source = controller.resolve(make(tmp_path / "hello"))
    assert source.commit in source.line()
    assert "hello: main is" in source.line()


def test_a_moved_branch_and_a_removed_tag_are_seen_at_the_next_run(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    run(repo, "tag", "v1")
    controller.resolve(repo)
    run(repo, "tag", "-d", "v1")
    run(repo, "commit", "-q", "--amend", "-m", "rewritten")
    rewritten = run(repo, "rev-parse", "HEAD")
    source = controller.resolve(repo)
    assert source.commit == rewritten
    assert source.version == rewritten[:7]


def test_missing_ref_names_the_close_ones(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    run(repo, "branch", "release-1.2")
    run(repo, "tag", "v1.2.0")
    assert "did you mean main?" in controller.refusal(repo, "mian")
    assert "did you mean release-1.2?" in controller.refusal(repo, "origin/Release-1.2")
    assert "did you mean v1.2.0?" in controller.refusal(repo, "1.2.0")
    assert "it has main, release-1.2, v1.2.0" in controller.refusal(repo, "zzzz")
    assert "no such branch, tag or commit" in controller.refusal(repo, "f" * 40)


def test_a_name_that_is_a_branch_and_a_tag_is_refused(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    run(repo, "tag", "stable")
    commit(repo, "second")
    run(repo, "branch", "stable")
    assert "both a branch and a tag; write refs/heads/stable or refs/tags/stable" in controller.refusal(repo, "stable")


def test_empty_repository_says_so(tmp_path: Path, controller: Controller) -> None:
    run(tmp_path, "init", "-q", "--bare", "empty.git")
    assert "has no branch and no tag" in controller.refusal(tmp_path / "empty.git")


def test_unreachable_remote_without_a_mirror(tmp_path: Path, controller: Controller) -> None:
    text = controller.refusal(tmp_path / "gone")
    assert "cannot be fetched" in text
    assert "no mirror of it is cached" in text
    refused = controller.refusal("ssh://git@127.0.0.1:9/hello.git")
    assert "the connection is refused" in refused


def test_unreachable_remote_with_a_mirror_says_its_age_and_how_to_go_on(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    before = controller.resolve(repo)
    repo.rename(tmp_path / "moved")
    controller.time = WHEN + timedelta(hours=3)
    text = controller.refusal(repo)
    assert "mirror fetched 3 h ago" in text
    assert "--data source_offline=true" in text
    offline = controller.resolve(repo, offline=True)
    assert (offline.commit, offline.offline, offline.age) == (before.commit, True, 3 * 3600)
    assert any("fetched 3 h ago" in line for line in controller.lines)


def test_offline_without_a_mirror_is_refused(tmp_path: Path, controller: Controller) -> None:
    text = controller.refusal(make(tmp_path / "hello"), offline=True)
    assert "no mirror of it is cached here" in text


def test_missing_ref_offline_says_how_old_the_mirror_is(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    controller.resolve(repo)
    run(repo, "tag", "v2")
    controller.time += timedelta(days=5)
    assert "fetched 5 days ago" in controller.refusal(repo, "v2", offline=True)


def test_a_full_sha_that_is_there_needs_no_remote(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    sha = controller.resolve(repo).commit
    repo.rename(tmp_path / "moved")
    assert controller.resolve(repo, sha).commit == sha


def test_a_commit_that_no_branch_reaches_can_be_built(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    lost = commit(repo, "lost")
    run(repo, "reset", "-q", "--hard", "HEAD~1")
    run(repo, "config", "uploadpack.allowAnySHA1InWant", "true")
    source = controller.resolve(repo, lost)
    assert source.commit == lost
    part = bundle(source, [], tmp_path / "b")
    assert part is not None
    assert run(unpack(part, refs_file(source), tmp_path / "builder.git"), "rev-parse", f"{lost}^{{commit}}") == lost


def test_a_working_tree_with_changes_is_refused_by_file(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    (repo / "main.go").write_text("package main // changed\n")
    (repo / "new ü.go").write_text("package main\n")
    for address in (str(repo), f"file://{repo}"):
        text = controller.refusal(address)
        assert "main.go, new ü.go" in text
        assert "no commit holds" in text
    run(repo, "stash", "-q", "-u")
    assert controller.resolve(repo).commit == run(repo, "rev-parse", "main")


def test_a_bare_repository_next_to_changes_elsewhere_is_fine(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    run(tmp_path, "clone", "-q", "--bare", str(repo), "hello.git")
    (repo / "main.go").write_text("changed\n")
    assert controller.resolve(tmp_path / "hello.git").commit == run(repo, "rev-parse", "HEAD")


def test_prompts_of_git_are_never_waited_for(
    tmp_path: Path, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "ssh"
    trap.write_text('#!/bin/sh\necho "$@" > "$0.arguments"\nread answer < /dev/tty\n')
    trap.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(trap))
    controller.refusal("git@example.invalid:hello.git")
    assert "BatchMode=yes" in (tmp_path / "ssh.arguments").read_text()


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("git@host: Permission denied (publickey).", "refuses this user's ssh key"),
        ("Host key verification failed.", "host key is not known"),
        ("ssh: Could not resolve hostname host: Name or service not known", "cannot be resolved"),
    ],
)
def test_cause_of_a_failing_ssh_is_shown(
    tmp_path: Path, controller: Controller, monkeypatch: pytest.MonkeyPatch, output: str, cause: str
) -> None:
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\necho "{output}" >&2\nexit 255\n')
    program.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(program))
    assert cause in controller.refusal("ssh://git@host/hello.git")


def test_a_git_hook_around_us_does_not_change_which_repository_is_read(
    tmp_path: Path, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make(tmp_path / "hello")
    other = make(tmp_path / "other", **{"x.go": "package x\n"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    source = controller.resolve(repo)
    monkeypatch.delenv("GIT_DIR")
    assert source.commit == run(repo, "rev-parse", "HEAD")


def test_killed_fetch_does_not_block_the_next_run(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    mirror = controller.resolve(repo).mirror
    (mirror / "packed-refs.lock").touch()
    (mirror / "refs" / "heads").mkdir(parents=True, exist_ok=True)
    (mirror / "refs" / "heads" / "main.lock").touch()
    sha = commit(repo, "second")
    assert controller.resolve(repo).commit == sha


def test_half_made_mirror_is_made_again(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    mirror = controller.resolve(repo).mirror
    (mirror / "HEAD").unlink()
    assert controller.resolve(repo).commit == run(repo, "rev-parse", "HEAD")


def test_first_bundle_makes_the_builder_equal_to_a_full_clone(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    run(repo, "tag", "v1.0.0")
    run(repo, "tag", "-a", "v1.0.0-annotated", "-m", "x")
    commit(repo, "second")
    run(repo, "branch", "side", "HEAD~1")
    source = controller.resolve(repo)
    part = bundle(source, [], tmp_path / "out" / "hello.bundle")
    assert part == tmp_path / "out" / "hello.bundle"
    builder = unpack(part, refs_file(source), tmp_path / "builder.git")
    assert run(builder, "show-ref", "-d") == run(repo, "show-ref", "-d")
    assert run(builder, "describe", "--tags", source.commit) == source.version
    run(builder, "fsck", "--strict")


def test_later_bundle_holds_only_what_is_new(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello", **{"big.bin": os.urandom(200_000).hex()})
    first = controller.resolve(repo)
    full = bundle(first, [], tmp_path / "1")
    assert full is not None
    builder = unpack(full, refs_file(first), tmp_path / "builder.git")
    commit(repo, "second", **{"small.go": "package main\n"})
    run(repo, "tag", "-a", "v2", "-m", "two")
    second = controller.resolve(repo)
    rest = bundle(second, [first.commit, "0" * 40], tmp_path / "2")
    assert rest is not None
    assert rest.stat().st_size < 2_000 < full.stat().st_size
    unpack(rest, refs_file(second), builder)
    assert run(builder, "describe", second.commit) == "v2"
    run(builder, "fsck", "--strict")


def test_nothing_is_sent_when_nothing_is_missing(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello")
    source = controller.resolve(repo)
    assert bundle(source, [source.commit], tmp_path / "b") is None
    run(repo, "tag", "light")
    tagged = controller.resolve(repo)
    assert bundle(tagged, [source.commit], tmp_path / "b") is None
    assert "refs/tags/light" in refs_file(tagged)


def test_submodules_come_with_relative_addresses_and_nested(tmp_path: Path, controller: Controller) -> None:
    leaf = make(tmp_path / "repos" / "leaf", **{"leaf.go": "package leaf\n"})
    lib = make(tmp_path / "repos" / "lib", **{"lib.go": "package lib\n"})
    run(lib, "-c", "protocol.file.allow=always", "submodule", "add", "-q", "../leaf", "deep/leaf")
    middle = commit(lib, "leaf")
    repo = make(tmp_path / "repos" / "hello")
    run(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", "../lib", "third party/lib")
    commit(repo, "lib")
    source = controller.resolve(repo, submodules=True)
    assert [(one.path, one.commit) for one in source.below()] == [
        ("third party/lib", middle),
        ("third party/lib/deep/leaf", run(leaf, "rev-parse", "HEAD")),
    ]
    for one in source.below():
        assert bundle(one, [], tmp_path / f"{one.commit}.bundle") is not None
    assert controller.resolve(repo, submodules=False).submodules == ()
    (tmp_path / "repos").rename(tmp_path / "away")
    assert len(list(controller.resolve(repo, offline=True, submodules=True).below())) == 2


def test_submodule_commit_that_was_never_pushed_is_named(tmp_path: Path, controller: Controller) -> None:
    lib = make(tmp_path / "repos" / "lib", **{"lib.go": "package lib\n"})
    repo = make(tmp_path / "repos" / "hello")
    run(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", "../lib", "lib")
    commit(repo, "lib")
    run(lib, "commit", "-q", "--amend", "-m", "other")
    run(lib, "reflog", "expire", "--expire=now", "--all")
    run(lib, "gc", "-q", "--prune=now")
    assert "submodule lib: commit" in controller.refusal(repo, submodules=True)


def test_submodule_of_a_remote_must_not_point_at_local_files() -> None:
    request = SourceRequest("hello", Path(), False, lambda: WHEN, lambda _: None)
    for url in ("/etc", "file:///etc", "ext::sh -c id", "-u/x"):
        with pytest.raises(SourceError, match="refused"):
            submodules._submodule_url(request, "https://git.example.com/a/b.git", url, "submodule x:")


def test_what_windows_sees_differently_is_noted(tmp_path: Path, controller: Controller) -> None:
    repo = make(tmp_path / "hello", **{"Makefile": "x", "makefile": "y", "aux.go": "package main\n", "a": "b"})
    (repo / "link").symlink_to("a")
    assert "Git LFS" not in "".join(controller.resolve(make(tmp_path / "plain")).notes)
    commit(repo, "link", **{"deep/.gitattributes": "*.bin filter=lfs\n"})
    notes = "\n".join(controller.resolve(repo).notes)
    assert "aux.go cannot exist on Windows" in notes
    assert "Makefile and 1 more differ only in case" in notes
    assert "link: symbolic link" in notes
    assert "Git LFS" in notes


def test_a_submodule_that_is_left_out_is_noted(tmp_path: Path, controller: Controller) -> None:
    make(tmp_path / "repos" / "lib", **{"lib.go": "package lib\n"})
    repo = make(tmp_path / "repos" / "hello")
    run(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", "../lib", "lib")
    commit(repo, "lib")
    (note,) = controller.resolve(repo).notes
    assert note == "lib: submodule, left as an empty folder; source.submodules: true brings it"
    assert controller.resolve(repo, submodules=True).notes == ()


@pytest.mark.parametrize("bare", [False, True])
def test_a_shallow_clone_is_refused_as_git_would_fetch_nothing_from_it(
    tmp_path: Path, controller: Controller, bare: bool
) -> None:
    repo = make(tmp_path / "whole")
    commit(repo, "second")
    shallow = tmp_path / "hello"
    run(tmp_path, "clone", "-q", "--depth=1", *(["--bare"] if bare else []), f"file://{repo}", str(shallow))
    text = controller.refusal(shallow)
    assert "is a shallow clone" in text and "git fetch --unshallow" in text
    run(shallow, "fetch", "-q", "--unshallow", "--tags")
    assert controller.resolve(shallow).commit == run(repo, "rev-parse", "HEAD")


def test_a_repository_with_sha256_names_is_refused(tmp_path: Path, controller: Controller) -> None:
    repo = tmp_path / "hello"
    repo.mkdir()
    run(repo, "init", "-q", "-b", "main", "--object-format=sha256")
    commit(repo, "first", **{"main.go": "package main\n"})
    text = controller.refusal(repo)
    assert "SHA-256 names" in text and "use a repository with SHA-1 names" in text
