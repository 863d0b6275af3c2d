"""The archive of a toolchain on its way to a builder: pushed or pulled, and verified there."""

from __future__ import annotations

import re
import secrets
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.messages import downloader, hasher
from gofallback.builder.paths import Layout, join, toolchain_name
from gofallback.builder.shell import Shell, shell_of
from gofallback.builder.state_parser import read_free, read_hash
from gofallback.connectors.local import TransferError
from gofallback.controller.downloads import DownloadError, fetch
from gofallback.facts.builder import builder_state, forget
from gofallback.model import ToolchainPin
from gofallback.operations.remote import fail, run_command, send

Delivery = Literal["push", "pull"]
LONG = 1800.0
"""Seconds for a download, unpacking, an installer."""
_UNPACKED_RATIO = 3
"""An unpacked Go or Git has two and a half times to three times the size of its archive."""
_NEARLY_FULL = 32 << 20
"""Bytes; with less than this free a failed write is explained with the disk."""


@dataclass(frozen=True)
class ToolchainJob:
    """One toolchain to bring to one builder."""

    pin: ToolchainPin
    root: str
    cache: Path
    delivery: Delivery = "push"
    environment: Mapping[str, str] = field(default_factory=dict)
    """For ``pull``: HTTPS_PROXY and the like."""
    attempt: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def shell(self) -> Shell:
        """The builder's shell."""
        return shell_of(self.root)

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
        """Prefix of the names of this toolchain's folders in ``tmp``."""
        return f"unpack-{toolchain_name(self.pin.tool, self.pin.version)}-"

    @property
    def unpacked(self) -> str:
        """Where this attempt unpacks."""
        return join(Layout(self.root).tmp, self.prefix + self.attempt)

    @property
    def home(self) -> str:
        """The toolchain's folder within `unpacked`.

        Go's archive has one top folder ``go``, Git's has none, Zig's has one with the archive's own name; a wheel of
        PyPI's ``ziglang`` has ``ziglang``.
        """
        if self.pin.tool == "git":
            return self.unpacked
        stem = re.sub(r"(\.tar)?\.\w+$", "", self.pin.file_name)
        top = "go" if self.pin.tool == "go" else "ziglang" if self.pin.file_name.endswith(".whl") else stem
        return join(self.unpacked, top)


def deliver(state: State, host: Host, job: ToolchainJob) -> bool:
    """Step: the archive is in the builder's ``downloads``, with the pinned SHA-256 as computed there."""
    try:
        known = builder_state(host, job.root)
    except PyinfraError as error:
        return fail(host, str(error))
    forget(host)
    found = _hash(state, host, job) if job.pin.file_name in known.downloads else None
    if found == job.pin.sha256:
        host.log(f"{job.label}: the archive is there already")
        return _has_room(host, job, known.free_bytes, known.downloads[job.pin.file_name] * _UNPACKED_RATIO)
    if found is not None:
        host.log(f"{job.label}: the archive there is damaged (sha256 {found}); replacing it")
    return _pull(state, host, job) if job.delivery == "pull" else _push(state, host, job, known.free_bytes)


def _push(state: State, host: Host, job: ToolchainJob, free: int | None) -> bool:
    try:
        local = fetch(job.pin, job.cache, host.log)
    except DownloadError as error:
        return fail(host, f"{job.label}: {error}")
    if not _has_room(host, job, free, _space_needed(local)):
        return False
    began = time.monotonic()
    try:
        send(state, host, local, job.archive)
    except TransferError as error:
        return fail(host, f"{job.label}: {job.archive}: {error}{disk_hint(state, host, job)}")
    host.log(f"{job.label}: sent {_megabytes(local.stat().st_size)} in {time.monotonic() - began:.1f} s")
    return _verify(state, host, job)


def _pull(state: State, host: Host, job: ToolchainJob) -> bool:
    began = time.monotonic()
    part = f"{job.archive}.{job.attempt}.part"
    sweep = job.shell.delete_parts(job.archive)
    line = job.shell.script([sweep, job.shell.download(job.pin.url, part, job.archive)])
    result = run_command(state, host, line, timeout=LONG, env=job.environment)
    if not result.ok:
        run_command(state, host, sweep)
        cause = f"{downloader(job.root)} on the builder: {result.last()}{disk_hint(state, host, job)}"
        return fail(
            host,
            f"{job.label}: {job.pin.url}: {cause}; "
            "check proxy and firewall (builder.environment), or set builder.delivery: push",
        )
    host.log(f"{job.label}: downloaded by the builder in {time.monotonic() - began:.1f} s")
    return _verify(state, host, job)


def _verify(state: State, host: Host, job: ToolchainJob) -> bool:
    found = _hash(state, host, job)
    if found == job.pin.sha256:
        return True
    if found is None:
        return fail(host, f"{job.label}: {hasher(job.root)} prints no SHA-256 of {job.archive}; nothing was unpacked")
    run_command(state, host, job.shell.delete(job.archive))
    return fail(
        host,
        f"{job.label}: sha256 of {job.archive} is {found}, pinned is {job.pin.sha256}; nothing was unpacked, the "
        "archive was removed. Run again; if it stays, compare the pin with the vendor's figure (`gofallback pins`)",
    )


def _hash(state: State, host: Host, job: ToolchainJob) -> str | None:
    line = job.shell.script([job.shell.hash(job.archive)], always=True)
    return read_hash(run_command(state, host, line, timeout=600).out)


def remove_archive(job: ToolchainJob) -> str:
    """The command that removes the archive, and what interrupted uploads and downloads of it have left."""
    return job.shell.script([job.shell.delete(job.archive), job.shell.delete_parts(job.archive)])


def _has_room(host: Host, job: ToolchainJob, free: int | None, needed: int) -> bool:
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


def disk_hint(state: State, host: Host, job: ToolchainJob) -> str:
    """What to do when the disk is full; else empty."""
    free = read_free(run_command(state, host, job.shell.free(job.root)).out)
    if free is None or free > _NEARLY_FULL:
        return ""
    return f" (the disk is full: {job.root} has {_megabytes(free)} free; make room and run again)"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
