"""Files of a release as the controller gets them: from a real repository, the project's folder, and group data."""

from __future__ import annotations

import hashlib
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gofallback.controller.release_files import FileSources, collect_release_files
from gofallback.git.commit_files import commit_files
from gofallback.git.resolve import at_commit
from gofallback.model import DataError, Service
from gofallback.release.extra_file import ExtraFile
from tests.unit.git.test_resolve import commit, make, run
from tests.unit.services import MINIMAL, service

BINARY = bytes(range(256)) * 300


@pytest.fixture(autouse=True)
def _own_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gitconfig").write_text("[user]\n\tname = Lab\n\temail = lab@example.invalid\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with a program, web files, a binary file, a link and a template."""
    folder = make(tmp_path / "repo", **{"main.go": "package main\n", "web/index.html": "<p>", "web/js/app.js": "1;"})
    (folder / "web" / "logo.bin").write_bytes(BINARY)
    (folder / "tool.sh").write_text("#!/bin/sh\n")
    (folder / "tool.sh").chmod(0o755)
    (folder / "link").symlink_to("main.go")
    (folder / "app.yml.j2").write_text(
        "level: {{ values.level }}\nrelease: {{ service }} {{ version }} {{ environment }}\n"
    )
    commit(folder, "more")
    return folder


def place(tmp_path: Path, repo: Path | None) -> FileSources:
    project = tmp_path / "project"
    project.mkdir(exist_ok=True)
    from_commit = None
    if repo is not None:
        data = Service.model_validate(MINIMAL | {"source": {"repository": str(repo)}})
        from_commit = partial(commit_files, at_commit(data, run(repo, "rev-parse", "HEAD"), tmp_path / "mirrors"))
    return FileSources(from_commit, project, tmp_path / "files", {"version": "v1", "commit": "c", "environment": "lab"})


def gathered(tmp_path: Path, repo: Path | None, files: dict[str, Any], **values: Any) -> dict[str, ExtraFile]:
    return collect_release_files(service(files=files, values=values), place(tmp_path, repo))


def refusal(tmp_path: Path, repo: Path | None, files: dict[str, Any], **values: Any) -> str:
    with pytest.raises(DataError) as error:
        gathered(tmp_path, repo, files, **values)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_of_the_repository_keeps_names_bytes_and_executable_bits(tmp_path: Path, repo: Path) -> None:
    found = gathered(tmp_path, repo, {"lib/web/": {"repository": "web"}, "lib/tool": {"repository": "tool.sh"}})
    assert sorted(found) == ["lib/tool", "lib/web/index.html", "lib/web/js/app.js", "lib/web/logo.bin"]
    logo = found["lib/web/logo.bin"]
    assert (logo.sha256, logo.size, logo.mode) == (hashlib.sha256(BINARY).hexdigest(), len(BINARY), 0o644)
    assert logo.local.read_bytes() == BINARY and logo.local.name == logo.sha256
    assert logo.text is None and found["lib/web/index.html"].text == b"<p>"
    assert found["lib/tool"].mode == 0o755
    assert [path.name for path in (tmp_path / "files").iterdir() if path.name.startswith(".")] == []


def test_it_is_the_commits_file_whatever_lies_in_the_work_tree_or_came_later(tmp_path: Path, repo: Path) -> None:
    where = place(tmp_path, repo)
    commit(repo, "later", **{"web/index.html": "<b>"})
    assert (
        collect_release_files(service(files={"lib/page": {"repository": "web/index.html"}}), where)["lib/page"].text
        == b"<p>"
    )


def test_a_tree_that_leads_out_of_its_folder_is_refused(tmp_path: Path, repo: Path) -> None:
    """git checks names only when it writes a tree to a disk; a server can hand out any tree."""
    tree = run(repo, "rev-parse", "HEAD:web")
    for name in (b"..", b"web"):
        raw = b"40000 " + name + b"\0" + bytes.fromhex(tree)
        command = ["git", "-C", str(repo), "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
        tree = subprocess.run(command, input=raw, capture_output=True, check=True).stdout.decode().strip()
    run(repo, "reset", "--soft", run(repo, "commit-tree", "-m", "evil", tree))
    where = place(tmp_path, repo)
    with pytest.raises(DataError, match=r"'web/../index.html' in .* leads out of its folder") as error:
        collect_release_files(service(files={"lib/web/": {"repository": "web"}}), where)
    assert "\n" not in str(error.value)


def test_files_of_the_project_and_texts_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "project" / "extra" / "sub").mkdir(parents=True)
    (tmp_path / "project" / "extra" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "project" / "extra" / "run.sh").chmod(0o744)
    (tmp_path / "project" / "extra" / "sub" / "a.bin").write_bytes(b"\0\1")
    files = {"lib/": {"project": "extra/**"}, "conf/banner.txt": {"text": "hi {{ there }}\n"}}
    found = gathered(tmp_path, None, files)
    assert {path: (one.mode, one.local.read_bytes()) for path, one in found.items()} == {
        "lib/run.sh": (0o755, b"#!/bin/sh\n"),
        "lib/sub/a.bin": (0o644, b"\0\1"),
        "conf/banner.txt": (0o644, b"hi {{ there }}\n"),
    }


def test_a_template_knows_the_values_of_the_environment_and_loses_its_ending(tmp_path: Path, repo: Path) -> None:
    found = gathered(tmp_path, repo, {"conf/": {"repository": "app.yml.j2", "template": True}}, level="debug")
    assert {path: one.text for path, one in found.items()} == {"conf/app.yml": b"level: debug\nrelease: hello v1 lab\n"}
    other = gathered(tmp_path, repo, {"conf/": {"repository": "app.yml.j2", "template": True}}, level="info")
    assert other["conf/app.yml"].sha256 != found["conf/app.yml"].sha256


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\nb: {{ values.missing }}\n", r"line 2: there is no key 'missing'; correct it, or `values`"),
        ("{{ nobody }}", r"line 1: 'nobody' is undefined"),
        ("{% if %}", "line 1: Expected an expression"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ ''.__class__.__mro__ }}", "is unsafe"),
    ],
)
def test_a_template_that_cannot_be_rendered_says_where(tmp_path: Path, text: str, said: str) -> None:
    told = refusal(tmp_path, None, {"conf/app.yml": {"text": text, "template": True}})
    assert told.startswith('services.hello.files["conf/app.yml"]: conf/app.yml line ') and said in told


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"lib/x": {"repository": "absent/*"}}, "absent/* matches nothing in"),
        ({"lib/x": {"repository": "link"}}, "link in"),
        ({"lib/x": {"repository": "web"}}, "web is 3 files; write a '/' after lib/x"),
        ({"lib/x": {"project": "nothing.txt"}}, "nothing.txt matches nothing in"),
        ({"lib/x/": {"text": "a"}}, "text is one file; write its name after the '/'"),
        ({"lib/": {"repository": "tool.sh"}, "lib/tool.sh": {"text": "a"}}, "lib/tool.sh comes from two entries"),
        ({"lib/x": {"repository": "web/logo.bin", "template": True}}, "is not UTF-8, so it is no template"),
    ],
)
def test_what_cannot_be_had_is_said_with_its_key(tmp_path: Path, repo: Path, files: dict[str, Any], said: str) -> None:
    told = refusal(tmp_path, repo, files)
    assert told.startswith("services.hello.files[") and said in told


def test_a_link_out_of_the_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "outside").write_text("x")
    (tmp_path / "project" / "in").symlink_to(tmp_path / "outside")
    assert "is a symbolic link" in refusal(tmp_path, None, {"lib/in": {"project": "in"}})


def test_a_private_key_and_a_pointer_of_git_lfs_are_no_files_of_a_release(tmp_path: Path, repo: Path) -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\n"
    commit(repo, "bad", **{"key.pem": key, "big.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"})
    told = refusal(tmp_path, repo, {"conf/key.pem": {"repository": "key.pem"}})
    assert "holds what looks like a secret" in told and "abc" not in told
    assert "is a pointer of Git LFS" in refusal(tmp_path, repo, {"lib/big.bin": {"repository": "big.bin"}})


def test_contents_that_nobody_asked_for_in_a_month_are_removed(tmp_path: Path) -> None:
    kept = tmp_path / "files" / ("0" * 64)
    kept.parent.mkdir()
    kept.write_text("old")
    gathered(tmp_path, None, {"conf/a": {"text": "a"}})
    assert kept.exists()
    os.utime(kept, (1, 1))
    gathered(tmp_path, None, {"conf/a": {"text": "a"}})
    assert not kept.exists()
