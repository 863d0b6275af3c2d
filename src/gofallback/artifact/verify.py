"""Whether a binary is what its spec says, judged from its bytes alone, before any target changes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from gofallback.artifact.binary import BinaryInfo
from gofallback.artifact.buildinfo import BuildInfo
from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.artifact.glibc import version_tuple
from gofallback.artifact.spec import BuildSpec

#: OS ABIs Go's linker writes for a GOOS (cmd/link/internal/ld/elf.go: all but the BSDs and Solaris get System V).
_ELF_ABI: dict[str, tuple[str, ...]] = {
    "linux": ("System V", "Linux"),
    "android": ("System V", "Linux"),
    "dragonfly": ("System V",),
    "freebsd": ("FreeBSD",),
    "netbsd": ("NetBSD",),
    "openbsd": ("OpenBSD",),
    "solaris": ("Solaris",),
    "illumos": ("Solaris",),
}
_MACHO_ABI: dict[str, str] = {"darwin": "macOS", "ios": "iOS"}

#: Where CGO_ENABLED=0 makes a binary that needs no library; Darwin, OpenBSD and Solaris always go through libc.
STATIC_GOOS = frozenset({"linux", "freebsd", "netbsd", "dragonfly"})

_COMMIT = 40  # hex digits of a SHA-1; a key of other length (the agent's) is not a commit


def problems(info: BinaryInfo, spec: BuildSpec, *, sha256: str, size: int) -> list[str]:
    """Everything that is wrong with a binary: one line each with expectation and remedy.

    Args:
        info: of the file on the controller.
        spec: the binary that should be there.
        sha256: hash by the builder or the manifest.
        size: bytes by the builder or the manifest.
    """
    found = [*_transfer(info, sha256, size), *_shape(info, spec), *_linkage(info, spec)]
    if info.build is None:
        found.append(
            "has no Go build info: should be built by Go 1.18 or later; do not pack or post-process it (upx, strip)"
        )
    else:
        found += [*_toolchain(info.build, spec), *_commit(info.build, spec), *_flags(info.build, spec)]
    return [f"{spec.what} {spec.platform}: {line}" for line in found]


def _transfer(info: BinaryInfo, sha256: str, size: int) -> Iterator[str]:
    if info.size != size:
        yield f"has {info.size} bytes, should have {size}: cut off or changed on the way; run again"
    elif info.sha256 != sha256:
        yield f"has sha256 {info.sha256}, should have {sha256}: changed on the way; run again"


def _shape(info: BinaryInfo, spec: BuildSpec) -> Iterator[str]:
    expected = {"windows": "PE", "darwin": "Mach-O", "ios": "Mach-O"}.get(spec.goos, "ELF")
    rebuild = "check `platforms` and remove the artifact to build it again"
    if info.format != expected:
        yield f"is a {info.format} file, should be {expected}; {rebuild}"
        return
    if info.goarch != spec.goarch:
        got = info.goarch or "no architecture of Go"
        yield f"is for {got} ({info.bits} bit, machine {info.machine}), should be for {spec.goarch}; {rebuild}"
    if expected == "ELF":
        allowed = _ELF_ABI.get(spec.goos, ())
        if info.abi not in allowed:
            yield f"has the OS ABI {info.abi}, should have {' or '.join(allowed) or 'one Go writes'}; {rebuild}"
    elif expected == "PE" and info.abi != "Windows console":
        yield (
            f"is a program of the subsystem {info.abi}, should be Windows console; look for -H in -ldflags of GOFLAGS "
            "in build.environment"
        )
    elif expected == "Mach-O" and info.abi != _MACHO_ABI[spec.goos]:
        yield f"is for {info.abi}, should be for {_MACHO_ABI[spec.goos]}; {rebuild}"
    if info.kind not in ("executable", "position independent"):
        yield f"is no program but {info.kind}; should be an executable: let build.package name a main package"


def _linkage(info: BinaryInfo, spec: BuildSpec) -> Iterator[str]:
    if spec.linkage == "static" and spec.goos in STATIC_GOOS and not info.static:
        needs = ", ".join([*([info.interpreter] if info.interpreter else []), *info.needed])
        static = "cgo.libc: musl" if spec.cgo else "CGO_ENABLED=0"
        yield f"is dynamically linked (needs {needs}), should be static; set {static}, or linkage: dynamic"
    if spec.cgo and spec.linkage == "dynamic" and info.format == "ELF" and not info.static:
        yield from _libc(info, spec.cgo)
    if spec.strip and not info.stripped:
        yield "has symbols or DWARF, should be stripped (-s -w); look for -ldflags in GOFLAGS of build.environment"


def _libc(info: BinaryInfo, cgo: CgoSpec) -> Iterator[str]:
    """The C library should be that of the spec, and no newer."""
    if cgo.libc and (cgo.libc == "musl") != ("ld-musl" in info.interpreter):
        yield (
            f"is for the loader {info.interpreter or 'none'}, should be linked for {cgo.libc}; "
            "check build.cgo.ldflags and what the source asks of the linker"
        )
    elif cgo.glibc and info.glibc and version_tuple(info.glibc) > version_tuple(cgo.glibc):
        names = ", ".join(info.glibc_symbols[0][1][:3]) if info.glibc_symbols else "its symbols"
        yield (
            f"needs glibc {info.glibc} (GLIBC_{info.glibc}: {names}), was to be linked for {cgo.glibc}; "
            "look for another target or C library in build.cgo.cflags and ldflags"
        )


def _toolchain(build: BuildInfo, spec: BuildSpec) -> Iterator[str]:
    if build.release != spec.go_version:
        yield (
            f"was built by Go {build.release}, should be Go {spec.go_version}; "
            "check that the builder uses its pinned toolchain (GOTOOLCHAIN=local)"
        )
    platform = f"{build.settings.get('GOOS', '?')}/{build.settings.get('GOARCH', '?')}"
    if platform != spec.platform:
        yield f"was built for {platform}, should be for {spec.platform}; remove the artifact to build it again"


def _commit(build: BuildInfo, spec: BuildSpec) -> Iterator[str]:
    if len(spec.commit) != _COMMIT:
        return
    if not build.revision:
        yield (
            f"has no commit in it, should have {spec.commit}; Go finds it only in a git work tree with git in PATH; "
            "look for -buildvcs=false in GOFLAGS"
        )
        return
    if build.revision != spec.commit:
        yield f"was built from commit {build.revision}, should be {spec.commit}; remove the artifact to build it again"
    if build.settings.get("vcs.modified") != "false":
        yield (
            "was built from a changed work tree (vcs.modified=true), should be the commit alone; remove what the build "
            "writes into the tree, or add it to .gitignore"
        )


def _flags(build: BuildInfo, spec: BuildSpec) -> Iterator[str]:
    settings = build.settings
    look = "look for it in GOFLAGS of build.environment"
    if settings.get("-trimpath") != "true":
        yield f"was built without -trimpath, so it holds paths of the builder; {look}"
    tags, expected_tags = settings.get("-tags", ""), ",".join(spec.tags)
    if sorted(tags.split(",")) != sorted(expected_tags.split(",")):
        yield f"was built with the tags '{tags}', should be '{expected_tags}'; {look}"
    enabled = "0" if spec.cgo is None else "1"
    if (spec.cgo or spec.linkage == "static") and settings.get("CGO_ENABLED") != enabled:
        yield f"was built with CGO_ENABLED={settings.get('CGO_ENABLED', '?')}, should be {enabled}; {look}"
    for name, value in spec.environment:
        # Only variables that Go records: GOAMD64, GOARM, GOEXPERIMENT, GOFIPS140, ...
        if settings.get(name, value) != value:
            yield f"was built with {name}={settings[name]}, should be {value}; remove the artifact to build it again"
    # With -trimpath Go leaves -ldflags out (https://go.dev/issue/52372): compared only where they are recorded.
    ldflags = next((flag.partition("=")[2] for flag in spec.flags() if flag.startswith("-ldflags=")), "")
    if settings.get("-ldflags", ldflags) != ldflags:
        yield f"was built with other -ldflags than asked for; {look}"
    package = _main_package(build, spec)
    if package and build.path != package:
        yield f"is the program {build.path or '?'}, should be {package}; check build.package and build.directory"


def _main_package(build: BuildInfo, spec: BuildSpec) -> str:
    """Import path of the spec's package; empty where it cannot be known."""
    if not build.module or not spec.package.startswith("."):
        return ""
    return posixpath.normpath(posixpath.join(build.module, spec.package))
