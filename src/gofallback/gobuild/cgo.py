"""The C compiler of a cgo build: its spec from group data, and the variables of go made of that. Pure.

Quoting: go splits CC, CXX, AR and the CGO_ variables at blanks; a word with blanks stands in ' or ", and there are no
escapes (cmd/internal/quoted; `go help environment`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.artifact.glibc import version_tuple
from gofallback.builder.paths import join, os_of
from gofallback.errors import GofallbackError
from gofallback.model.cgo import Cgo

OLDEST_GLIBC = "2.28"
"""For a platform none of whose targets is known: glibc of Debian 10 and RHEL 8."""

#: GOARCH -> (architecture in Zig's triples, suffix of "gnu" and "musl" there, GNU's own triple as Debian has it).
#: Zig: `zig targets`, .libc (0.15.2); Go: internal/platform/zosarch.go (linux/ppc64 has no cgo); GNU:
#: `dpkg-architecture`. Every line was compiled with Zig 0.15.2 and Go 1.26.6, with both libraries. Zig takes none of
#: the MIPS, since it refuses the -mhard-float that go gives there ("has no LLVM CPU feature named 'hard-float'").
_ARCHES: dict[str, tuple[str, str, str]] = {
    "386": ("x86", "", "i686-linux-gnu"),
    "amd64": ("x86_64", "", "x86_64-linux-gnu"),
    "arm": ("arm", "eabihf", "arm-linux-gnueabihf"),
    "arm64": ("aarch64", "", "aarch64-linux-gnu"),
    "loong64": ("loongarch64", "", "loongarch64-linux-gnu"),
    "mips": ("", "", "mips-linux-gnu"),
    "mipsle": ("", "", "mipsel-linux-gnu"),
    "mips64": ("", "", "mips64-linux-gnuabi64"),
    "mips64le": ("", "", "mips64el-linux-gnuabi64"),
    "ppc64le": ("powerpc64le", "", "powerpc64le-linux-gnu"),
    "riscv64": ("riscv64", "", "riscv64-linux-gnu"),
    "s390x": ("s390x", "", "s390x-linux-gnu"),
}
#: glibc of the architecture's first release (https://sourceware.org/glibc/wiki/Glibc%20Timeline); the others are older.
_FIRST_GLIBC = {"arm64": "2.17", "ppc64le": "2.17", "riscv64": "2.27", "loong64": "2.36"}


#: Variables a login may have set that change what a C compiler finds (gcc(1), clang(1), zig(1), pkg-config(1)).
_UNSET = (
    "STRIP CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH LIBRARY_PATH GCC_EXEC_PREFIX COMPILER_PATH SOURCE_DATE_EPOCH "
    "ZIG_LIB_DIR ZIG_LIBC PKG_CONFIG_PATH PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR"
)


class CgoError(GofallbackError):
    """The C compiler cannot do the build; one line."""


@dataclass(frozen=True)
class CgoPaths:
    """Where compiler, caches and sysroot are on the builder."""

    cache: str
    """Folder of the caches."""
    zig: str = ""
    """``zig`` or ``zig.exe``; empty for GCC."""
    sysroot: str = ""
    """Folder of the sysroot; empty without one."""
    folders: frozenset[str] = frozenset()
    """Folders of the sysroot, such as ``usr/include``: a compiler warns of folders that are missing."""


def cgo_spec(
    cgo: Cgo,
    platform: str,
    linkage: str,
    *,
    where: str,
    zig: str | None,
    glibc: str | None,
    sysroot: str = "",
    environment: Mapping[str, str] | None = None,
) -> CgoSpec:
    """The C compiler's part of the build spec for one platform.

    Args:
        cgo: group data.
        platform: GOOS/GOARCH.
        linkage: ``static`` or ``dynamic``.
        where: key path of ``cgo``, for errors.
        zig: version that ``toolchain.zig`` names.
        glibc: oldest glibc among the targets that get the binary, such as 2.31; None: unknown.
        sysroot: SHA-256 of the sysroot, or empty.
        environment: ``build.environment``; GOARM decides the calling convention on arm.

    Raises:
        CgoError: the compiler cannot build for the platform; or there is no Zig.
    """
    goarch = _supported_arch(cgo, platform, where)
    spec = CgoSpec(
        compiler=cgo.compiler,
        version=cgo.version or "",
        cflags=tuple(cgo.cflags),
        cppflags=tuple(cgo.cppflags),
        cxxflags=tuple(cgo.cxxflags),
        ldflags=tuple(cgo.ldflags),
        pkg_config=cgo.pkg_config or "",
        pkg_config_path=tuple(cgo.pkg_config_path),
        sysroot=sysroot,
    )
    if cgo.compiler == "gcc":
        given = {"cc": cgo.cc, "cxx": cgo.cxx, "ar": cgo.ar, "strip": cgo.strip}
        triple = gnu_triple(platform)
        return spec.model_copy(update={name: (text or "").replace("{triple}", triple) for name, text in given.items()})
    if zig is None:
        raise CgoError(
            f"{where}: compiler is zig, but no Zig is pinned; set toolchain.zig and add its pins (tool: zig) in "
            "group_data/builders.py, or set compiler: gcc with cc"
        )
    libc = cgo.libc_for(linkage) or "gnu"
    target = zig_target(goarch, libc, _glibc(cgo, goarch, glibc, where) if libc == "gnu" else "", environment or {})
    return spec.model_copy(update={"version": zig, "target": target})


def _supported_arch(cgo: Cgo, platform: str, where: str) -> str:
    """GOARCH of a platform that the compiler can build for."""
    goos, _, goarch = platform.partition("/")
    supported = [name for name, (arch, *_) in sorted(_ARCHES.items()) if arch or cgo.compiler == "gcc"]
    if goos != "linux" or goarch not in supported:
        raise CgoError(
            f"{where}: compiler {cgo.compiler} builds for Linux on {', '.join(supported)}, not for {platform}; "
            "remove the platform, or make it a service of its own without cgo"
        )
    return goarch


def _glibc(cgo: Cgo, goarch: str, oldest: str | None, where: str) -> str:
    first = _FIRST_GLIBC.get(goarch, "0")
    if cgo.glibc != "auto":
        if version_tuple(cgo.glibc) < version_tuple(first):
            raise CgoError(
                f'{where}.glibc: "{cgo.glibc}", but the first glibc for {goarch} is {first}; '
                f'set glibc: "{first}" or later'
            )
        return cgo.glibc
    return max(".".join(map(str, version_tuple(oldest or OLDEST_GLIBC)[:2])), first, key=version_tuple)


def oldest_glibc(versions: Iterable[str]) -> str | None:
    """The oldest of the targets' versions (``2.31``, ``2.36-9+deb12``); None where no version is known."""
    known = [version for version in versions if version_tuple(version)]
    return min(known, key=version_tuple, default=None)


