"""Whether a binary runs on a target: architecture, kernel and libc that it needs, and those of the target."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from rich.table import Table
from rich.text import Text

from gofallback.artifact.binary import BinaryInfo
from gofallback.artifact.glibc import version_tuple
from gofallback.model.base import Strict

#: (first Go release, lowest Linux kernel), newest first. Sources: https://go.dev/wiki/Linux (2.6.23 until Go 1.18,
#: 2.6.32 until Go 1.23), https://go.dev/doc/go1.24#linux (3.2).
_KERNELS: tuple[tuple[str, str], ...] = (("1.24", "3.2"), ("1.19", "2.6.32"), ("0", "2.6.23"))
#: Architectures that need a later kernel than the others (https://go.dev/wiki/Linux, https://go.dev/wiki/MinimumRequirements).
_ARCH_KERNELS: dict[str, str] = {"arm": "3.1", "mips64le": "4.8", "loong64": "5.19"}

#: 64-bit kernels that run programs of a 32-bit architecture.
_RUNS_32_BIT: dict[str, str] = {"386": "amd64", "arm": "arm64"}

#: Libraries that come with glibc or musl (`dpkg -L libc6`), and the loader.
_OF_LIBC = re.compile(
    r"(?:libc|libm|libmvec|libpthread|libdl|librt|libresolv|libutil|libanl|libnsl|libnss_\w+|libthread_db|libcrypt"
    r"|libBrokenLocale|ld-[\w.-]+|libc\.musl[\w.-]*)\.so(?:\.|$)"
)
_MOST_NAMED = 3
"""Symbols, and versions, in one reason."""

Libc = Literal["glibc", "musl", "none"]
State = Literal["ok", "warn", "bad"]


class TargetFacts(Strict):
    """The properties of a target that matter to a binary."""

    name: str = ""
    goos: str = "linux"
    goarch: str
    """Of the kernel, see `gofallback.model.platform.platform_of`."""
    kernel: str
    """``uname -r``, such as 6.1.0-18-amd64."""
    libc: Libc = "none"
    libc_version: str = ""
    """Such as 2.36."""


class Row(Strict):
    """One line of the compatibility table."""

    what: Literal["system", "architecture", "kernel", "libc", "libraries"]
    needs: str
    has: str
    state: State
    note: str = ""


class Compatibility(Strict):
    """The verdict about one binary on one target."""

    ok: bool
    rows: list[Row]
    reason: str = ""
    """One line with the reason and the remedy; empty when ok."""


def minimum_kernel(go_release: str, goarch: str) -> str:
    """Lowest Linux kernel that a release of Go (``1.26.6``) supports on an architecture."""
    release = version_tuple(go_release) or (99,)  # "devel": as strict as the newest
    base = next(kernel for first, kernel in _KERNELS if release >= version_tuple(first))
    return max(base, _ARCH_KERNELS.get(goarch, base), key=version_tuple)


def compatibility(info: BinaryInfo, target: TargetFacts, compiler: str = "zig") -> Compatibility:
    """Judge one binary for one target.

    Args:
        info: the binary.
        target: where it is to run.
        compiler: C compiler, ``zig`` or ``gcc``: the remedy for a wrong libc depends on it.
    """
    rows = [*_system(info, target), *_architecture(info, target), *_kernel(info, target)]
    rows += [*_libc(info, target, compiler), *_libraries(info)]
    bad = [row for row in rows if row.state == "bad"]
    where = f"{target.name}: " if target.name else ""
    reason = "; ".join(f"{row.what}: needs {row.needs}, has {row.has}; {row.note}" for row in bad)
    return Compatibility(ok=not bad, rows=rows, reason=f"{where}{reason}" if bad else "")


def compat_table(judged: Iterable[tuple[str, Compatibility]]) -> Table:
    """The table of the verify stage: one block for all targets and binaries with the same rows.

    Args:
        judged: a target's name, or target and binary with a blank between them; and the compatibility.
    """
    table = Table(title="compatibility", title_justify="left", header_style="bold")
    table.add_column("target", overflow="fold", min_width=18, max_width=30)
    for column in ("what", "needs", "has", "verdict"):
        table.add_column(column, overflow="fold")
    colours = {"ok": "green", "warn": "yellow", "bad": "red"}
    for names, rows in _grouped(judged):
        for index, row in enumerate(rows):
            word = "no" if row.state == "bad" else "yes"
            text = Text(word, style=colours[row.state])
            text.append(f" ({row.note})" if row.note and row.state != "ok" else "", style="default")
            table.add_row(Text(_label(names) if index == 0 else ""), row.what, Text(row.needs), Text(row.has), text)
        table.add_section()
    return table


def _grouped(judged: Iterable[tuple[str, Compatibility]]) -> list[tuple[list[str], list[Row]]]:
    groups: list[tuple[list[str], list[Row]]] = []
    for name, compatible in judged:
        names = next((names for names, rows in groups if rows == compatible.rows), None)
        if names is None:
            groups.append(([name], compatible.rows))
        else:
            names.append(name)
    return groups


def _label(names: list[str]) -> str:
    """``t1, t2: hello, web`` of ``t1 hello``, ``t1 web``, ``t2 hello``, ``t2 web``."""
    binaries: dict[str, list[str]] = {}
    for name in names:
        target, _, binary = name.partition(" ")
        binaries.setdefault(target, []).append(binary)
    targets: dict[tuple[str, ...], list[str]] = {}
    for target, names_there in binaries.items():
        targets.setdefault(tuple(names_there), []).append(target)
    return "\n".join(
        ", ".join(hosts) + (f": {', '.join(programs)}" if any(programs) else "") for programs, hosts in targets.items()
    )


def _system(info: BinaryInfo, target: TargetFacts) -> Iterator[Row]:
    recorded = info.build.settings.get("GOOS", "") if info.build else ""
    needs = recorded or {"PE": "windows", "Mach-O": "darwin"}.get(info.format, "linux")
    state: State = "ok" if needs == target.goos else "bad"
    yield Row(what="system", needs=needs, has=target.goos, state=state, note=f"build for {target.goos}")


def _architecture(info: BinaryInfo, target: TargetFacts) -> Iterator[Row]:
    needs, has = info.goarch or info.machine, target.goarch or "unknown"
    state: State = "ok"
    note = f"add {target.goos}/{has} to build.platforms"
    if _RUNS_32_BIT.get(needs) == has:
        state = "ok" if needs == "386" else "warn"
        # Server cores such as Neoverse V2 and Apple's have no AArch32; the kernel does not show that.
        note = "32-bit program on a 64-bit kernel" + ("" if needs == "386" else ", if its cores have AArch32")
    elif needs != has:
        state = "bad"
    yield Row(what="architecture", needs=needs, has=has, state=state, note=note)


def _kernel(info: BinaryInfo, target: TargetFacts) -> Iterator[Row]:
    if target.goos != "linux" or info.build is None:
        return
    lowest = minimum_kernel(info.build.release, info.goarch)
    has = version_tuple(target.kernel)
    state: State = "ok" if has >= version_tuple(lowest) else "bad" if has else "warn"
    note = f"Go {info.build.release} supports Linux {lowest} and later: build with an older Go or update the kernel"
    yield Row(what="kernel", needs=f"{lowest} or later", has=target.kernel or "unknown", state=state, note=note)


def _libc(info: BinaryInfo, target: TargetFacts, compiler: str) -> Iterator[Row]:
    if info.format != "ELF":
        return
    has = f"{target.libc} {target.libc_version}".strip()
    if info.static:
        yield Row(what="libc", needs="none (static)", has=has, state="ok")
        return
    libc = "musl" if _is_musl(info) else "glibc"
    needs = f"{libc} {info.glibc} or later" if info.glibc else libc
    static = "build it static (linkage: static) or on a system as old as the target"
    if libc != target.libc:
        yield Row(what="libc", needs=needs, has=has, state="bad", note=static)
    elif info.bits == 32 and target.goarch in _RUNS_32_BIT.values():
        yield Row(what="libc", needs=f"{needs}, 32-bit", has=has, state="bad", note="build it static or for the target")
    elif info.glibc and version_tuple(target.libc_version) < version_tuple(info.glibc):
        state: State = "bad" if target.libc_version else "warn"
        yield Row(what="libc", needs=needs, has=has, state=state, note=_too_new(info, target.libc_version, compiler))
    else:
        yield Row(what="libc", needs=needs, has=has, state="ok")


def _too_new(info: BinaryInfo, has: str, compiler: str) -> str:
    """The symbols that need a newer glibc than the target's, and the remedy."""
    above = [(version, names) for version, names in info.glibc_symbols if version_tuple(version) > version_tuple(has)]
    named = ", ".join(f"GLIBC_{version} ({_some(names)})" for version, names in above[:_MOST_NAMED])
    symbols = f"it asks for {named}; " if named else ""
    older = ".".join(str(part) for part in version_tuple(has)[:2])
    remedy = f'set build.cgo.glibc: "{older}" (or auto), or ' if older else ""
    if compiler == "gcc":  # links the glibc that it finds
        remedy = f"give the GCC a sysroot with glibc {older or 'of the target'} (build.cgo.sysroot), take Zig, or "
    return f"{symbols}{remedy}build it static (linkage: static)"


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _libraries(info: BinaryInfo) -> Iterator[Row]:
    """Libraries besides libc's own: no check looks for them on a target before the smoke test."""
    if info.format != "ELF":
        return
    others = [name for name in info.needed if not _OF_LIBC.match(name)]
    if others:
        note = "they have to be installed there; the smoke test and the health check show whether they are"
        yield Row(what="libraries", needs=", ".join(others), has="not checked", state="warn", note=note)


def _is_musl(info: BinaryInfo) -> bool:
    return "ld-musl" in info.interpreter or any("musl" in name for name in info.needed)
