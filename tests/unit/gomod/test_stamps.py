"""A stamped variable that the program does not have is told before the build, and nothing that is right is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gofallback.artifact.spec import BuildSpec
from gofallback.gobuild import plan
from gofallback.gomod.stamps import unused_stamps
from tests.unit.git.test_resolve import make, run
from tests.unit.gobuild.test_plan import service, source

FILES = {
    "main.go": "package main\n\nvar release = `none`\n\nfunc main() { println(release) }\n",
    "main_test.go": "package main\n\nvar versoin = 1\n",
    "cmd/tool/main.go": "package main\n\nvar version, commit string // conversion\n\nfunc main() {}\n",
    "cmd/tool/sub/x.go": "package sub\n\nvar deeper = ``\n",
    "mod/tool/main.go": "package main\n\nvar own string\n\nfunc main() {}\n",
}


@pytest.fixture(autouse=True)
def _own_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gitconfig").write_text(
        "[user]\n\tname = Lab\n\temail = lab@example.invalid\n"
        "[grep]\n\tlineNumber = true\n\tcolumn = true\n\tpatternType = perl\n[color]\n\tgrep = always\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return make(tmp_path / "repo", **FILES) / ".git"


def spec(mirror: Path, **build: Any) -> BuildSpec:
    found = source().model_copy(update={"commit": run(mirror, "rev-parse", "HEAD")})
    return plan.specs(service(**build), found, "1.26.6", ["linux/amd64"])[0]


@pytest.mark.parametrize(
    ("build", "found"),
    [
        ({"package": "./cmd/tool", "version_variable": "main.verison"}, ["main.verison"]),
        ({"package": "cmd/tool", "stamp": {"main.Commit": "{commit}", "main.version": "1"}}, ["main.Commit"]),
        ({"package": "./cmd/tool", "version_variable": "main.deeper"}, ["main.deeper"]),
        ({"package": "./cmd/tool", "version_variable": "main.sion"}, ["main.sion"]),
        ({"version_variable": "main.versoin"}, ["main.versoin"]),
        ({"directory": "mod", "package": "./tool", "version_variable": "main.version"}, ["main.version"]),
    ],
)
def test_a_variable_that_the_main_package_does_not_have_is_reported(
    mirror: Path, build: dict[str, Any], found: list[str]
) -> None:
    assert unused_stamps(mirror, spec(mirror, **build)) == found


@pytest.mark.parametrize(
    "build",
    [
        {"package": "./cmd/tool", "version_variable": "main.version", "stamp": {"main.commit": "{commit}"}},
        {"version_variable": "main.release"},
        {"directory": "mod", "package": "./tool", "version_variable": "main.own"},
        {"package": "./cmd/tool", "version_variable": "example.com/elsewhere/version.Version"},
        {"package": "./cmd/tool", "version_variable": "main.made", "generate": ["./..."]},
        {"package": "./cmd/submodule", "version_variable": "main.version"},
    ],
)
def test_nothing_is_reported_of_what_is_there_or_not_to_be_seen(mirror: Path, build: dict[str, Any]) -> None:
    assert unused_stamps(mirror, spec(mirror, **build)) == []


def test_a_mirror_that_cannot_be_read_is_no_reason_to_speak(tmp_path: Path, mirror: Path) -> None:
    wanted = spec(mirror, package="./cmd/tool", version_variable="main.verison")
    assert unused_stamps(tmp_path / "nowhere.git", wanted) == []