def zig_target(goarch: str, libc: str, glibc: str, environment: Mapping[str, str]) -> str:
    """Zig's triple, such as ``x86_64-linux-gnu.2.31``.

    Args:
        goarch: an architecture that `cgo_spec` supports.
        libc: ``gnu`` or ``musl``.
        glibc: version appended to the triple; empty for musl.
        environment: GOARM (5, or with ``,softfloat``) chooses software floating point.
    """
    arch, suffix, _ = _ARCHES[goarch]
    arm = environment.get("GOARM", "")
    if goarch == "arm" and (arm.startswith("5") or "softfloat" in arm):
        suffix = suffix.removesuffix("hf")
    return f"{arch}-linux-{libc}{suffix}" + (f".{glibc}" if glibc else "")


def gnu_triple(platform: str) -> str:
    """GNU's triple, as in the names of cross compilers and of Debian's library folders."""
    return _ARCHES[platform.partition("/")[2]][2]


def variables(
    cgo: CgoSpec, paths: CgoPaths, platform: str, *, native: bool = False, strip: bool = True
) -> dict[str, str]:
    """The environment of go for a build with C.

    Args:
        cgo: the C compiler's part of the build spec.
        paths: on the builder.
        platform: GOOS/GOARCH.
        native: build for the builder itself (``go test`` runs there): no target, no sysroot. Zig only.
        strip: the compiler makes no debug information.
    """
    sysroot = "" if native else paths.sysroot
    extra = _sysroot_flags(cgo, sysroot, platform, paths.folders)
    # With "-g" behind Go's "-s", Zig keeps symbols; Go's own default is "-O2 -g" for all three.
    base = ["-O2"] if strip else ["-O2", "-g"]
    mapped = [f"-ffile-prefix-map={sysroot}=/sysroot"] if sysroot else []

    def flags(given: Sequence[str]) -> str:
        return join_words([*base, *mapped, *_with_sysroot(given, sysroot)])

    own = {
        **dict.fromkeys(_UNSET.split(), ""),
        "CGO_ENABLED": "1",
        **_programs(cgo, paths, native),
        "CGO_CFLAGS": flags(cgo.cflags),
        "CGO_CPPFLAGS": join_words([*_with_sysroot(cgo.cppflags, sysroot), *extra.headers]),
        "CGO_CXXFLAGS": flags(cgo.cxxflags),
        "CGO_LDFLAGS": join_words([*base, *_with_sysroot(cgo.ldflags, sysroot), *extra.libraries]),
    }
    return own | _pkg_config(cgo, paths, sysroot, platform)


