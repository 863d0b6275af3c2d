"""`gofallback archive`: what people download of a version, and the sums they check it with."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gofallback.artifact.spec import BuildSpec
from gofallback.cli import main
from gofallback.controller.store import ArtifactStore
from tests.unit.attested import SPEC
from tests.unit.binaries import SETTINGS, ElfMaker, build_info, module_text, pe
from tests.unit.git.test_resolve import commit, make, run
from tests.unit.specs import manifest_of

WHEN = "2026-11-22T03:00:00Z"


def program(spec: BuildSpec, when: str = WHEN) -> bytes:
    """A binary that is what the spec asks for."""
    settings = SETTINGS | {"GOOS": spec.goos, "GOARCH": spec.goarch, "vcs.time": when, "vcs.revision": spec.commit}
    text = module_text(settings).replace("cmd/hello", spec.package.removeprefix("./"))
    info = build_info(text)
    return pe(0x8664, info, wide=True) if spec.goos == "windows" else ElfMaker(info=info).bytes()


class Project:
    """A project's folder, a repository, and a controller's store."""

    def __init__(self, tmp_path: Path) -> None:
        self.root, self.to = tmp_path / "project", tmp_path / "dist"
        self.repo = make(tmp_path / "repo", **{"LICENSE": "free\n", "docs/a.md": "# a\n"})
        (self.repo / "install.sh").write_text("#!/bin/sh\n")
        (self.repo / "install.sh").chmod(0o755)
        self.commit = commit(self.repo, "install")
        self.store = ArtifactStore(tmp_path / "home" / "artifacts")
        (self.root / "group_data" / "services").mkdir(parents=True)
        self.say({"files": ["LICENSE", "docs/*.md", "*.sh"]})

    def say(self, archives: dict[str, Any], binaries: tuple[str, ...] = ("worker",)) -> None:
        data = {
            "source": {"repository": str(self.repo)},
            "build": {"binaries": {name: {"package": f"./cmd/{name}"} for name in binaries}},
            "health": {"check": {"type": "tcp", "address": "127.0.0.1:1"}},
            "archives": archives,
        }
        (self.root / "group_data" / "services" / "hello.yml").write_text(json.dumps(data))

    def built(self, binary: str = "hello", platform: str = "linux/amd64", **changes: Any) -> Path:
        spec = SPEC.model_copy(
            update={"binary": binary, "package": f"./cmd/{binary}", "platform": platform, "commit": self.commit}
            | changes
        )
        content = program(spec)
        file = self.root / "binary"
        file.write_bytes(content)
        return self.store.add(manifest_of(spec, content, WHEN), file).path

    def archive(self, *words: str) -> int:
        return main.main(["archive", "v1.1.0", "--to", str(self.to), *words])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "gitconfig").write_text("[user]\n\tname = Lab\n\temail = lab@example.invalid\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path / "home"))
    made = Project(tmp_path)
    monkeypatch.chdir(made.root)
    for platform in ("linux/amd64", "windows/amd64"):
        for binary in ("hello", "worker"):
            made.built(binary, platform)
    return made


def test_one_archive_a_platform_with_every_binary_and_the_files_beside_it(project: Project) -> None:
    assert project.archive() == 0
    names = ["checksums.txt", "hello_v1.1.0_linux_amd64.tar.gz", "hello_v1.1.0_windows_amd64.zip"]
    assert sorted(path.name for path in project.to.iterdir()) == names
    with tarfile.open(project.to / names[1]) as archive:
        top = "hello_v1.1.0_linux_amd64"
        found = {member.name.removeprefix(f"{top}/"): member.mode for member in archive}
        one = archive.getmember(f"{top}/LICENSE")
        assert (one.mtime, one.uname, one.uid) == (1795316400, "root", 0)
    assert found == {"LICENSE": 0o644, "docs/a.md": 0o644, "hello": 0o755, "install.sh": 0o755, "worker": 0o755}
    with zipfile.ZipFile(project.to / names[2]) as zipped:
        inside = {entry.filename.partition("/")[2]: entry for entry in zipped.infolist()}
        assert sorted(inside) == ["LICENSE", "docs/a.md", "hello.exe", "install.sh", "worker.exe"]
        assert inside["hello.exe"].date_time == (2026, 11, 22, 3, 0, 0)
        assert inside["install.sh"].external_attr >> 16 == 0o100755


def test_sha256sum_accepts_the_folder_and_refuses_a_changed_archive(project: Project) -> None:
    assert project.archive() == 0
    check = ["sha256sum", "--strict", "-c", "checksums.txt"]
    assert subprocess.run(check, cwd=project.to, capture_output=True, check=False).returncode == 0
    (project.to / "hello_v1.1.0_windows_amd64.zip").write_bytes(b"other")
    assert subprocess.run(check, cwd=project.to, capture_output=True, check=False).returncode == 1


def test_the_same_version_gives_the_same_bytes_and_says_so(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.archive() == 0
    first = {path.name: path.read_bytes() for path in project.to.iterdir()}
    capsys.readouterr()
    assert project.archive("--json") == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)["files"]} == {"there already"}
    assert {path.name: path.read_bytes() for path in project.to.iterdir()} == first


def test_formats_and_names_are_the_services_choice(project: Project) -> None:
    project.say({"formats": ["tar.gz", "zip"], "name": "{os}-{arch}"}, binaries=())
    assert project.archive() == 0
    names = {f"{os}-amd64.{kind}" for os in ("linux", "windows") for kind in ("tar.gz", "zip")}
    assert {path.name for path in project.to.iterdir()} == names | {"checksums.txt"}
    with tarfile.open(project.to / "linux-amd64.tar.gz") as archive:
        assert archive.getnames() == ["linux-amd64/hello"]  # the data of today names no worker


def test_a_folder_that_collects_versions_keeps_their_sums(project: Project) -> None:
    project.to.mkdir()
    (project.to / "older.tar.gz").write_bytes(b"older")
    line = f"{hashlib.sha256(b'older').hexdigest()}  older.tar.gz"
    (project.to / "checksums.txt").write_text(f"{line}\n{'0' * 64}  gone.tar.gz\n")
    assert project.archive() == 0
    lines = (project.to / "checksums.txt").read_text().splitlines()
    assert line in lines and len(lines) == 3


@pytest.mark.parametrize(
    ("archives", "binaries", "said"),
    [
        ({}, ("worker", "third"), "hello v1.1.0 linux/amd64: third is not in the artifact store; build every binary"),
        ({"files": ["NOTICE"]}, ("worker",), "services.hello.archives.files[0]: NOTICE matches nothing in"),
        ({"name": "x"}, ("worker",), "archives.name: should have {os} and {arch}"),
    ],
)
def test_what_is_missing_is_one_line_and_leaves_no_archive(
    project: Project, capsys: pytest.CaptureFixture[str], archives: dict[str, Any], binaries: tuple[str, ...], said: str
) -> None:
    project.say(archives, binaries)
    assert project.archive() == 1
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    assert not project.to.exists() or not list(project.to.iterdir())


def test_a_binary_that_is_not_what_was_asked_for_is_not_packed(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project.built(go_version="1.28.0", version="v1.1.0")  # its bytes still say go1.27.0
    assert path.exists()
    newest = json.loads((path.parent / "manifest.json").read_text()) | {"built_at": "2027-01-01T00:00:00Z"}
    (path.parent / "manifest.json").write_text(json.dumps(newest))
    assert project.archive() == 1
    assert "was built by Go 1.27.0, should be Go 1.28.0" in capsys.readouterr().err


def test_binaries_of_two_commits_are_no_version(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.built("worker", "linux/arm64", commit="d" * 40)
    project.built("hello", "linux/arm64", commit="d" * 40)
    assert project.archive() == 1
    assert "its artifacts are of several commits" in capsys.readouterr().err


def test_a_service_without_data_is_refused(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.root / "group_data" / "services" / "hello.yml").unlink()
    assert project.archive() == 1
    assert "hello.yml: no such file, so its binaries are not known" in capsys.readouterr().err


def test_the_commit_of_the_archives_is_the_artifacts_not_todays(project: Project) -> None:
    commit(project.repo, "later", LICENSE="not free\n")
    assert run(project.repo, "rev-parse", "HEAD") != project.commit
    assert project.archive() == 0
    with tarfile.open(project.to / "hello_v1.1.0_linux_amd64.tar.gz") as archive:
        member = archive.extractfile("hello_v1.1.0_linux_amd64/LICENSE")
        assert member is not None and member.read() == b"free\n"
