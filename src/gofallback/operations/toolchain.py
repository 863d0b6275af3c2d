"""The operation that gives a Windows builder one pinned Go or Git, side by side with other versions.

Nothing has its final name before it is complete: the archive is verified on the host itself, unpacked under
``tmp``, asked for its version, marked, and renamed into ``toolchains``. Killed anywhere,
the next run takes it up: a good archive is not sent again, everything else that was half done is removed.
"""

from __future__ import annotations

import secrets
import time
import zipfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import gevent
from pyinfra import logger
from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.context import host

from gofallback.controller.downloads import DownloadError, fetch
from gofallback.facts.builder import builder_state, forget
from gofallback.facts.windows import hash_line, read_hash
from gofallback.model import ToolchainPin
from gofallback.operations.msi import msi_line, read_msi
from gofallback.operations.talk import ask, fail, send
from gofallback.windows.paths import MARKER, PROGRAMS, Layout, join, literal, toolchain_name
from gofallback.windows.quoting import command_line, quote
from gofallback.windows.state import marker, read_free, read_version, same_version

Delivery = Literal["push", "pull"]
_UNPACK_TIMEOUT = 1800.0
_UNPACKED_RATIO = 3
"""An unpacked Go or Git has two and a half times to three times the size of its archive."""
_NEARLY_FULL = 32 << 20
"""Bytes; with less than this free a failed write is explained with the disk."""
_MOVE_ATTEMPTS = 6
"""An antivirus keeps new programs open for some seconds, and Windows renames no folder with an open file in it."""


@dataclass(frozen=True)
class Job:
    """One toolchain to bring to one builder."""

    pin: ToolchainPin
    root: str
    cache: Path
    delivery: Delivery = "push"
    environment: Mapping[str, str] = field(default_factory=dict)
    """For ``pull``: HTTPS_PROXY and the like."""
    attempt: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def label(self) -> str:
        """``go 1.27.0``."""
        return f"{self.pin.tool} {self.pin.version}"

    @property
    def archive(self) -> str:
        """The archive on the host."""
        return join(Layout(self.root).downloads, self.pin.file_name)

    @property
    def final(self) -> str:
        """Where the toolchain ends up."""
        return Layout(self.root).toolchain(self.pin.tool, self.pin.version)

    @property
    def prefix(self) -> str:
        """Begin of the names of this toolchain's folders in ``tmp``."""
        return f"unpack-{toolchain_name(self.pin.tool, self.pin.version)}-"

    @property
    def unpacked(self) -> str:
        """Where this attempt unpacks."""
        return join(Layout(self.root).tmp, self.prefix + self.attempt)

    @property
    def home(self) -> str:
        """The toolchain's folder within `unpacked`: Go's archive has one top folder ``go``, Git's has none."""
        return join(self.unpacked, "go") if self.pin.tool == "go" else self.unpacked


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
    Make sure a builder has one pinned Go or Git; no round trip when the builder's state says so.

    + pin: version, URL and SHA-256
    + root: the builder's root folder
    + cache: folder of archives on the controller
    + delivery: ``push``: the controller fetches and uploads; ``pull``: the builder downloads with curl.exe
    + use_installed: be content with a machine-wide install of the same version
    + environment: environment of the download on the builder
    """
    found = builder_state(host, root).find(pin.tool, pin.version, use_installed=use_installed)
    if found is not None and found.sha256 in (None, pin.sha256):
        host.noop(f"{pin.tool} {pin.version} is there ({found.origin}): {found.path}")
        return
    job = Job(pin, root, Path(cache), delivery, dict(environment or {}))
    yield FunctionCommand(deliver, (job,), {})
    yield FunctionCommand(install if pin.kind == "msi" else unpack, (job,), {})


def deliver(state: State, host: Host, job: Job) -> bool:
    """Step: the archive is in the builder's ``downloads``, with the pinned SHA-256 as computed there."""
    try:
        known = builder_state(host, job.root)
    except PyinfraError as error:
        return fail(host, str(error))
    forget(host)
    found = _hash(state, host, job) if job.pin.file_name in known.downloads else None
    if found == job.pin.sha256:
        host.log(f"{job.label}: the archive is there already")
        return _room(host, job, known.free_bytes, known.downloads[job.pin.file_name] * _UNPACKED_RATIO)
    if found is not None:
        host.log(f"{job.label}: the archive there is damaged (sha256 {found}); replacing it")
    return _pull(state, host, job) if job.delivery == "pull" else _push(state, host, job, known.free_bytes)