def _programs(cgo: CgoSpec, paths: CgoPaths, native: bool) -> dict[str, str]:
    if cgo.compiler == "gcc":
        programs = {"CC": cgo.cc, "CXX": cgo.cxx, "AR": cgo.ar, "STRIP": cgo.strip}
        return {name: join_words([program]) for name, program in programs.items() if program}
    target = [] if native else ["-target", cgo.target]
    cache = join(paths.cache, "zig")
    return {
        "CC": join_words([paths.zig, "cc", *target]),
        "CXX": join_words([paths.zig, "c++", *target]),
        "AR": join_words([paths.zig, "ar"]),
        "ZIG_GLOBAL_CACHE_DIR": cache,
        "ZIG_LOCAL_CACHE_DIR": cache,
    }


@dataclass(frozen=True)
class _Flags:
    headers: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


def _sysroot_flags(cgo: CgoSpec, sysroot: str, platform: str, folders: frozenset[str]) -> _Flags:
    """Zig has libc's headers and libraries itself, so the sysroot's come last; a GCC takes them from the sysroot."""
    if not sysroot:
        return _Flags()
    triple = gnu_triple(platform)
    if cgo.compiler == "gcc":
        # Without -B GCC prefers crt1.o and libraries beside its own over those of the sysroot (gcc(1), -B).
        prefixes = [name for name in (f"usr/lib/{triple}", "usr/lib64", "usr/lib") if name in folders]
        root = f"--sysroot={sysroot}"
        return _Flags((root,), (root, *(f"-B{join(sysroot, name)}" for name in prefixes)))
    headers = ("usr/local/include", f"usr/include/{triple}", "usr/include")
    libraries = ("usr/local/lib", f"usr/lib/{triple}", f"lib/{triple}", "usr/lib64", "usr/lib", "lib64", "lib")
    search = [word for name in headers if name in folders for word in ("-idirafter", join(sysroot, name))]
    return _Flags(tuple(search), tuple("-L" + join(sysroot, name) for name in libraries if name in folders))


def _pkg_config(cgo: CgoSpec, paths: CgoPaths, sysroot: str, platform: str) -> dict[str, str]:
    own = {"PKG_CONFIG": cgo.pkg_config} if cgo.pkg_config else {}
    between = ":" if os_of(paths.cache) == "linux" else ";"
    if cgo.pkg_config_path:
        own["PKG_CONFIG_PATH"] = between.join(_with_sysroot(cgo.pkg_config_path, sysroot))
    if sysroot:
        folders = (f"usr/lib/{gnu_triple(platform)}", "usr/lib64", "usr/lib", "usr/share")
        own["PKG_CONFIG_SYSROOT_DIR"] = sysroot
        # Not PATH: the builder's own .pc files describe the builder's libraries.
        own["PKG_CONFIG_LIBDIR"] = between.join(join(sysroot, name, "pkgconfig") for name in folders)
    return own


def _with_sysroot(flags: Iterable[str], sysroot: str) -> list[str]:
    return [flag.replace("{sysroot}", sysroot) for flag in flags]


def join_words(words: Iterable[str]) -> str:
    """Words in one text, quoted so that go splits them into the same words.

    Raises:
        CgoError: a word has both kinds of quotes.
    """
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if word and not re.search(r"[ \t\r\n'\"]", word):
        return word
    mark = '"' if "'" in word else "'"
    if mark in word:
        raise CgoError(f"{word}: should not hold both kinds of quotes; go has no way to pass that on")
    return f"{mark}{word}{mark}"
