"""Where a commit's modules come from, the settings of go for them, and failures of sent modules."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from gofallback.gobuild.build_failure import classify as build_failure
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
from gofallback.model.modules import PrivateModules
from gofallback.operations.modules import read_listing
from tests.unit.gobuild.test_module_failure import OUTPUTS

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


def test_the_builder_reads_only_the_folder_of_files() -> None:
    private = PrivateModules(patterns=["git.example.test/*"], proxy="https://proxy.example.test")
    environment = builder_environment("controller", private, "C:\\g\\cache\\modproxy")
    assert environment["GOPROXY"] == "file:///C:/g/cache/modproxy,off"
    assert environment["GOPRIVATE"] == ""
    assert environment["GOVCS"] == "*:off"
    assert "GOFLAGS" not in environment


def test_a_downloading_builder_gets_the_private_patterns() -> None:
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


def test_auto_leaves_another_go_mod_to_the_builder() -> None:
    where = [{"GOFLAGS": "-modfile=other.mod"}]
    assert choose_source("auto", needing(), NOBODY, where, controller_can=True) == "download"


def test_a_chosen_source_is_on_the_command_line_where_it_wins_over_goflags() -> None:
    assert Modules("controller").flags == Modules("download").flags == Modules("none").flags == ["-mod=readonly"]
    assert Modules("vendor").flags == ["-mod=vendor"]
    assert Modules().flags == []


def test_a_mismatch_of_what_the_controller_sent_is_the_builders_doing() -> None:
    found = build_failure(OUTPUTS["mismatch"][0], 1, False)
    assert "moved the version's tag" in Modules("download").with_remedy(found).remedy
    assert "do not use that builder" in Modules("controller").with_remedy(found).remedy


#: Output of go 1.26.6 about files of a proxy that are zeros, have one other bit, or are gone.
DAMAGED = [
    "go: downloading example.com/zero v1.0.0\nmain.go:3:8: zip: not a valid zip file",
    "go: downloading example.com/flip v1.0.0\nmain.go:3:8: zip: checksum error",
    "go: downloading example.com/gone v1.0.0\nmain.go:3:8: module lookup disabled by GOPROXY=off",
]


@pytest.mark.parametrize("output", DAMAGED)
def test_a_module_that_is_damaged_on_the_builder_is_no_mistake_in_the_source(output: str) -> None:
    found = build_failure(output, 1, False)
    assert found.kind == "dependency" and "correct it in the source" not in found.remedy
    assert Modules("controller").suspects_sent_files(found) and not Modules("download").suspects_sent_files(found)
    assert "cache/modproxy" in Modules("controller").with_remedy(found).remedy


def test_a_mistake_in_the_source_sends_no_module_again() -> None:
    for output in (
        "main.go:3:15: undefined: x",
        "main.go:3:8: missing go.sum entry for module providing package a.b/c",
    ):
        assert not Modules("controller").suspects_sent_files(build_failure(output, 1, False))


def test_what_a_builder_lists_is_read_by_name() -> None:
    windows = ["@end", "12 C:\\G\\cache\\modproxy\\a.test\\!b\\@v\\v1.0.0.zip", "7 D:\\other", "x C:\\G\\cache"]
    assert read_listing(windows, "C:\\g\\cache\\modproxy") == {"a.test/!b/@v/v1.0.0.zip": 12}
    assert read_listing(["3 /g/cache/modproxy/a/@v/list"], "/g/cache/modproxy") == {"a/@v/list": 3}