def _push(state: State, host: Host, job: Job, free: int | None) -> bool:
    try:
        local = fetch(job.pin, job.cache, host.log)
    except DownloadError as error:
        return fail(host, f"{job.label}: {error}")
    if not _room(host, job, free, _space_needed(local)):
        return False
    began = time.monotonic()
    trouble = send(state, host, local, job.archive)
    if trouble:
        return fail(host, f"{job.label}: {job.archive}: {trouble}{_disk(state, host, job)}")
    host.log(f"{job.label}: sent {_megabytes(local.stat().st_size)} in {time.monotonic() - began:.1f} s")
    return _verify(state, host, job)


def _pull(state: State, host: Host, job: Job) -> bool:
    began = time.monotonic()
    part = f"{job.archive}.{job.attempt}.part"
    curl = '"%SystemRoot%\\System32\\curl.exe" --fail --silent --show-error --location --retry 2 --connect-timeout 20'
    get = f"{curl} --output {literal(part)} {quote(job.pin.url)} && move /y {literal(part)} {literal(job.archive)} >nul"
    sweep = f"del /f /q {literal(job.archive + '.*.part')} 2>nul"
    answer = ask(state, host, f"{sweep}& {get}", timeout=_UNPACK_TIMEOUT, env=job.environment)
    if not answer.ok:
        ask(state, host, sweep)
        return fail(
            host,
            f"{job.label}: {job.pin.url}: curl.exe on the builder: {answer.last()}{_disk(state, host, job)}; "
            "check proxy and firewall (builder.environment), or set builder.delivery: push",
        )
    host.log(f"{job.label}: downloaded by the builder in {time.monotonic() - began:.1f} s")
    return _verify(state, host, job)


def _verify(state: State, host: Host, job: Job) -> bool:
    found = _hash(state, host, job)
    if found == job.pin.sha256:
        return True
    if found is None:
        return fail(host, f"{job.label}: certutil.exe tells no SHA-256 of {job.archive}; nothing was unpacked")
    ask(state, host, f"del /f /q {literal(job.archive)}")
    return fail(
        host,
        f"{job.label}: sha256 of {job.archive} is {found}, pinned is {job.pin.sha256}; nothing was unpacked, the "
        "archive was removed. Run again; if it stays, compare the pin with the vendor's figure (`gofallback pins`)",
    )


def _hash(state: State, host: Host, job: Job) -> str | None:
    return read_hash(list(ask(state, host, hash_line(job.archive), timeout=600).out))


def unpack(state: State, host: Host, job: Job) -> bool:
    """Step: unpack beside, ask the program for its version, mark, rename into place."""
    began = time.monotonic()
    forget(host)
    tmp = Layout(job.root).tmp
    sweep = f"cd /d {literal(tmp)} && (for /d %D in ({job.prefix}*) do @rmdir /s /q %D)"
    ask(state, host, sweep, timeout=600)
    tar = f'"%SystemRoot%\\System32\\tar.exe" -xf {literal(job.archive)} -C {literal(job.unpacked)}'
    answer = ask(state, host, f"mkdir {literal(job.unpacked)} && {tar}", timeout=_UNPACK_TIMEOUT)
    if not answer.ok:
        # tar goes on after an error and ends with "Error exit delayed": the first line tells what happened.
        reason = f"{answer.first()}{_disk(state, host, job)}"
        ask(state, host, sweep, timeout=600)
        return fail(host, f"{job.label}: unpacking {job.archive} failed: {reason}; nothing was installed")
    if not _right_version(state, host, job, job.home) or not _settle(state, host, job):
        ask(state, host, sweep, timeout=600)
        return False
    host.log(f"{job.label}: unpacked and checked in {time.monotonic() - began:.1f} s: {job.final}")
    return True


def _right_version(state: State, host: Host, job: Job, home: str) -> bool:
    program = join(home, PROGRAMS[job.pin.tool])
    line = command_line([program, "version" if job.pin.tool == "go" else "--version"])
    # GOTOOLCHAIN=local: a go.work above the folder must not make go fetch another Go.
    answer = ask(state, host, line, env={"GOTOOLCHAIN": "local"})
    version = read_version(job.pin.tool, "\n".join(answer.out))
    if version is not None and same_version(job.pin.tool, version, job.pin.version):
        return True
    said = f"says version {version}" if version else f"does not answer ({answer.last()})"
    return fail(host, f"{job.label}: {program} {said}; it should say {job.pin.version}: is it the vendor's archive?")


