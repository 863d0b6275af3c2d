"""What C compilers and linkers print when a build fails, as a table: Zig (clang, LLD) and GCC (GNU as, ld). Pure."""

from __future__ import annotations

from gofallback.gobuild.failure import Rule


def _rule(pattern: str, cause: str, remedy: str) -> Rule:
    return Rule("cgo", pattern, remedy, cause)


#: The texts are those of Zig 0.15.2, GCC 12 and 14, and pkg-config 1.8, as Go 1.26.6 prints them.
CGO_RULES: tuple[Rule, ...] = (
    _rule(
        r"cgo: C compiler \"[^\"]+\" not found|exec: \"[^\"]*(?:zig|gcc|g\+\+|clang|cc)[^\"]*\": executable file not",
        "there is no C compiler on the builder where it should be: {0}",
        "correct build.cgo.cc (a name in PATH, or a path on the builder); Zig is installed by the stage `provision`, "
        "from the pin of toolchain.zig",
    ),
    _rule(
        r"fatal error: cannot execute '([\w.+-]+)'",
        "the GCC on the builder lacks a part of its own, {1}: {0}",
        "install its assembler and linker there (Debian: binutils; for a cross GCC binutils-<triple>), or name another "
        "one in build.cgo.cc",
    ),
    _rule(
        r"checking cache failed: |unable to find zig self exe path|unable to create compilation: ",
        "Zig cannot work on the builder: {0}",
        "its cache is cache/zig below builder.root: it should be on a local disk that the login may write to; under "
        "Wine Zig compiles nothing",
    ),
    _rule(
        r"undefined reference: (\S+?)@GLIBC_([\d.]+)",
        "a library of the sysroot needs glibc {2} ({1}), newer than what the program is linked for",
        "take that library from a system as old as the oldest target, or raise build.cgo.glibc (then older targets are "
        "refused)",
    ),
    _rule(
        r"unable to find (?:dynamic |static )?(?:system )?library |ld: cannot find -l",
        "the linker finds no library for the target: {0}",
        "put the library (lib<name>.so or lib<name>.a, of the target's architecture) into build.cgo.sysroot below "
        "usr/lib, or correct build.cgo.ldflags (docs/cgo.md)",
    ),
    _rule(
        r"fatal error: '?([^':]+\.(?:h|hh|hpp|hxx|inc))'?(?: file not found|: No such file or directory)",
        "the C compiler does not find the header {1}: {0}",
        "put it into build.cgo.sysroot below usr/include, or name its folder in build.cgo.cflags (-I) (docs/cgo.md)",
    ),
    _rule(
        r"Package '?([^\s']+?)'?,? was not found in the pkg-config search path",
        "pkg-config knows no package {1}",
        "put its .pc file into build.cgo.sysroot below usr/lib/pkgconfig, or name its folder in "
        "build.cgo.pkg_config_path",
    ),
    _rule(
        r"exec: \"([^\"]*pkg-?conf[^\"]*)\": ",
        "the source asks for pkg-config, which is not on the builder: {0}",
        "name the program in build.cgo.pkg_config, or give its answers as build.cgo.cflags and build.cgo.ldflags",
    ),
    _rule(
        r"invalid flag in #cgo (\w+): (\S+)",
        "go does not let a source ask for the flag {2} (#cgo {1})",
        "move it to build.cgo (cflags, ldflags: not restricted), or set build.environment CGO_CFLAGS_ALLOW or "
        "CGO_LDFLAGS_ALLOW",
    ),
    _rule(
        r"unrecognized command-line option |Unknown Clang option: ",
        "the C compiler does not take a flag for this target: {0}",
        "correct build.cgo.cflags and build.cgo.ldflags; flags of GCC alone (-m..., -Wl,...) need "
        "build.cgo.compiler: gcc",
    ),
    _rule(
        r"unknown architecture: '|gcc_\w+\.S:\d+: Error: ",
        "the C compiler, or a library, is for another architecture: {0}",
        "name the cross compiler of the platform (build.cgo.cc, with {triple}), and give a sysroot of that "
        "architecture (build.cgo.sysroot, with {platform})",
    ),
    _rule(
        r"libc of the specified target requires dynamic linking",
        "glibc can only be linked dynamically: {0}",
        "set build.linkage: dynamic, or build.cgo.libc: musl",
    ),
    _rule(
        r"ld\.lld: error: undefined symbol: (\S+)",
        "{1} is in none of the libraries",
        "name its library in build.cgo.ldflags; a static program is linked with musl, for which libraries made for "
        "glibc are no use: give a sysroot made for musl, or set build.linkage: dynamic (docs/cgo.md)",
    ),
)
