"""cgo: what group data may say, what the C compiler is told, and what of it decides the bytes."""

from __future__ import annotations

import pytest

from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.artifact.spec import BuildSpec
from gofallback.deploys.provision import ProvisionError, only, required_pins
from gofallback.gobuild import plan
from gofallback.gobuild.cgo import CgoError, CgoPaths, cgo_spec, join_words, oldest_glibc, variables, zig_target
from gofallback.gobuild.environment import go_environment
from gofallback.model import DataError, parse_fleet
from gofallback.model.cgo import Cgo
from gofallback.windows.quoting import command_line

ROOT = "/home/builder/gofallback"
ZIG = f"{ROOT}/toolchains/zig-0.15.2/zig"
C_VARIABLES = {
    *("CGO_ENABLED", "CC", "CXX", "AR", "STRIP", "CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_LDFLAGS"),
    *("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR", "PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR"),
    "PKG_CONFIG_SYSROOT_DIR",
}
PINS = [
    {"tool": tool, "version": version, "url": f"https://example.com/{tool}.zip", "sha256": "a" * 64}
    for tool, version in (("go", "1.26.6"), ("git", "2.45.2"), ("zig", "0.15.2"))
]


def service(**build: object) -> dict[str, object]:
    return {
        "name": "ledger",
        "source": {"repository": "/srv/git/ledger.git"},
        "build": build,
        "health": {"check": {"type": "tcp", "address": "127.0.0.1:8080"}},
    }


def parse(toolchain: dict[str, object] | None = None, **build: object) -> Cgo:
    data: dict[str, object] = {"services": [service(**build)]}
    if toolchain is not None:
        data["toolchain"] = toolchain
    cgo = parse_fleet(data).services["ledger"].build.cgo
    assert cgo is not None
    return cgo


def refusal(toolchain: dict[str, object] | None = None, **build: object) -> str:
    with pytest.raises(DataError) as caught:
        parse(toolchain, **build)
    return str(caught.value)


def asked(cgo: Cgo, platform: str = "linux/amd64", linkage: str = "dynamic", **more: object) -> CgoSpec:
    given: dict[str, object] = {"where": "services.ledger.build.cgo", "zig": "0.15.2", "glibc": "2.31", **more}
    return cgo_spec(cgo, platform, linkage, **given)  # type: ignore[arg-type]


def spec(cgo: CgoSpec | None, linkage: str = "static") -> BuildSpec:
    return BuildSpec(
        service="hello",
        platform="linux/amd64",
        go_version="1.26.6",
        commit="a" * 40,
        version="v1.0.0",
        package=".",
        directory=".",
        binary="hello",
        linkage=linkage,
        cgo=cgo,
    )


def test_nothing_but_braces_is_zig_with_its_defaults() -> None:
    cgo = parse(cgo={})
    assert (cgo.compiler, cgo.libc_for("static"), cgo.libc_for("dynamic")) == ("zig", "musl", "gnu")


@pytest.mark.parametrize(
    ("build", "said"),
    [
        ({"cgo": {"compiler": "gcc"}}, "compiler gcc needs cc"),
        ({"cgo": {"cc": "gcc"}}, "cc is for a cross GCC, compiler is zig"),
        ({"cgo": {"libc": "gnu"}}, "libc gnu with linkage static"),
        ({"cgo": {"glibc": "2.31"}}, "with linkage static, which is musl"),
        ({"cgo": {"libc": "musl", "glibc": "2.31"}, "linkage": "dynamic"}, 'glibc "2.31" with libc musl'),
        ({"cgo": {"compiler": "gcc", "cc": "gcc", "glibc": "2.31"}}, "glibc is for zig"),
        ({"cgo": {"compiler": "gcc", "cc": "gcc"}, "test": True}, "which a cross compiler does not build for"),
        ({"cgo": {"sysroot": "https://example.com/x.tar"}}, "should be a path on the controller"),
        ({"cgo": {"glibc": 2.31}, "linkage": "dynamic"}, "put it in quotes"),
        ({"cgo": {"glibc": "newest"}, "linkage": "dynamic"}, "should be auto, or a version of glibc"),
        ({"cgo": {"ldflag": ["-lm"]}}, "ldflags"),
        ({"cgo": {}, "environment": {"CGO_LDFLAGS": "-lm"}}, "belongs in build.cgo"),
    ],
)
def test_a_contradiction_is_one_line_that_names_its_key(build: dict[str, object], said: str) -> None:
    line = refusal(**build)
    assert said in line
    assert line.startswith("services.ledger.build")
    assert "group_data/services/ledger.yml" in line
    assert "\n" not in line


