"""What a build with C needs on a builder besides its toolchains: the sysroot, and the GCC that group data names."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.artifact.cgo_spec import CgoSpec
from gofallback.artifact.spec import BuildSpec
from gofallback.builder.paths import Layout, join, literal, os_of
from gofallback.builder.shell import shell_of
from gofallback.builder.state_parser import read_hash
from gofallback.controller.sysroot import LIST, Sysroot, SysrootError, packed
from gofallback.disk import file_sha256
from gofallback.operations.job import Job
from gofallback.operations.remote import fail, run_command, send

_LONG = 1800.0
"""Seconds for what may take long: unpacking, reading every file again."""
_KEPT = 8
"""Sysroots that a builder keeps, newest first."""


def sysroot_ready(state: State, host: Host, root: str, sysroot: Sysroot, cache: Path) -> bool:
    """Step: the sysroot is on the builder, whole; sent when it is not there, or not what its name says.

    Args:
        state: pyinfra's.
        host: the builder.
        root: the builder's root.
        sysroot: as read on the controller.
        cache: folder of packed sysroots on the controller.
    """
    label = f"sysroot {sysroot.digest[:12]}"
    folder = Layout(root).sysroot(sysroot.digest)
    if os_of(root) == "windows" and sysroot.same_on_windows:
        one, other = sysroot.same_on_windows[0]
        return fail(
            host,
            f"{label}: {one} and {other} differ only in case, which Windows cannot hold; leave one out (the kernel's "
            "headers come with Zig), or build on a Linux builder",
        )
    found = _found(state, host, folder, sysroot)
    if found == "whole":
        host.log(f"{label}: there already ({sysroot.count} files)")
        return True
    if found == "damaged":
        host.log(f"{label}: what is in {folder} is damaged; replacing it")
    return _send(state, host, root, sysroot, cache)


def _send(state: State, host: Host, root: str, sysroot: Sysroot, cache: Path) -> bool:
    began = time.monotonic()
    label = f"sysroot {sysroot.digest[:12]}"
    layout, shell = Layout(root), shell_of(root)
    folder = Layout(root).sysroot(sysroot.digest)
    archive = join(layout.downloads, f"sysroot-{sysroot.digest[:16]}.tar")
    fresh = join(layout.tmp, f"sysroot-{sysroot.digest[:16]}-{secrets.token_hex(4)}")
    clean = [
        shell.delete(archive),
        shell.delete_parts(archive),
        shell.sweep(layout.tmp, f"sysroot-{sysroot.digest[:16]}-"),
    ]
    try:
        local = packed(sysroot, cache, host.log)
        wanted, size = file_sha256(local), local.stat().st_size
    except (SysrootError, OSError) as error:
        return fail(host, f"{label}: {error}")
    trouble = send(state, host, local, archive)
    if trouble:
        return fail(host, f"{label}: {archive}: {trouble}; run the same command again")
    got = read_hash(run_command(state, host, shell.hash(archive), timeout=_LONG).out)
    if got != wanted:
        run_command(state, host, shell.script(clean, always=True))
        return fail(host, f"{label}: {archive} has sha256 {got or 'none'}, should have {wanted}; run again")
    unpacked = run_command(state, host, shell.then(shell.make(fresh), shell.unpack(archive, fresh)), timeout=_LONG)
    if not unpacked.ok:
        run_command(state, host, shell.script(clean, always=True), timeout=_LONG)
        return fail(
            host, f"{label}: unpacking {archive} failed: {unpacked.first()}; is its disk full? nothing was changed"
        )
    run_command(
        state, host, shell.script([shell.settle(fresh, folder, [LIST]), shell.prune(folder, _KEPT)]), timeout=_LONG
    )
    run_command(state, host, shell.script(clean, always=True), timeout=_LONG)
    if _found(state, host, folder, sysroot) != "whole":
        return fail(host, f"{label}: {folder} is not what was sent; does something else write there? run again")
    host.log(f"{label}: sent {sysroot.count} files, {size / 1e6:.0f} MB, in {time.monotonic() - began:.1f} s: {folder}")
    return True


def _found(state: State, host: Host, folder: str, sysroot: Sysroot) -> str:
    """``whole``, ``damaged`` or ``missing``: one round trip, every file is looked at."""
    answer = run_command(state, host, check_line(folder), timeout=_LONG)
    return read_check(answer.out, folder, sysroot)


def check_line(folder: str) -> str:
    """The command that makes a builder tell what is in a sysroot.

    On Linux it hashes every file; on Windows, where certutil takes one file at a time, it hashes the list and tells
    every file's size.
    """
    shell = shell_of(folder)
    listed = join(folder, LIST)
    if os_of(folder) == "linux":
        same = f"sha256sum -c {LIST} >/dev/null 2>&1 && echo @same"
        inside = f'(cd {literal(folder)} && {{ {same}; echo "@count $(find . -type f | wc -l)"; }})'
    else:
        inside = f"cd /d {literal(folder)} && (for /r %F in (*) do @echo @z %~zF %F)"
    steps = [shell.say("@list"), shell.hash(listed), shell.if_there(listed, inside)]
    return shell.script(steps, always=True)


def read_check(lines: tuple[str, ...], folder: str, sysroot: Sysroot) -> str:
    """``whole``, ``damaged`` or ``missing``, from the answer to `check_line`."""
    told = [line.strip() for line in lines]
    named = read_hash(told)
    if named is None:
        return "missing"
    if os_of(folder) == "linux":
        whole = "@same" in told and f"@count {sysroot.count + 1}" in told
        return "whole" if named == sysroot.digest and whole else "damaged"
    wanted = {name.casefold(): size for (name, _), size in zip(sysroot.files, sysroot.sizes, strict=True)}
    wanted[LIST] = len(sysroot.listing)
    return "whole" if named == sysroot.digest and _sizes(told, folder) == wanted else "damaged"


def _sizes(lines: list[str], folder: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in lines:
        mark, _, rest = line.partition(" ")
        size, _, path = rest.partition(" ")
        if mark == "@z" and size.isdigit():
            found[path[len(folder) :].strip("\\").replace("\\", "/").casefold()] = int(size)
    return found


def compiler_ready(state: State, host: Host, cgo: CgoSpec, environment: Mapping[str, str], where: str) -> bool:
    """Step: the GCC that group data names is there and says the version it should. Zig was provisioned.

    Args:
        state: pyinfra's.
        host: the builder.
        cgo: what is asked of it.
        environment: of the build, for its PATH.
        where: begin of the line on failure: service and platform.
    """
    if cgo.compiler != "gcc":
        return True
    shell = shell_of(environment["GOCACHE"])
    line, env = shell.prepared(shell.command([cgo.cc, "-dumpfullversion"]), {"PATH": environment["PATH"]})
    answer = run_command(state, host, line, env=env)
    said = answer.out[-1].strip() if answer.ok and answer.out else ""
    if not said:
        return fail(
            host,
            f"{where}: the C compiler {cgo.cc} does not answer on {host.name} ({answer.last()}); install it there, or "
            "correct build.cgo.cc: a name in PATH, or a path",
        )
    if cgo.version and said != cgo.version:
        return fail(
            host,
            f"{where}: {cgo.cc} is version {said}, build.cgo.version says {cgo.version}; correct one of them",
        )
    host.log(f"{where}: {cgo.cc} {said}")
    return True


def c_ready(state: State, host: Host, job: Job, specs: Sequence[BuildSpec]) -> bool:
    """Step: what the builds with C among ``specs`` need besides toolchains is on the builder, each once."""
    asked = {spec.cgo.model_dump_json(): (spec, spec.cgo) for spec in specs if spec.cgo}
    for digest in sorted({cgo.sysroot for _, cgo in asked.values()} - {""}):
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
        for spec, cgo in asked.values()
    )
