"""go on the controller: one of its own, or one unpacked from a pin; never a prompt, never without an end."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gofallback.builder.state_parser import read_version
from gofallback.controller.downloads import fetch
from gofallback.errors import GofallbackError
from gofallback.gobuild.modules import version_number
from gofallback.model import ToolchainPin

Say = Callable[[str], None]
_STEP = 5.0
"""Seconds between two lines of progress."""
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class GoError(GofallbackError):
    """The controller has no Go that would do; one line."""


@dataclass(frozen=True)
class Go:
    """A Go toolchain of this machine."""

    program: Path
    version: str


@dataclass(frozen=True)
class Said:
    """How a go command ended."""

    code: int
    out: str
    err: str
    timed_out: bool = False

    @property
    def text(self) -> str:
        """Both, for whoever explains it."""
        return f"{self.err}\n{self.out}"


def installed() -> Go | None:
    """The go on PATH; None when there is none, or none that runs."""
    found = shutil.which("go")
    if found is None:
        return None
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(
            [found, "version"], capture_output=True, text=True, check=False, env=environment, timeout=30, cwd="/"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = read_version("go", done.stdout)
    return Go(Path(found), version) if version else None


def pinned(pins: Iterable[ToolchainPin], needed: str) -> ToolchainPin | None:
    """The newest pin of a Go for this machine that is not older than ``needed``."""
    if sys.platform != "linux":
        return None
    arch = _ARCHITECTURES.get(platform.machine().lower())
    fit = [
        pin
        for pin in pins
        if (pin.tool, pin.os, pin.arch) == ("go", "linux", arch)
        and version_number(pin.version) >= version_number(needed)
    ]
    return max(fit, key=lambda pin: version_number(pin.version), default=None)


def can(pins: Iterable[ToolchainPin], needed: str) -> bool:
    """Whether `find` would find one."""
    own = installed()
    return (own is not None and _enough(own, needed)) or pinned(pins, needed) is not None


def find(pins: Iterable[ToolchainPin], needed: str, *, downloads: Path, toolchains: Path, say: Say) -> Go:
    """A Go that is not older than ``needed``: the one on PATH, else the newest pinned one, unpacked once.

    Args:
        pins: ``toolchain.pins`` of the builder; those with ``os: linux`` fit a controller.
        needed: what go.mod wants, such as 1.26.
        downloads: the cache of archives.
        toolchains: folder that gets the unpacked ones.
        say: hears about progress.

    Raises:
        GoError: there is none.
        DownloadError: the pinned archive cannot be had.
    """
    own = installed()
    if own is not None and _enough(own, needed):
        return own
    pin = pinned(pins, needed)
    if pin is None:
        have = f"go {own.version} on PATH is older" if own else "there is no go on PATH"
        raise GoError(
            f"the controller has no Go {needed or ''}".rstrip()
            + f" ({have}); install it, or add a pin with os: linux to toolchain.pins (`gofallback pins`), "
            "or set build.modules: download"
        )
    final = toolchains / f"go{pin.version}-{pin.sha256[:12]}"
    program = final / "go" / "bin" / "go"
    if not program.is_file():
        _unpack(fetch(pin, downloads, say), final)
    return Go(program, pin.version)


def _enough(own: Go, needed: str) -> bool:
    return version_number(own.version) >= version_number(needed)


def _unpack(archive: Path, final: Path) -> None:
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}")
    try:
        temporary.mkdir(parents=True)
        with tarfile.open(archive) as packed:
            packed.extractall(temporary, filter="data")
        with contextlib.suppress(FileExistsError):  # another run was faster
            temporary.rename(final)
    except (OSError, tarfile.TarError) as error:
        if not final.is_dir():
            raise GoError(f"{archive} cannot be unpacked into {final}: {error}; free space, then run again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def run(
    argv: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    timeout: float,
    descriptors: Sequence[int] = (),
    progress: Callable[[float], None] = lambda _: None,
) -> Said:
    """Run one command in a process group of its own, which is ended as a whole when its time is over.

    Args:
        argv: program and arguments.
        directory: where.
        environment: all of it.
        timeout: seconds.
        descriptors: file descriptors that it inherits.
        progress: called every few seconds with the seconds so far.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            list(argv),
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=tuple(descriptors),
            start_new_session=True,  # no terminal to prompt on, and one group to end
        )
        began = spoke = time.monotonic()
        try:
            while process.poll() is None and time.monotonic() - began < timeout:
                time.sleep(0.05)  # cooperative under gevent, where a blocking wait stops every host
                if time.monotonic() - spoke >= _STEP:
                    spoke = time.monotonic()
                    progress(spoke - began)
        finally:
            late = process.poll() is None
            if late:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    return Said(process.returncode, texts[0], texts[1], late)