def test_flags_that_only_permit_something_stay_with_the_environment() -> None:
    parse(cgo={}, environment={"CGO_CFLAGS_ALLOW": "-fno-.*"})


def test_zig_without_a_pin_is_refused_before_anything_runs() -> None:
    pins = [pin for pin in PINS if pin["tool"] != "zig"]
    line = refusal({"go": "1.26.6", "git": "2.45.2", "pins": pins}, cgo={})
    assert "services.ledger.build.cgo" in line
    assert "toolchain.zig" in line
    parse({"go": "1.26.6", "git": "2.45.2", "zig": "0.15.2", "pins": PINS}, cgo={})


@pytest.mark.parametrize(
    ("goarch", "environment", "gnu", "musl"),
    [
        ("amd64", {}, "x86_64-linux-gnu.2.31", "x86_64-linux-musl"),
        ("386", {}, "x86-linux-gnu.2.31", "x86-linux-musl"),
        ("arm64", {}, "aarch64-linux-gnu.2.31", "aarch64-linux-musl"),
        ("arm", {}, "arm-linux-gnueabihf.2.31", "arm-linux-musleabihf"),
        ("arm", {"GOARM": "6"}, "arm-linux-gnueabihf.2.31", "arm-linux-musleabihf"),
        ("arm", {"GOARM": "5"}, "arm-linux-gnueabi.2.31", "arm-linux-musleabi"),
        ("arm", {"GOARM": "7,softfloat"}, "arm-linux-gnueabi.2.31", "arm-linux-musleabi"),
        ("ppc64le", {}, "powerpc64le-linux-gnu.2.31", "powerpc64le-linux-musl"),
        ("riscv64", {}, "riscv64-linux-gnu.2.31", "riscv64-linux-musl"),
        ("s390x", {}, "s390x-linux-gnu.2.31", "s390x-linux-musl"),
        ("loong64", {}, "loongarch64-linux-gnu.2.31", "loongarch64-linux-musl"),
    ],
)
def test_zigs_triple_for_a_platform(goarch: str, environment: dict[str, str], gnu: str, musl: str) -> None:
    assert zig_target(goarch, "gnu", "2.31", environment) == gnu
    assert zig_target(goarch, "musl", "", environment) == musl


@pytest.mark.parametrize("platform", ["linux/mips", "linux/ppc64", "darwin/arm64", "windows/amd64"])
def test_a_platform_zig_cannot_build_for_is_refused(platform: str) -> None:
    with pytest.raises(CgoError, match=rf"services\.ledger\.build\.cgo: .*not for {platform}"):
        asked(Cgo(), platform)


def test_the_oldest_glibc_of_the_targets_decides() -> None:
    assert oldest_glibc(["2.36", "2.31-13+deb11u11", "2.41", ""]) == "2.31-13+deb11u11"
    assert asked(Cgo(), glibc="2.31-13+deb11u11").target == "x86_64-linux-gnu.2.31"
    assert asked(Cgo(), glibc="2.9").target == "x86_64-linux-gnu.2.9"
    assert oldest_glibc([""]) is None
    assert asked(Cgo(), glibc=None).target == "x86_64-linux-gnu.2.28"


def test_a_pinned_glibc_wins_and_an_architecture_has_a_first_one() -> None:
    assert asked(Cgo(glibc="2.17")).target == "x86_64-linux-gnu.2.17"
    assert asked(Cgo(), "linux/loong64").target == "loongarch64-linux-gnu.2.36"
    with pytest.raises(CgoError, match=r"the first glibc for loong64 is 2\.36"):
        asked(Cgo(glibc="2.31"), "linux/loong64")


