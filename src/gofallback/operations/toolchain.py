"""The operation that gives a builder one pinned Go, Git or Zig, side by side with other versions.

Nothing has its final name before it is complete: the archive is verified on the host itself and unpacked under
``tmp``; its program prints the right version; it is marked and renamed into ``toolchains``. After a kill at any
moment the next run resumes: a good archive is not sent again, everything else that was half done is removed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from pathlib import Path

import gevent
from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from gofallback.builder.messages import not_renamed
from gofallback.builder.paths import MARKER, Layout, join, program, toolchain_name
from gofallback.builder.state import marker, same_version
from gofallback.builder.state_parser import read_version
from gofallback.facts.builder import builder_state, forget
from gofallback.model import ToolchainPin
from gofallback.operations.archive import LONG, Delivery, ToolchainJob, deliver, disk_hint, remove_archive
from gofallback.operations.msi import msi_line, msi_problem
from gofallback.operations.remote import fail, run_command

_MOVE_ATTEMPTS = 6
"""An antivirus keeps new programs open for some seconds, and Windows renames no folder with an open file in it."""


@operation()
def toolchain(
    pin: ToolchainPin,
    root: str,
    cache: str,
    delivery: Delivery = "push",
    use_installed: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Generator[FunctionCommand, None, None]:
    """
    Make sure a builder has one pinned Go, Git or Zig; no round trip when the builder's state says so.

    + pin: version, URL and SHA-256
    + root: the builder's root folder
    + cache: folder of archives on the controller
    + delivery: ``push``: the controller fetches and uploads; ``pull``: the builder downloads it
    + use_installed: accept a machine-wide install of the same version
    + environment: environment of the download on the builder
    """
    known = builder_state(host, root)
    found = known.find(pin.tool, pin.version, use_installed=use_installed)
    job = ToolchainJob(pin, root, Path(cache), delivery, dict(environment or {}))
    if found is not None and found.sha256 in (None, pin.sha256):
        if pin.file_name in known.downloads or any(name.startswith(job.prefix) for name in known.leftovers):
            yield FunctionCommand(clean_up, (job,), {})
        else:
            host.noop(f"{pin.tool} {pin.version} is there ({found.origin}): {found.path}")
        return
    yield FunctionCommand(deliver, (job,), {})
    yield FunctionCommand(install if pin.kind == "msi" else unpack, (job,), {})


def clean_up(state: State, host: Host, job: ToolchainJob) -> bool:
    """Step: remove the archive and what earlier attempts have left; the toolchain in use stays."""
    forget(host)
    run_command(state, host, job.shell.script([_sweep(job), remove_archive(job)], always=True), timeout=600)
    return True


def _sweep(job: ToolchainJob) -> str:
    return job.shell.sweep(Layout(job.root).tmp, job.prefix)


def unpack(state: State, host: Host, job: ToolchainJob) -> bool:
    """Step: unpack beside, check the program's version, mark, rename into place."""
    began = time.monotonic()
    forget(host)
    run_command(state, host, _sweep(job), timeout=600)
    shell = job.shell
    steps = shell.then(shell.make(job.unpacked), shell.unpack(job.archive, job.unpacked))
    result = run_command(state, host, steps, timeout=LONG)
    if not result.ok:
        # tar goes on after an error and ends with "Error exit delayed": the first line has the cause.
        reason = f"{result.first()}{disk_hint(state, host, job)}"
        run_command(state, host, _sweep(job), timeout=600)
        return fail(host, f"{job.label}: unpacking {job.archive} failed: {reason}; nothing was installed")
    if not _right_version(state, host, job, job.home) or not _put_in_place(state, host, job):
        run_command(state, host, _sweep(job), timeout=600)
        return False
    host.log(f"{job.label}: unpacked and checked in {time.monotonic() - began:.1f} s: {job.final}")
    return True


def _right_version(state: State, host: Host, job: ToolchainJob, home: str) -> bool:
    path = program(job.pin.tool, home)
    line = job.shell.command([path, "--version" if job.pin.tool == "git" else "version"])
    # GOTOOLCHAIN=local: a go.work above the folder must not make go fetch another Go.
    result = run_command(state, host, line, env={"GOTOOLCHAIN": "local"})
    version = read_version(job.pin.tool, "\n".join(result.out))
    if version is not None and same_version(job.pin.tool, version, job.pin.version):
        return True
    found = f"says version {version}" if version else f"does not answer ({result.last()})"
    return fail(host, f"{job.label}: {path} {found}; it should say {job.pin.version}: is it the vendor's archive?")


def _put_in_place(state: State, host: Host, job: ToolchainJob) -> bool:
    pin, shell = job.pin, job.shell
    mark = shell.write(join(job.home, MARKER), marker(pin.tool, pin.version, pin.kind, pin.arch, pin.sha256))
    old = join(Layout(job.root).tmp, f"{job.prefix}old-{job.attempt}")
    proofs = [program(pin.tool, job.final).removeprefix(job.final)[1:], MARKER]
    move = shell.script([shell.put_in_place(job.home, job.final, proofs, mark=mark, aside=old)], always=True)
    for attempt in range(_MOVE_ATTEMPTS):
        result = run_command(state, host, move)
        if result.has("@done"):
            clean_up(state, host, job)
            return _is_complete(host, job)
        if attempt + 1 < _MOVE_ATTEMPTS:
            gevent.sleep(1.0)
    return fail(
        host,
        f"{job.label}: {job.home} cannot be renamed to {job.final}: {result.last()}; {not_renamed(job.root)}",
    )


def install(state: State, host: Host, job: ToolchainJob) -> bool:
    """Step: install an MSI silently into the toolchain's folder, check its program, mark it."""
    began = time.monotonic()
    forget(host)
    log = join(Layout(job.root).tmp, f"msi-{toolchain_name(job.pin.tool, job.pin.version)}.log")
    result = run_command(state, host, msi_line(job.archive, job.final, log), timeout=LONG)
    problem = msi_problem(result.out) or (None if result.ok else result.last())
    if problem:
        return fail(host, f"{job.label}: msiexec: {problem}{disk_hint(state, host, job)}; its log there: {log}")
    if not _right_version(state, host, job, job.final):
        return False
    pin = job.pin
    mark = job.shell.write(join(job.final, MARKER), marker(pin.tool, pin.version, pin.kind, pin.arch, pin.sha256))
    run_command(state, host, job.shell.script([mark, remove_archive(job), job.shell.delete(log)]))
    if not _is_complete(host, job):
        return False
    host.log(f"{job.label}: installed and checked in {time.monotonic() - began:.1f} s: {job.final}")
    return True


def _is_complete(host: Host, job: ToolchainJob) -> bool:
    """Whether the builder's state has the toolchain: a full disk can leave a marker without its text."""
    try:
        found = builder_state(host, job.root, refresh=True).find(job.pin.tool, job.pin.version, use_installed=False)
    except PyinfraError as error:
        return fail(host, str(error))
    if found is not None and found.sha256 == job.pin.sha256:
        return True
    return fail(
        host, f"{job.label}: {job.final} is there but its marker {MARKER} is not complete; make room and run again"
    )
