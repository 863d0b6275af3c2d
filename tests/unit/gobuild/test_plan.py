"""What is built, with which flags, in which environment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gofallback.artifact.spec import BuildSpec
from gofallback.builder.git_config import GIT_CONFIG
from gofallback.gobuild import plan
from gofallback.gobuild.environment import git_environment, go_environment
from gofallback.model import Builder, Service
from gofallback.source.model import ResolvedSource

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT, GOROOT, GIT = r"C:\gofallback", r"C:\gofallback\toolchains\go1.26.6", r"C:\gofallback\toolchains\git-2.45.2\cmd"


def service(**build: Any) -> Service:
    return Service.model_validate(
        {
            "name": "hello",
            "source": {"repository": "/srv/hello.git"},
            "build": build,
            "health": {"check": {"type": "tcp", "address": "127.0.0.1:8080"}},
        }
    )


def source() -> ResolvedSource:
    when = datetime(2026, 11, 22, tzinfo=UTC)
    return ResolvedSource(
        service="hello",
        repository="/srv/hello.git",
        ref="main",
        commit=COMMIT,
        version="v1.2.0-3-g0123456",
        commit_time=when,
        mirror=Path("/srv/mirrors/hello.git"),
        fetched_at=when,
        age=0.0,
    )


def spec(platform: str = "linux/amd64", **build: Any) -> BuildSpec:
    return plan.specs(service(**build), source(), "1.26.6", [platform])[0]


def test_platforms_of_targets_and_of_group_data_are_built_once_each() -> None:
    built = plan.specs(
        service(platforms=["windows/386", "linux/arm64"]), source(), "1.26.6", ["linux/amd64", "linux/arm64"]
    )
    assert [one.platform for one in built] == ["linux/amd64", "linux/arm64", "windows/386"]
    assert [one.file_name for one in built] == ["hello", "hello", "hello.exe"]
    assert len({one.key for one in built}) == 3


def test_version_and_commit_are_stamped() -> None:
    stamped = spec(
        version_variable="main.version", stamp={"main.commit": "{commit}", "main.label": "built by {version}!"}
    )
    assert stamped.stamp == (
        ("main.commit", COMMIT),
        ("main.label", "built by v1.2.0-3-g0123456!"),
        ("main.version", "v1.2.0-3-g0123456"),
    )
    ldflags = next(flag for flag in stamped.flags() if flag.startswith("-ldflags="))
    assert f"-X=main.commit={COMMIT}" in ldflags
    assert "'-X=main.label=built by v1.2.0-3-g0123456!'" in ldflags


def test_stamped_value_with_a_quote_is_quoted_the_other_way() -> None:
    flags = spec(stamp={"main.a": "it's here", "main.b": 'say "x"'}).flags()
    assert '''"-X=main.a=it's here"''' in flags[1]
    assert """'-X=main.b=say "x"'""" in flags[1]
    with pytest.raises(ValueError, match="both kinds of quotes"):
        spec(stamp={"main.a": """it's "x" """}).flags()


def test_build_command_for_windows() -> None:
    built = spec("windows/386", package="cmd/hello", tags=["b", "a"], modules="vendor")
    assert plan.build_argv(built, GOROOT + r"\bin\go.exe", r"C:\gofallback\tmp\x\hello.exe") == [
        GOROOT + r"\bin\go.exe",
        "build",
        "-mod=vendor",
        "-buildvcs=true",
        "-trimpath",
        "-ldflags=-s -w -buildid=",
        "-tags=a,b",
        "-o",
        r"C:\gofallback\tmp\x\hello.exe",
        "./cmd/hello",
    ]


def test_go_version_of_a_service_wins_over_the_builders() -> None:
    assert spec(go="1.27.3").go_version == "1.27.3"
    assert spec().go_version == "1.26.6"


def test_environment_lets_nothing_of_the_windows_user_through() -> None:
    environment = go_environment(spec("linux/arm64"), ROOT, GOROOT, GIT)
    assert environment["GOROOT"] == GOROOT
    assert (environment["GOOS"], environment["GOARCH"], environment["CGO_ENABLED"]) == ("linux", "arm64", "0")
    assert (environment["GOTOOLCHAIN"], environment["GOENV"]) == ("local", "off")
    assert (
        environment["GOFLAGS"] == environment["GOEXPERIMENT"] == environment["GOAMD64"] == environment["GIT_DIR"] == ""
    )
    assert environment["PATH"].split(";")[:2] == [GIT, GOROOT + r"\bin"]
    for name in ("GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOPATH"):
        assert environment[name].startswith(ROOT + r"\cache\ "[:-1])
    assert environment["TEMP"] == environment["TMP"] == ROOT + r"\tmp"