def test_static_is_musl_and_knows_no_glibc() -> None:
    made = asked(Cgo(), linkage="static")
    assert (made.target, made.libc, made.glibc) == ("x86_64-linux-musl", "musl", "")


def test_no_zig_is_said_with_the_remedy() -> None:
    with pytest.raises(CgoError, match=r"no Zig is pinned; set toolchain\.zig"):
        asked(Cgo(), zig=None)


def test_what_go_gets_for_zig() -> None:
    made = variables(asked(Cgo(ldflags=["-lm"])), CgoPaths(f"{ROOT}/cache", ZIG), "linux/amd64")
    assert made["CGO_ENABLED"] == "1"
    assert made["CC"] == f"{ZIG} cc -target x86_64-linux-gnu.2.31"
    assert made["CXX"] == f"{ZIG} c++ -target x86_64-linux-gnu.2.31"
    assert made["AR"] == f"{ZIG} ar"
    assert made["CGO_CFLAGS"] == "-O2"
    assert made["CGO_LDFLAGS"] == "-O2 -lm"
    assert made["ZIG_GLOBAL_CACHE_DIR"] == made["ZIG_LOCAL_CACHE_DIR"] == f"{ROOT}/cache/zig"
    assert made["CPATH"] == ""


def test_what_go_gets_for_zig_on_windows() -> None:
    home = "C:\\go fallback"
    paths = CgoPaths(f"{home}\\cache", f"{home}\\toolchains\\zig-0.15.2\\zig.exe", f"{home}\\s", frozenset({"usr/lib"}))
    made = variables(asked(Cgo(sysroot="x"), sysroot="b" * 64), paths, "linux/amd64")
    assert made["CC"] == f"'{home}\\toolchains\\zig-0.15.2\\zig.exe' cc -target x86_64-linux-gnu.2.31"
    assert made["CGO_LDFLAGS"] == f"-O2 '-L{home}\\s\\usr\\lib'"
    assert made["PKG_CONFIG_LIBDIR"].startswith(f"{home}\\s\\usr\\lib\\x86_64-linux-gnu\\pkgconfig;")


def test_a_sysroots_headers_come_after_zigs_own_and_its_path_is_not_in_the_binary() -> None:
    folders = frozenset({"usr", "usr/include", "usr/lib", "usr/lib/x86_64-linux-gnu"})
    paths = CgoPaths(f"{ROOT}/cache", ZIG, "/s", folders)
    cgo = asked(Cgo(cflags=["-DX=1", "-I{sysroot}/opt/include"]), sysroot="b" * 64)
    made = variables(cgo, paths, "linux/amd64")
    assert made["CGO_CFLAGS"] == "-O2 -ffile-prefix-map=/s=/sysroot -DX=1 -I/s/opt/include"
    assert made["CGO_CPPFLAGS"] == "-idirafter /s/usr/include"
    assert made["CGO_LDFLAGS"] == "-O2 -L/s/usr/lib/x86_64-linux-gnu -L/s/usr/lib"
    assert made["PKG_CONFIG_SYSROOT_DIR"] == "/s"


def test_what_go_gets_for_a_cross_gcc() -> None:
    cgo = Cgo(compiler="gcc", cc="{triple}-gcc", cxx="{triple}-g++", ar="{triple}-ar", strip="{triple}-strip")
    made = variables(
        asked(cgo, "linux/arm64", sysroot="b" * 64), CgoPaths(f"{ROOT}/cache", sysroot="/s"), "linux/arm64"
    )
    assert made["CC"] == "aarch64-linux-gnu-gcc"
    assert made["STRIP"] == "aarch64-linux-gnu-strip"
    assert made["CGO_CPPFLAGS"] == "--sysroot=/s"
    assert made["CGO_LDFLAGS"] == "-O2 --sysroot=/s"
    folders = frozenset({"usr/lib", "usr/lib/aarch64-linux-gnu", "lib"})
    told = variables(
        asked(cgo, "linux/arm64", sysroot="b" * 64), CgoPaths("/c", sysroot="/s", folders=folders), "linux/arm64"
    )
    # else a GCC takes the libraries beside its own before those of the sysroot
    assert told["CGO_LDFLAGS"] == "-O2 --sysroot=/s -B/s/usr/lib/aarch64-linux-gnu -B/s/usr/lib"
    assert "ZIG_LOCAL_CACHE_DIR" not in made


