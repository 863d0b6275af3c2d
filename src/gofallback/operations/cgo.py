"""What a build with C needs on a builder besides its toolchains: the sysroot, and the GCC that group data names."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.artifact.spec import BuildSpec
from gofallback.builder.paths import Layout, join, literal, os_of
from gofallback.builder.shell import shell_of
from gofallback.builder.state_parser import read_hash
from gofallback.connectors.local import TransferError
from gofallback.controller.sysroot import LIST, Sysroot, SysrootError, packed
from gofallback.disk import file_sha256
from gofallback.operations.job import Job
from gofallback.operations.remote import fail, run_command, send

Condition = Literal["whole", "damaged", "missing"]
_LONG = 1800.0
"""Seconds for unpacking, and for reading every file again."""
_KEPT = 8
"""Sysroots that a builder keeps, newest first."""


def sysroot_ready(state: State, host: Host, root: str, sysroot: Sysroot, cache: Path) -> bool:
    """Step: the sysroot is on the builder, whole; sent when it is missing or damaged.

    Args:
        state: pyinfra's.
        host: the builder.
        root: the builder's root.
        sysroot: as read on the controller.
        cache: folder of packed sysroots on the controller.
    """
    label = _label(sysroot)
    folder = Layout(root).sysroot(sysroot.digest)
    if os_of(root) == "windows" and sysroot.same_on_windows:
        one, other = sysroot.same_on_windows[0]
        return fail(
            host,
            f"{label}: {one} and {other} differ only in case, which Windows cannot hold; leave one out (the kernel's "
            "headers come with Zig), or build on a Linux builder",
        )
    condition = _check(state, host, folder, sysroot)
    if condition == "whole":
        host.log(f"{label}: there already ({sysroot.count} files)")
        return True
    if condition == "damaged":
        host.log(f"{label}: what is in {folder} is damaged; replacing it")
    return _send(state, host, root, sysroot, cache)


def _label(sysroot: Sysroot) -> str:
    return f"sysroot {sysroot.digest[:12]}"


def _send(state: State, host: Host, root: str, sysroot: Sysroot, cache: Path) -> bool:
    began, label = time.monotonic(), _label(sysroot)
    layout, shell, name = Layout(root), shell_of(root), f"sysroot-{sysroot.digest[:16]}"
    folder = layout.sysroot(sysroot.digest)
    archive, fresh = join(layout.downloads, f"{name}.tar"), join(layout.tmp, f"{name}-{secrets.token_hex(4)}")
    clean = [shell.delete(archive), shell.delete_parts(archive), shell.sweep(layout.tmp, f"{name}-")]
    try:
        local = packed(sysroot, cache, host.log)
        expected, size = file_sha256(local), local.stat().st_size
    except (SysrootError, OSError) as error:
        return fail(host, f"{label}: {error}")
    try:
        send(state, host, local, archive)
    except TransferError as error:
        return fail(host, f"{label}: {archive}: {error}; run the same command again")
    got = read_hash(run_command(state, host, shell.hash(archive), timeout=_LONG).out)
    if got != expected:
        run_command(state, host, shell.script(clean, always=True))
        return fail(host, f"{label}: {archive} has sha256 {got or 'none'}, should have {expected}; run again")
    unpacked = run_command(state, host, shell.then(shell.make(fresh), shell.unpack(archive, fresh)), timeout=_LONG)
    if unpacked.ok:
        place = [shell.put_in_place(fresh, folder, [LIST]), shell.prune(folder, _KEPT)]
        run_command(state, host, shell.script(place), timeout=_LONG)
    run_command(state, host, shell.script(clean, always=True), timeout=_LONG)
    if not unpacked.ok:
        return fail(
            host, f"{label}: unpacking {archive} failed: {unpacked.first()}; is its disk full? nothing was changed"
        )
    if _check(state, host, folder, sysroot) != "whole":
        return fail(host, f"{label}: {folder} is not what was sent; does something else write there? run again")
    host.log(f"{label}: sent {sysroot.count} files, {size / 1e6:.0f} MB, in {time.monotonic() - began:.1f} s: {folder}")
    return True


def _check(state: State, host: Host, folder: str, sysroot: Sysroot) -> Condition:
    """One round trip, in which the builder looks at every file."""
    result = run_command(state, host, check_line(folder), timeout=_LONG)
    return read_check(result.out, folder, sysroot)


def check_line(folder: str) -> str:
    """The command whose output `read_check` reads: what is in a sysroot on a builder.

    On Linux it hashes every file. On Windows, where certutil takes one file at a time, it hashes the list and prints
    every file's size.
    """
    shell = shell_of(folder)
    listed = join(folder, LIST)
    if os_of(folder) == "linux":
        same = f"sha256sum -c {LIST} >/dev/null 2>&1 && echo @same"
        inside = f'(cd {literal(folder)} && {{ {same}; echo "@count $(find . -type f | wc -l)"; }})'
    else:
        inside = f"cd /d {literal(folder)} && (for /r %F in (*) do @echo @z %~zF %F)"
    steps = [shell.echo("@list"), shell.hash(listed), shell.if_there(listed, inside)]
    return shell.script(steps, always=True)


def read_check(lines: tuple[str, ...], folder: str, sysroot: Sysroot) -> Condition:
    """The condition of a sysroot, from the output of `check_line`."""
    output = [line.strip() for line in lines]
    digest = read_hash(output)
    if digest is None:
        return "missing"
    if os_of(folder) == "linux":
        whole = "@same" in output and f"@count {sysroot.count + 1}" in output
    else:
        sizes = {name.casefold(): size for (name, _), size in zip(sysroot.files, sysroot.sizes, strict=True)}
        sizes[LIST] = len(sysroot.listing)
        whole = _sizes(output, folder) == sizes
    return "whole" if digest == sysroot.digest and whole else "damaged"


def _sizes(lines: list[str], folder: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in lines:
        mark, _, rest = line.partition(" ")
        size, _, path = rest.partition(" ")
        if mark == "@z" and size.isdigit():
            found[path[len(folder) :].strip("\\").replace("\\", "/").casefold()] = int(size)
    return found


def compiler_ready(state: State, host: Host, cgo: CgoSpec, environment: Mapping[str, str], label: str) -> bool:
    """Step: the GCC that group data names is there, in the version that it names. Zig was provisioned.

    Args:
        state: pyinfra's.
        host: the builder.
        cgo: the compiler and its version.
        environment: of the build, for its PATH.
        label: service and platform, for the line on failure.
    """
    if cgo.compiler != "gcc":
        return True
    shell = shell_of(environment["GOCACHE"])
    line, env = shell.prepared(shell.command([cgo.cc, "-dumpfullversion"]), {"PATH": environment["PATH"]})
    result = run_command(state, host, line, env=env)
    version = result.out[-1].strip() if result.ok and result.out else ""
    if not version:
        return fail(
            host,
            f"{label}: the C compiler {cgo.cc} does not answer on {host.name} ({result.last()}); install it there, or "
            "correct build.cgo.cc: a name in PATH, or a path",
        )
    if cgo.version and version != cgo.version:
        return fail(
            host,
            f"{label}: {cgo.cc} is version {version}, build.cgo.version says {cgo.version}; correct one of them",
        )
    host.log(f"{label}: {cgo.cc} {version}")
    return True


def c_ready(state: State, host: Host, job: Job, specs: Sequence[BuildSpec]) -> bool:
    """Step: the builder has what the builds with C among ``specs`` need besides toolchains, each once."""
    needed = {spec.cgo.model_dump_json(): (spec, spec.cgo) for spec in specs if spec.cgo}
    for digest in sorted({cgo.sysroot for _, cgo in needed.values()} - {""}):
        sysroot = job.sysroots.get(digest)
        if sysroot is None:
            return fail(
                host,
                f"{specs[0].service}: it was built with the sysroot {digest[:12]}, which the controller does not "
                "have; name exactly that one in build.cgo.sysroot again",
            )
        if not sysroot_ready(state, host, job.builder.root, sysroot, job.packed):
            return False
    return all(
        compiler_ready(state, host, cgo, job.environment(spec), f"{spec.service} {spec.version} {spec.platform}")
        for spec, cgo in needed.values()
    )
