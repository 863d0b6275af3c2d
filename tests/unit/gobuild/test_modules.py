"""Which way a commit's modules go, what go is told, and what its complaints mean."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gofallback.git import git_command
from gofallback.gobuild.build_failure import classify as build_failure
from gofallback.gobuild.module_failure import classify
from gofallback.gobuild.modules import (
    ModuleFiles,
    Modules,
    Sum,
    builder_environment,
    choose_source,
    file_url,
    h1,
    parse_sums,
    proxy_name,
    receipt,
)
from gofallback.gomod.credentials import ModuleSecretError, handles
from gofallback.gomod.download import ModuleFile, verify
from gofallback.model import DataError, parse_fleet
from gofallback.model.modules import PrivateModules
from gofallback.operations.modules import read_listing
from gofallback.redact import redact
from tests.unit.services import MINIMAL

GO_MOD = b"module example.test/app\n\ngo 1.24.1\n\nrequire git.example.test/dep v1.0.0\n"
GO_SUM = b"git.example.test/dep v1.0.0 h1:aaaa=\ngit.example.test/dep v1.0.0/go.mod h1:bbbb=\n"
NOBODY = PrivateModules()


def files(directory: str = "", vendored: tuple[str, ...] = (), **content: bytes) -> ModuleFiles:
    named = {name.replace("__", "/").replace("_", "."): text for name, text in content.items()}
    return ModuleFiles(directory, named, frozenset(vendored))


def needing(**more: Any) -> ModuleFiles:
    return files(go_mod=GO_MOD, go_sum=GO_SUM, **more)


def test_auto_takes_vendor_where_there_is_one() -> None:
    assert choose_source("auto", needing(vendored=("",)), NOBODY, [], controller_can=True) == "vendor"
    assert choose_source("auto", needing(vendored=("tools",)), NOBODY, [], controller_can=True) == "controller"


def test_auto_brings_nothing_where_nothing_is_needed() -> None:
    assert choose_source("auto", files(go_mod=b"module m\n\ngo 1.26\n"), NOBODY, [], controller_can=True) == "none"


def test_auto_lets_the_controller_bring_modules_if_it_has_a_go() -> None:
    assert choose_source("auto", needing(), NOBODY, [{}], controller_can=True) == "controller"
    assert choose_source("auto", needing(), NOBODY, [{}], controller_can=False) == "download"


def test_auto_keeps_to_the_proxy_that_data_names_for_the_builder() -> None:
    where = [{"GOPROXY": "file:///C:/proxy"}]
    assert choose_source("auto", needing(), NOBODY, where, controller_can=True) == "download"


def test_private_modules_are_never_left_to_the_builder_by_auto() -> None:
    private = PrivateModules(patterns=["git.example.test/*"])
    assert choose_source("auto", needing(), private, [], controller_can=False) == "controller"


def test_a_login_is_used_whatever_proxy_the_builder_has() -> None:
    login = {"host": "git.example.test", "token": {"env": "TOKEN"}}
    private = PrivateModules.model_validate({"logins": [login]})
    where = [{"GOPROXY": "https://proxy.example.test"}]
    assert choose_source("auto", needing(), private, where, controller_can=True) == "controller"


def test_what_data_says_is_done() -> None:
    assert choose_source("download", needing(vendored=("",)), NOBODY, [], controller_can=True) == "download"
    assert choose_source("controller", needing(vendored=("",)), NOBODY, [], controller_can=False) == "controller"
    assert choose_source("vendor", needing(), NOBODY, [], controller_can=True) == "vendor"


def test_the_nearest_workspace_of_the_commit_counts() -> None:
    two = files("services/app", go_work=b"go 1.26\nuse ./services/app\n", services__app__go_mod=GO_MOD)
    assert two.workspace == "go.work"
    assert two.go == "1.26"
    inner = files("a/b", go_work=b"go 1.20\n", a__go_work=b"go 1.22\n", a__b__go_mod=b"module m\ngo 1.9\n")
    assert inner.workspace == "a/go.work"
    assert files("a", go_mod=GO_MOD).workspace is None


def test_vendor_of_a_workspace_lies_beside_go_work() -> None:
    assert files("app", vendored=("",), go_work=b"go 1.22\n", app__go_mod=GO_MOD).vendor
    assert not files("app", vendored=("app",), go_work=b"go 1.22\n", app__go_mod=GO_MOD).vendor
    assert files("app", vendored=("app",), app__go_mod=GO_MOD).vendor


def test_sums_of_every_module_of_the_commit_count() -> None:
    both = files(go_sum=GO_SUM, lib__go_sum=b"x.test/y v0.1.0 h1:c=\n", go_work_sum=b"z.test/z v2.0.0/go.mod h1:d=\n")
    assert {(one.path, one.gomod) for one in both.sums} == {
        ("git.example.test/dep", False),
        ("git.example.test/dep", True),
        ("x.test/y", False),
        ("z.test/z", True),
    }


def test_lines_that_are_no_sums_are_left_out() -> None:
    text = "\nnonsense\na.test/b v1.0.0\nc.test/d v1.0.0/go.mod h1:x=\ne.test/f v1.0.0 h2:y=\n"
    assert parse_sums(text) == {Sum("c.test/d", "v1.0.0", True, "h1:x=")}


@pytest.mark.parametrize(
    "words",
    [
        "c.test/d v1/../../../../../home/me/project/go/go.mod",
        "c.test/d ../../../secret/go.mod",
        "../../../etc v1.0.0/go.mod",
        "c.test/../../x v1.0.0",
        "/etc/x v1.0.0",
        "c.test\\..\\x v1.0.0",
    ],
)
def test_a_sum_of_a_repository_names_no_file_outside_of_the_cache(words: str) -> None:
    assert parse_sums(f"{words} h1:x=\n") == set()


def test_names_that_modules_have_are_all_read() -> None:
    text = "gopkg.in/yaml.v3 v3.0.1 h1:x=\ngithub.com/A-b/c_d~e v2.0.0+incompatible/go.mod h1:y=\n"
    text += "golang.org/x/sys v0.0.0-20220715151400-c0bba94af5f8 h1:z=\n"
    assert len(parse_sums(text)) == 3


def test_equal_module_files_need_equal_modules_and_others_do_not() -> None:
    assert needing().digest == needing().digest
    assert needing().digest != files(go_mod=GO_MOD, go_sum=GO_SUM + b"x").digest
    assert needing().digest != needing(directory="app").digest


def test_capital_letters_are_escaped_as_a_proxy_wants_it() -> None:
    name = proxy_name("github.com/BurntSushi/toml", "v1.0.0-RC1", "zip")
    assert name == "github.com/!burnt!sushi/toml/@v/v1.0.0-!r!c1.zip"


@pytest.mark.parametrize(
    ("folder", "url"),
    [
        ("C:\\gofallback\\cache\\modproxy", "file:///C:/gofallback/cache/modproxy"),
        ("D:\\go fallback\\cache\\modproxy", "file:///D:/go%20fallback/cache/modproxy"),
        ("/opt/gofallback/cache/modproxy", "file:///opt/gofallback/cache/modproxy"),
        ("/srv/a%b", "file:///srv/a%25b"),
    ],
)
def test_folder_as_address(folder: str, url: str) -> None:
    assert file_url(folder) == url


def test_the_builder_may_ask_nobody_but_the_folder_of_files() -> None:
    private = PrivateModules(patterns=["git.example.test/*"], proxy="https://proxy.example.test")
    told = builder_environment("controller", private, "C:\\g\\cache\\modproxy")
    assert told["GOPROXY"] == "file:///C:/g/cache/modproxy,off"
    assert told["GOPRIVATE"] == ""
    assert told["GOVCS"] == "*:off"
    assert "GOFLAGS" not in told


def test_a_downloading_builder_is_told_what_is_private() -> None:
    private = PrivateModules(patterns=["a.test/*", "b.test"], no_sumdb=[], proxy="https://p.test", vcs="private:git")
    assert builder_environment("download", private, "C:\\x") == {
        "GOPRIVATE": "a.test/*,b.test",
        "GONOSUMDB": "none",
        "GOPROXY": "https://p.test",
        "GOVCS": "private:git",
    }


def test_hash_of_a_go_mod_is_the_one_go_writes() -> None:
    digest = hashlib.sha256(b"module example.test/dep\n\ngo 1.26\n").digest()
    assert h1({"go.mod": digest}) == GO_MOD_HASH


GO_MOD_HASH = "h1:5YtvFqzgy6nQY7CLxou7Ixyix1DkRkD+4/d512iqgPY="


def test_receipt_depends_on_names_and_sizes_only() -> None:
    assert receipt([("b", 2), ("a", 1)]) == receipt([("a", 1), ("b", 2)])
    assert receipt([("a", 1)]) != receipt([("a", 2)])


def test_a_damaged_file_of_the_cache_is_found_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "v1.0.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m@v1.0.0/m.go", "package m\n")
    good = h1({"m@v1.0.0/m.go": hashlib.sha256(b"package m\n").digest()})
    assert verify(ModuleFile("m/@v/v1.0.0.zip", path, path.stat().st_size, good))
    (tmp_path / "v1.0.0.ziphash").write_text(good)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"package m", b"package x"))
    assert not verify(ModuleFile("m/@v/v1.0.0.zip", path, path.stat().st_size, good))
    assert list(tmp_path.iterdir()) == []


def refused(**build: Any) -> str:
    with pytest.raises(DataError) as error:
        parse_fleet({"services": [MINIMAL | {"build": build}]})
    assert "\n" not in str(error.value)
    return str(error.value)


def refused_not(**build: Any) -> bool:
    return bool(parse_fleet({"services": [MINIMAL | {"build": build}]}))


def test_mod_mod_is_refused_as_nothing_would_be_verified() -> None:
    text = refused(environment={"GOFLAGS": "-trimpath -mod=mod"})
    assert "go.sum" in text
    assert "go mod tidy" in text


def test_auto_leaves_another_go_mod_to_the_builder() -> None:
    where = [{"GOFLAGS": "-modfile=other.mod"}]
    assert choose_source("auto", needing(), NOBODY, where, controller_can=True) == "download"


@pytest.mark.parametrize(
    "way", [{"modules": "controller"}, {"private": {"logins": [{"host": "git.example.com", "token": {"env": "T"}}]}}]
)
def test_another_go_mod_is_refused_where_the_controller_brings_what_the_usual_one_names(way: dict[str, Any]) -> None:
    for flag in ("-modfile=other.mod", "-trimpath --modfile=x.mod"):
        assert "does not work with -modfile in GOFLAGS" in refused(environment={"GOFLAGS": flag}, **way)
    assert refused_not(environment={"GOFLAGS": "-modfile=other.mod"}, modules="download")


def test_a_decided_way_is_on_the_command_line_where_it_wins_over_goflags() -> None:
    assert Modules("controller").flags == Modules("download").flags == Modules("none").flags == ["-mod=readonly"]
    assert Modules("vendor").flags == ["-mod=vendor"]
    assert Modules().flags == []


def test_a_mismatch_of_what_the_controller_sent_is_the_builders_doing() -> None:
    found = build_failure(SAID["mismatch"][0], 1, False)
    assert "moved the version's tag" in Modules("download").with_remedy(found).remedy
    assert "do not use that builder" in Modules("controller").with_remedy(found).remedy


#: As go 1.26.6 says them of files of a proxy that are zeros, have one other bit, or are gone.
DAMAGED = [
    "go: downloading example.com/zero v1.0.0\nmain.go:3:8: zip: not a valid zip file",
    "go: downloading example.com/flip v1.0.0\nmain.go:3:8: zip: checksum error",
    "go: downloading example.com/gone v1.0.0\nmain.go:3:8: module lookup disabled by GOPROXY=off",
]


@pytest.mark.parametrize("said", DAMAGED)
def test_a_module_that_is_damaged_on_the_builder_is_no_mistake_in_the_source(said: str) -> None:
    found = build_failure(said, 1, False)
    assert found.kind == "dependency" and "correct it in the source" not in found.remedy
    assert Modules("controller").suspects_sent_files(found) and not Modules("download").suspects_sent_files(found)
    assert "cache/modproxy" in Modules("controller").with_remedy(found).remedy


def test_a_mistake_in_the_source_sends_no_module_again() -> None:
    for said in ("main.go:3:15: undefined: x", "main.go:3:8: missing go.sum entry for module providing package a.b/c"):
        assert not Modules("controller").suspects_sent_files(build_failure(said, 1, False))


#: As go 1.26.6 says it of a folder beside the commit, or of a submodule that is not brought.
OUTSIDE = [
    "main.go:3:8: example.com/out@v1.0.0: replacement directory ../../elsewhere/out does not exist",
    "go: example.com/out@v1.0.0 (replaced by ../../elsewhere/out): reading ../../elsewhere/out/go.mod: "
    "open /home/elsewhere/out/go.mod: no such file or directory",
    "go: cannot load module ../elsewhere/lib listed in go.work file: open ../elsewhere/lib/go.mod: no such file or "
    "directory",
]


@pytest.mark.parametrize("said", OUTSIDE)
def test_a_folder_that_is_not_in_the_commit_is_told_on_both_sides(said: str) -> None:
    for found in (build_failure(said, 1, False), classify(said)):
        assert found.cause.startswith("go.mod (`replace`) or go.work leads to a folder that is not in the commit")
        assert "put that module into the repository" in found.remedy and "source.submodules: true" in found.remedy


def test_a_variable_with_a_secret_is_kept_from_every_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SECRET_OF_A_LOGIN", "x")
    assert "LAB_SECRET_OF_A_LOGIN" in git_command.environment()
    git_command.withhold(["LAB_SECRET_OF_A_LOGIN"])
    assert "LAB_SECRET_OF_A_LOGIN" not in git_command.environment()


def test_what_a_builder_lists_is_read_by_name() -> None:
    windows = ["@end", "12 C:\\G\\cache\\modproxy\\a.test\\!b\\@v\\v1.0.0.zip", "7 D:\\other", "x C:\\G\\cache"]
    assert read_listing(windows, "C:\\g\\cache\\modproxy") == {"a.test/!b/@v/v1.0.0.zip": 12}
    assert read_listing(["3 /g/cache/modproxy/a/@v/list"], "/g/cache/modproxy") == {"a/@v/list": 3}


def test_a_credential_never_goes_with_a_way_that_runs_on_the_builder() -> None:
    login = {"host": "git.example.test", "token": {"env": "TOKEN"}}
    text = refused(modules="download", private={"logins": [login]})
    assert "a credential never gets to a builder" in text
    assert "controller" in text


def test_what_is_said_twice_is_refused() -> None:
    text = refused(private={"patterns": ["a.test"]}, environment={"GOPRIVATE": "b.test"})
    assert "GOPRIVATE is set in build.private and in build.environment" in text
    login = {"host": "git.example.test", "token": {"env": "TOKEN"}}
    assert "git.example.test has two entries; remove one" in refused(private={"logins": [login, login]})


def test_a_password_in_an_address_is_refused() -> None:
    text = refused(private={"proxy": "https://me:hunter2222@proxy.example.test"})
    assert "logins" in text
    assert "hunter2222" not in text


def login_of(environment: dict[str, str]) -> dict[str, str]:
    private = PrivateModules.model_validate({"logins": [{"host": "git.example.test", "token": {"env": "TOKEN"}}]})
    with handles(private.logins, environment, environment) as given:
        return dict(given.environment)


def test_the_environment_of_a_login_holds_no_secret() -> None:
    told = login_of({"TOKEN": "glorious-token-1", "GIT_CONFIG_COUNT": "1", "GOAUTH": "git /srv"})
    assert "glorious-token-1" not in str(told)
    assert told["GIT_CONFIG_COUNT"] == "3"
    assert told["GIT_CONFIG_KEY_1"] == told["GIT_CONFIG_KEY_2"] == "credential.https://git.example.test.helper"
    assert told["GIT_CONFIG_VALUE_1"] == ""
    assert told["GOAUTH"].startswith("git /srv; ")
    assert "glorious-token-1" not in redact("fatal: glorious-token-1")


def test_a_login_without_its_secret_is_told_before_anything_runs() -> None:
    with pytest.raises(ModuleSecretError, match=r"git\.example\.test: environment variable TOKEN"):
        login_of({})


SAID = {
    "mismatch": (
        "verifying git.example.test/dep@v1.0.0: checksum mismatch\n\tdownloaded: h1:one=\n\tgo.sum:     h1:two=\n\n"
        "SECURITY ERROR\nThis download does NOT match an earlier download recorded in go.sum.\n",
        "git.example.test/dep@v1.0.0 is not the code that go.sum names (it has h1:one=, go.sum says h1:two=)",
        "moved the version's tag",
    ),
    "unsummed": (
        "go: git.example.test/dep@v1.0.0: missing go.sum entry for go.mod file; to add it:\n\tgo mod download ...",
        "go.sum lacks an entry: go: git.example.test/dep@v1.0.0: missing go.sum entry for go.mod file",
        "go mod tidy",
    ),
    "missing": (
        "go: git.example.test/dep@v1.9.0: invalid version: unknown revision v1.9.0",
        "not found: go: git.example.test/dep@v1.9.0",
        "push the missing version",
    ),
    "credential": (
        "go: git.example.test/dep@v1.0.0: git ls-remote -q origin: exit status 128:\n"
        "\tfatal: could not read Username for 'https://git.example.test': terminal prompts disabled",
        "no credential for git.example.test/dep@v1.0.0",
        "build.private.logins",
    ),
    "toolchain": (
        "go: go.mod requires go >= 1.99 (running go 1.26.6; GOTOOLCHAIN=local)",
        "needs Go 1.99, the controller has 1.26.6",
        "os: linux in toolchain.pins",
    ),
    "network": (
        'go: git.example.test/dep@v1.0.0: Get "https://proxy.test/x": dial tcp 10.0.0.1:443: connection refused',
        "git.example.test/dep@v1.0.0 cannot be downloaded",
        "build.private.proxy",
    ),
    "disk": (
        "go: git.example.test/dep@v1.0.0: write /h/x.zip: no space left on device",
        "disk is full",
        "/home/of/it",
    ),
    "offline": (
        "go: git.example.test/dep@v1.0.0: module lookup disabled by GOPROXY=off",
        "git.example.test/dep@v1.0.0 is not in the controller's cache",
        "source_offline",
    ),
    "unknown": ("go: something new\n", "go: something new", "go mod download"),
}


@pytest.mark.parametrize("kind", SAID)
def test_what_go_says_on_the_controller_gets_a_cause_and_a_remedy(kind: str) -> None:
    text, cause, remedy = SAID[kind]
    failure = classify(text, home="/home/of/it")
    assert "to add it" not in failure.cause  # go's own advice is cut off, ours stands behind
    assert failure.kind == kind
    assert cause in failure.cause
    assert remedy in failure.remedy
    assert "\n" not in failure.cause + failure.remedy


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "network",
            'Get "https://localhost/x/@v/v1.0.0.mod": tls: failed to verify certificate: x509: unknown authority',
        ),
        ("network", 'unrecognized import path "a.test/b": https fetch: Get "https://a.test/b?go-get=1": Bad Gateway'),
        ("network", "reading https://proxy.test/a.test/b/@v/v1.0.0.mod: 502 Bad Gateway"),
        ("network", "fatal: unable to access 'https://a.test/b/': CONNECT tunnel failed, response 502"),
        ("network", "ssh: connect to host a.test port 22: Network is unreachable"),
        ("missing", "reading https://proxy.test/a.test/b/@v/v1.0.0.mod: 410 Gone"),
        ("credential", "reading https://proxy.test/a.test/b/@v/v1.0.0.mod: 401 Unauthorized"),
        ("unsummed", "updates to go.mod needed; to update it:\n\tgo mod tidy"),
    ],
)
def test_more_of_what_go_and_git_print_on_the_controller(kind: str, text: str) -> None:
    assert classify(f"go: a.test/b@v1.0.0: {text}").kind == kind


def test_a_refused_token_is_told_with_the_place_it_comes_from() -> None:
    text = "go: git.example.test/dep@v1.0.0: fatal: Authentication failed for 'https://git.example.test/dep/'"
    failure = classify(text, logins="build.private.logins git.example.test")
    assert "refuses the credential for git.example.test/dep@v1.0.0" in failure.cause
    assert "renew it where build.private.logins git.example.test names it" in failure.remedy


def test_a_private_module_that_a_public_proxy_was_asked_for() -> None:
    text = (
        "go: git.example.test/dep@v1.0.0: reading https://proxy.test/git.example.test/dep/@v/v1.0.0.mod: "
        "404 Not Found\n"
        "\tserver response: not found: fatal: could not read Username: terminal prompts disabled"
    )
    failure = classify(text)
    assert failure.kind == "missing"
    assert "build.private.patterns" in failure.remedy


def test_a_mismatch_is_never_answered_with_an_emptied_cache() -> None:
    assert "clean" not in classify(SAID["mismatch"][0]).remedy