def test_tests_on_the_builder_itself_get_no_target_and_no_sysroot() -> None:
    paths = CgoPaths(f"{ROOT}/cache", ZIG, "/s", frozenset({"usr/include"}))
    made = variables(asked(Cgo(), sysroot="b" * 64), paths, "linux/amd64", native=True)
    assert made["CC"] == f"{ZIG} cc"
    assert "/s" not in made["CGO_CPPFLAGS"]


def test_symbols_are_asked_for_only_where_they_are_kept() -> None:
    assert variables(asked(Cgo()), CgoPaths("/c", ZIG), "linux/amd64", strip=False)["CGO_CFLAGS"] == "-O2 -g"


def test_words_are_quoted_as_go_takes_them_apart() -> None:
    assert join_words(["cc", "a b", "it's", ""]) == "cc 'a b' \"it's\" ''"
    with pytest.raises(CgoError, match="both kinds of quotes"):
        join_words(["a'b\"c"])


def test_the_c_compiler_links_whatever_go_would_choose() -> None:
    assert "-linkmode=external -extldflags=-static" in spec(asked(Cgo(), linkage="static")).flags()[1]
    assert "-linkmode=external" in spec(asked(Cgo()), "dynamic").flags()[1]
    assert "-extldflags" not in spec(asked(Cgo()), "dynamic").flags()[1]
    assert "-extldflags=-dynamic" in spec(asked(Cgo(libc="musl")), "dynamic").flags()[1]
    assert "-linkmode" not in spec(None).flags()[1]


def test_the_whole_command_and_environment_of_a_build_on_windows() -> None:
    root = "C:\\gofallback"
    made = spec(asked(Cgo(sysroot="x"), sysroot="b" * 64), "dynamic")
    argv = plan.build_argv(made, f"{root}\\toolchains\\go1.26.6\\bin\\go.exe", f"{root}\\tmp\\hello")
    assert command_line(argv) == (
        "C:\\gofallback\\toolchains\\go1.26.6\\bin\\go.exe build "
        '"-buildvcs=true" -trimpath "-ldflags=-s -w -buildid= -linkmode=external" -o C:\\gofallback\\tmp\\hello .'
    )
    there = f"{root}\\cache\\sysroots\\{'b' * 64}"
    folders = frozenset({"usr/include", "usr/lib/x86_64-linux-gnu"})
    told = go_environment(made, root, f"{root}\\toolchains\\go1.26.6", "", sysroot=there, sysroot_folders=folders)
    zig = f"{root}\\toolchains\\zig-0.15.2\\zig.exe"
    c = {name: value for name, value in told.items() if value and name in C_VARIABLES}
    assert c == {
        "CGO_ENABLED": "1",
        "CC": f"{zig} cc -target x86_64-linux-gnu.2.31",
        "CXX": f"{zig} c++ -target x86_64-linux-gnu.2.31",
        "AR": f"{zig} ar",
        "CGO_CFLAGS": f"-O2 -ffile-prefix-map={there}=/sysroot",
        "CGO_CPPFLAGS": f"-idirafter {there}\\usr\\include",
        "CGO_CXXFLAGS": f"-O2 -ffile-prefix-map={there}=/sysroot",
        "CGO_LDFLAGS": f"-O2 -L{there}\\usr\\lib\\x86_64-linux-gnu",
        "ZIG_GLOBAL_CACHE_DIR": f"{root}\\cache\\zig",
        "ZIG_LOCAL_CACHE_DIR": f"{root}\\cache\\zig",
        "PKG_CONFIG_SYSROOT_DIR": there,
        "PKG_CONFIG_LIBDIR": ";".join(
            f"{there}\\usr\\{name}\\pkgconfig" for name in ("lib\\x86_64-linux-gnu", "lib64", "lib", "share")
        ),
    }
    assert (told["GOOS"], told["GOARCH"]) == ("linux", "amd64")