def test_what_group_data_gives_reaches_go_and_the_builders_proxy_too() -> None:
    built = spec(environment={"GOPRIVATE": "git.example.com", "GOFLAGS": "-v", "GOAMD64": "v2"})
    builder = Builder(environment={"HTTPS_PROXY": "http://proxy:3128", "GOPROXY": "https://goproxy.example.com"})
    environment = go_environment(built, ROOT, GOROOT, GIT, builder=builder)
    assert environment["GOPRIVATE"] == "git.example.com"
    assert environment["GOAMD64"] == "v2"
    assert environment["GOFLAGS"] == "-v"
    assert environment["HTTPS_PROXY"] == "http://proxy:3128"
    assert environment["GOPROXY"] == "https://goproxy.example.com"
    assert built.key != spec().key


def test_tests_run_for_the_builder_itself() -> None:
    environment = go_environment(spec("linux/arm64"), ROOT, GOROOT, GIT, native=True)
    assert environment["GOOS"] == environment["GOARCH"] == ""


def test_agent_is_named_by_its_sources_and_not_stamped_from_git() -> None:
    digest = "ab" * 32
    agent = plan.agent_spec("1.26.6", "linux/amd64", digest)
    assert agent.commit == digest
    assert "-buildvcs=false" in plan.build_argv(agent, "go.exe", "x")
    assert agent.key != plan.agent_spec("1.26.6", "linux/arm64", digest).key
    assert agent.key != plan.agent_spec("1.26.6", "linux/amd64", "cd" * 32).key


def test_environment_on_linux_has_the_same_rules_and_posix_paths() -> None:
    root = "/home/builder/gofallback"
    home, git = f"{root}/toolchains/go1.26.6", f"{root}/toolchains/git-2.39.5/bin"
    environment = go_environment(spec("linux/arm64"), root, home, git)
    windows = go_environment(spec("linux/arm64"), ROOT, GOROOT, GIT)
    assert environment["PATH"] == f"{git}:{home}/bin:/usr/local/bin:/usr/bin:/bin"
    assert environment["TMPDIR"] == f"{root}/tmp"
    assert environment["GOCACHE"] == f"{root}/cache/gocache"
    assert environment["GIT_EXEC_PATH"] == f"{root}/toolchains/git-2.39.5/libexec/git-core"
    assert not any("\\" in value for value in environment.values())
    own = {"GOROOT", "PATH", "TMPDIR", "TEMP", "TMP", "GIT_EXEC_PATH", "GIT_TEMPLATE_DIR", "GIT_CONFIG_GLOBAL"}
    own |= {"GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOPATH"}
    assert {n: v for n, v in environment.items() if n not in own} == {n: v for n, v in windows.items() if n not in own}


def test_a_git_of_the_machine_finds_its_parts_itself() -> None:
    assert git_environment("/home/builder/gofallback", "/usr/bin/git")["GIT_EXEC_PATH"] == "", "not the login's"


def test_keys_of_today_never_change() -> None:
    # What is built has its key on builders, in the store and in provenance: no new field may change a key that was.
    assert spec().key == "0036274aba7eb00d57ae5e46d1c647249b9500e42c0b688301253e029486e1ac"
    assert (
        plan.agent_spec("1.26.6", "linux/amd64", "ab" * 32).key
        == "2536d3541679c2257440875b025edf84493ae352354fb2aeac7c12a3342c4ef5"
    )


def test_a_later_field_counts_in_the_key_only_when_it_is_set() -> None:
    class Later(BuildSpec):
        new: str = "as ever"

    fields = spec().model_dump()
    assert Later(**fields).key == spec().key
    assert Later(**fields, new="other").key != spec().key


def test_git_settings_of_group_data_count_and_those_of_a_login_do_not() -> None:
    settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.lowSpeedTime", "GIT_CONFIG_VALUE_0": "9"}
    environment = go_environment(spec(environment=settings), ROOT, GOROOT, GIT)
    assert settings.items() <= environment.items()
    assert go_environment(spec(), ROOT, GOROOT, GIT)["GIT_CONFIG_COUNT"] == "", "not set, whatever the login has"


def test_git_on_the_builder_reads_our_settings_only() -> None:
    environment = git_environment(ROOT)
    assert environment["GIT_CONFIG_NOSYSTEM"] == "1"
    assert environment["GIT_CONFIG_GLOBAL"].startswith(ROOT + "\\gitconfig-")
    assert "autocrlf = false" in GIT_CONFIG
    assert "eol = lf" in GIT_CONFIG


def test_with_live_output_go_names_each_package_and_nothing_else_changes() -> None:
    agent = plan.agent_spec("1.26.6", "linux/amd64", "0" * 64)
    quiet, live = (plan.build_argv(agent, "go.exe", "x", live=verbose) for verbose in (False, True))
    assert [word for word in live if word != "-v"] == quiet and "-v" in live and "-v" not in quiet