def _settle(state: State, host: Host, job: Job) -> bool:
    pin = job.pin
    old = join(Layout(job.root).tmp, f"{job.prefix}old-{job.attempt}")
    mark = f">{literal(join(job.home, MARKER))} echo {marker(pin.tool, pin.version, pin.kind, pin.arch, pin.sha256)}"
    home, final = literal(job.home + "\\"), literal(job.final + "\\")
    program = literal(join(job.final, PROGRAMS[pin.tool]))
    marked = literal(join(job.final, MARKER))
    move = "& ".join(
        [
            # A second attempt must not touch what the first one, its answer lost, has already put in place.
            f"(if exist {home} ({mark}))",
            f"(if exist {home} if exist {final} move {literal(job.final)} {literal(old)} >nul)",
            # `move` onto a folder that is still there would put the new one into it.
            f"(if exist {home} if not exist {final} move {literal(job.home)} {literal(job.final)} >nul)",
            f"(if exist {program} if exist {marked} if not exist {literal(job.home)} echo @done)",
            "exit 0",
        ]
    )
    for attempt in range(_MOVE_ATTEMPTS):
        answer = ask(state, host, move)
        if "@done" in (line.strip() for line in answer.out):
            clean = f"cd /d {literal(Layout(job.root).tmp)} && (for /d %D in ({job.prefix}*) do @rmdir /s /q %D)"
            ask(state, host, f"{clean}& {_forget_archive(job)}& exit 0", timeout=600)
            return _confirmed(host, job)
        if attempt + 1 < _MOVE_ATTEMPTS:
            gevent.sleep(1.0)
    return fail(
        host,
        f"{job.label}: {job.home} cannot be renamed to {job.final}: {answer.last()}; a program has a file in it open: "
        "exclude the root folder from the antivirus (docs/windows-host.md), then run again",
    )


def install(state: State, host: Host, job: Job) -> bool:
    """Step: install an MSI silently into the toolchain's folder; by its effect, not by what msiexec says."""
    began = time.monotonic()
    forget(host)
    log = join(Layout(job.root).tmp, f"msi-{toolchain_name(job.pin.tool, job.pin.version)}.log")
    answer = ask(state, host, msi_line(job.archive, job.final, log), timeout=_UNPACK_TIMEOUT)
    trouble = read_msi(answer.out) or (None if answer.ok else answer.last())
    if trouble:
        return fail(host, f"{job.label}: msiexec: {trouble}{_disk(state, host, job)}; its log on the builder: {log}")
    if not _right_version(state, host, job, job.final):
        return False
    pin = job.pin
    mark = f">{literal(join(job.final, MARKER))} echo {marker(pin.tool, pin.version, pin.kind, pin.arch, pin.sha256)}"
    ask(state, host, f"{mark}& {_forget_archive(job)}& del /f /q {literal(log)} 2>nul")
    if not _confirmed(host, job):
        return False
    host.log(f"{job.label}: installed and checked in {time.monotonic() - began:.1f} s: {job.final}", logger.info)
    return True


def _forget_archive(job: Job) -> str:
    """The command that removes the archive, and what interrupted uploads and downloads of it have left."""
    return f"del /f /q {literal(job.archive)} {literal(job.archive + '.*')} 2>nul"


def _confirmed(host: Host, job: Job) -> bool:
    """Whether the builder itself counts the toolchain as there: a full disk can leave a marker without its text."""
    try:
        found = builder_state(host, job.root, refresh=True).find(job.pin.tool, job.pin.version, use_installed=False)
    except PyinfraError as error:
        return fail(host, str(error))
    if found is not None and found.sha256 == job.pin.sha256:
        return True
    return fail(
        host, f"{job.label}: {job.final} is there but its marker {MARKER} is not complete; make room and run again"
    )


def _room(host: Host, job: Job, free: int | None, needed: int) -> bool:
    if free is None or free >= needed:
        return True
    return fail(host, f"{job.label}: {_megabytes(needed)} needed, {job.root} has {_megabytes(free)} free; make room")


def _space_needed(local: Path) -> int:
    """Bytes for the archive and what is in it."""
    size = local.stat().st_size
    try:
        with zipfile.ZipFile(local) as archive:
            return size + sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError):
        return size * (1 + _UNPACKED_RATIO)


def _disk(state: State, host: Host, job: Job) -> str:
    """How to go on when the disk is what is wrong; else nothing."""
    free = read_free(list(ask(state, host, f"dir /-c /ad {literal(job.root)}").out))
    if free is None or free > _NEARLY_FULL:
        return ""
    return f" (the disk is full: {job.root} has {_megabytes(free)} free; make room and run again)"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
