"""Why two builds of one program differ, by their headers and build info: causes, each with its remedy. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gofallback.artifact.binary import BinaryInfo
from gofallback.artifact.buildinfo import BuildInfo
from gofallback.model.base import Strict

_MOST = 3
_LONGEST = 120

#: Settings that other findings cover.
_COVERED = frozenset({"vcs", "vcs.revision", "vcs.time", "vcs.modified", "-trimpath", "GOOS", "GOARCH", "CGO_ENABLED"})


class Finding(Strict):
    """One reason of a difference."""

    kind: str
    """Such as ``go``, ``commit``, ``setting``, ``line ends``; for programs."""
    text: str
    """The difference, with the value of each side."""
    remedy: str
    """Empty where none is known."""

    def line(self) -> str:
        """Text and remedy in one line."""
        return f"{self.text}; {self.remedy}" if self.remedy else self.text


def causes(one: BinaryInfo, other: BinaryInfo, names: tuple[str, str]) -> Iterator[Finding]:
    """Differences that are causes, the strongest first."""
    a, b = names
    kinds = [f"{info.format} for {info.goarch or info.machine}" for info in (one, other)]
    if kinds[0] != kinds[1]:
        yield Finding(
            kind="platform",
            text=f"other platforms: {a} has {kinds[0]}, {b} {kinds[1]}",
            remedy="compare like with like",
        )
        return
    if one.build is None or other.build is None:
        if (one.build is None) != (other.build is None):
            yield Finding(
                kind="build info",
                text=f"{a if one.build is None else b} has no Go build info: packed, or post-processed after the build",
                remedy="do not run upx or strip over what Go built",
            )
        return
    yield from _toolchain(one.build, other.build, names)
    yield from _commit(one.build, other.build, names)
    yield from _program(one.build, other.build, names)
    yield from _settings(one.build, other.build, names)
    yield from _linking(one, other, names)


def _toolchain(one: BuildInfo, other: BuildInfo, names: tuple[str, str]) -> Iterator[Finding]:
    if one.go_version != other.go_version:
        yield Finding(
            kind="go",
            text=_each("Go", one.go_version.removeprefix("go"), other.go_version.removeprefix("go"), names),
            remedy="pin one version (toolchain.go, services.<name>.build.go) and let both builders use it",
        )


def _commit(one: BuildInfo, other: BuildInfo, names: tuple[str, str]) -> Iterator[Finding]:
    a, b = one.settings, other.settings
    if one.revision != other.revision:
        yield Finding(
            kind="commit",
            text=_each("commit", one.revision[:12] or "none", other.revision[:12] or "none", names),
            remedy="build the same commit; without one git was missing, or -buildvcs=false was set",
        )
    elif a.get("vcs.time") != b.get("vcs.time"):
        yield Finding(
            kind="commit",
            text=_each("time of the commit", a.get("vcs.time"), b.get("vcs.time"), names),
            remedy="one of them stamped it by other means than git",
        )
    changed = [name for name, info in zip(names, (a, b), strict=True) if info.get("vcs.modified") == "true"]
    if len(changed) == 1:
        yield Finding(
            kind="modified",
            text=f"the work tree of {changed[0]} held changes (vcs.modified=true)",
            remedy="look for CRLF line ends (core.autocrlf), generated files and files that are not in .gitignore",
        )


def _program(one: BuildInfo, other: BuildInfo, names: tuple[str, str]) -> Iterator[Finding]:
    if (one.path, one.module) != (other.path, other.module):
        yield Finding(
            kind="program",
            text=_each("program", one.path, other.path, names),
            remedy="check build.package and build.directory",
        )
    elif one.module_version != other.module_version and one.revision == other.revision:
        yield Finding(
            kind="module version",
            text=_each(f"version of {one.module}", one.module_version, other.module_version, names),
            remedy="Go takes it from the tags of the checkout: one has a tag more, a shallow history, or local changes",
        )
    mine, theirs = ({module.path: (module.version, module.sum) for module in info.modules} for info in (one, other))
    differing = [path for path in sorted(mine.keys() | theirs.keys()) if mine.get(path) != theirs.get(path)]
    if differing:
        shown = [_module(path, mine.get(path), theirs.get(path), names) for path in differing[:_MOST]]
        more = f" (and {len(differing) - _MOST} more)" if len(differing) > _MOST else ""
        yield Finding(
            kind="modules",
            text=f"other modules: {'; '.join(shown)}{more}",
            remedy="commit go.mod and go.sum, build with -mod=readonly or -mod=vendor on both",
        )


def _module(path: str, one: tuple[str, str] | None, other: tuple[str, str] | None, names: tuple[str, str]) -> str:
    if one is None or other is None:
        return f"{path} only in {names[1] if one is None else names[0]}"
    if one[0] != other[0]:
        return _each(path, one[0], other[0], names)
    return _each(f"{path} {one[0]}", one[1] or "no sum (vendored)", other[1] or "no sum (vendored)", names)


def _settings(one: BuildInfo, other: BuildInfo, names: tuple[str, str]) -> Iterator[Finding]:
    a, b = one.settings, other.settings
    if a.get("CGO_ENABLED") != b.get("CGO_ENABLED"):
        yield Finding(
            kind="cgo",
            text=_each("CGO_ENABLED", a.get("CGO_ENABLED"), b.get("CGO_ENABLED"), names),
            remedy="set it for both (build.linkage, build.cgo); its default depends on whether a C compiler is there",
        )
    # With -trimpath Go leaves -ldflags out (https://go.dev/issue/52372): comparable only if both or neither have it.
    skipped = _COVERED | ({"-ldflags"} if a.get("-trimpath") != b.get("-trimpath") else set())
    for key in sorted((a.keys() | b.keys()) - skipped):
        if a.get(key) == b.get(key):
            continue
        flag = key.startswith("-")
        yield Finding(
            kind="setting",
            text=_each(key, a.get(key), b.get(key), names),
            remedy="look for GOFLAGS and `go env -w` on the builders, and set it in services.<name>.build"
            if flag
            else "set it in services.<name>.build.environment; look for `go env -w` where one of them was built",
        )


def _linking(one: BinaryInfo, other: BinaryInfo, names: tuple[str, str]) -> Iterator[Finding]:
    for what, mine, theirs in (
        ("loader", one.interpreter or "none", other.interpreter or "none"),
        ("libraries", ", ".join(one.needed) or "none", ", ".join(other.needed) or "none"),
        ("glibc", one.glibc or "none", other.glibc or "none"),
    ):
        if mine != theirs:
            yield Finding(
                kind="linking",
                text=_each(what, mine, theirs, names),
                remedy="one C compiler, one sysroot and one linkage for both builders",
            )
    if one.stripped != other.stripped:
        yield Finding(
            kind="stripped",
            text=f"{names[0] if one.stripped else names[1]} is stripped (-ldflags '-s -w'), the other is not",
            remedy="the same build.strip for both, and no strip afterwards",
        )


def _each(what: str, one: str | None, other: str | None, names: tuple[str, str]) -> str:
    first, second = (_short(value) for value in (one, other))
    return f"{what}: {names[0]} has {first}, {names[1]} {second}"


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    text = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    return text or "''"