def test_a_build_without_c_gets_none_of_it() -> None:
    told = go_environment(spec(None), ROOT, f"{ROOT}/toolchains/go1.26.6", "/usr/bin")
    assert {name: value for name, value in told.items() if value and name in C_VARIABLES} == {"CGO_ENABLED": "0"}


def test_a_builder_gets_zig_only_where_a_service_needs_it() -> None:
    table = {"go": "1.26.6", "git": "2.45.2", "zig": "0.15.2", "pins": PINS}

    def tools(**build: object) -> list[str]:
        return [
            pin.tool
            for pin in required_pins(parse_fleet({"services": [service(**build)], "toolchain": table}), "amd64")
        ]

    assert tools(cgo={}) == ["go", "git", "zig"]
    assert tools() == tools(cgo={"compiler": "gcc", "cc": "gcc"}) == ["go", "git"]


def test_a_builder_gets_each_zig_that_built_what_runs_in_production() -> None:
    older = {"tool": "zig", "version": "0.14.1", "url": "https://example.com/zig-0.14.1.zip", "sha256": "b" * 64}
    table = {"go": "1.26.6", "git": "2.45.2", "zig": "0.15.2", "pins": [*PINS, older]}

    def versions(ran: str, **build: object) -> list[str]:
        fleet = parse_fleet({"services": [service(**build)], "toolchain": table})
        return [pin.version for pin in required_pins(fleet, "amd64", older=[("go", "1.26.6"), ("zig", ran)])]

    assert versions("0.14.1", cgo={}) == ["1.26.6", "2.45.2", "0.15.2", "0.14.1"]
    assert versions("0.15.2", cgo={}) == ["1.26.6", "2.45.2", "0.15.2"]
    assert versions("0.14.1") == ["1.26.6", "2.45.2", "0.14.1"]  # the service had C, and has none today
    with pytest.raises(
        ProvisionError, match=r"what runs in production: zig 0\.13\.0 has no pin for windows/amd64; pinned: 0\.15"
    ):
        versions("0.13.0", cgo={})


def test_a_spec_without_c_keeps_the_key_it_had_before_there_was_cgo() -> None:
    assert spec(None).key == "65d181a5ab7dff98bd7d5333332466c3b8a5c5de5d4dc6e0afe6b5421885ca16"


def test_whatever_decides_the_bytes_is_in_the_key() -> None:
    cases = [
        None,
        asked(Cgo()),
        asked(Cgo(), zig="0.16.0"),
        asked(Cgo(), glibc="2.36"),
        asked(Cgo(cflags=["-DX"])),
        asked(Cgo(ldflags=["-lm"])),
        asked(Cgo(sysroot="x"), sysroot="b" * 64),
        asked(Cgo(sysroot="x"), sysroot="c" * 64),
        asked(Cgo(compiler="gcc", cc="gcc")),
        asked(Cgo(compiler="gcc", cc="gcc", version="12.2.0")),
    ]
    assert len({spec(one).key for one in cases}) == len(cases)


def test_a_run_for_one_service_waits_for_no_zig_of_another_one() -> None:
    table = {"go": "1.26.6", "git": "2.45.2", "zig": "0.15.2", "pins": PINS}
    plain = service() | {"name": "plain", "port": 8099}
    fleet = parse_fleet({"services": [service(cgo={}), plain], "toolchain": table})
    assert "zig" in [pin.tool for pin in required_pins(only(fleet, []), "amd64")]
    assert "zig" not in [pin.tool for pin in required_pins(only(fleet, ["plain"]), "amd64")]
