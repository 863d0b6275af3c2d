"""go on the controller: installed, or unpacked from a pin; run without prompts and with a timeout."""

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

_PROGRESS = 5.0
"""Seconds between two lines of progress."""
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class GoError(GofallbackError):
    """The controller has no suitable Go; one line."""


@dataclass(frozen=True)
class Go:
    """A Go toolchain of this machine."""

    program: Path
    version: str


@dataclass(frozen=True)
class GoResult:
    """How a go command ended."""

    code: int
    out: str
    err: str
    timed_out: bool = False

    @property
    def text(self) -> str:
        """Both outputs, for an explanation."""
        return f"{self.err}\n{self.out}"


def installed() -> Go | None:
    """The go on PATH; None when there is none that runs."""
    program = shutil.which("go")
    if program is None:
        return None
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    try:
        result = subprocess.run(
            [program, "version"], capture_output=True, text=True, check=False, env=environment, timeout=30, cwd="/"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = read_version("go", result.stdout)
    return Go(Path(program), version) if version else None


def pinned(pins: Iterable[ToolchainPin], needed: str) -> ToolchainPin | None:
    """The newest pinned Go for this machine that is not older than ``needed``."""
    if sys.platform != "linux":
        return None
    arch = _ARCHITECTURES.get(platform.machine().lower())
    suitable = [
        pin
        for pin in pins
        if (pin.tool, pin.os, pin.arch) == ("go", "linux", arch)
        and version_number(pin.version) >= version_number(needed)
    ]
    return max(suitable, key=lambda pin: version_number(pin.version), default=None)


def is_available(pins: Iterable[ToolchainPin], needed: str) -> bool:
    """Whether `find_go` has a Go to return."""
    own = installed()
    return (own is not None and _is_new_enough(own, needed)) or pinned(pins, needed) is not None


def find_go(
    pins: Iterable[ToolchainPin],
    needed: str,
    *,
    downloads: Path,
    toolchains: Path,
    report: Callable[[str], None],
) -> Go:
    """A Go that is not older than ``needed``: on PATH, else the newest pinned one, unpacked once.

    Args:
        pins: ``toolchain.pins`` of the builder; those with ``os: linux`` fit a controller.
        needed: version that go.mod requires, such as 1.26.
        downloads: the cache of archives.
        toolchains: folder of unpacked toolchains.
        report: called with lines of progress.

    Raises:
        GoError: there is none.
        DownloadError: the pinned archive cannot be downloaded.
    """
    own = installed()
    if own is not None and _is_new_enough(own, needed):
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
        _unpack(fetch(pin, downloads, report), final)
    return Go(program, pin.version)


def _is_new_enough(own: Go, needed: str) -> bool:
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
) -> GoResult:
    """Run one command in a process group of its own, which is killed as a whole after its timeout.

    Args:
        argv: program and arguments.
        directory: working directory.
        environment: the whole environment.
        timeout: seconds.
        descriptors: file descriptors that the command inherits.
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
        timed_out = _wait(process, timeout, progress)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    return GoResult(process.returncode, texts[0], texts[1], timed_out)


def _wait(process: subprocess.Popen[bytes], timeout: float, progress: Callable[[float], None]) -> bool:
    """Wait for the end of a process; whether it had to be killed."""
    began = reported = time.monotonic()
    try:
        while process.poll() is None and time.monotonic() - began < timeout:
            time.sleep(0.05)  # cooperative under gevent, where a blocking wait stops every host
            if time.monotonic() - reported >= _PROGRESS:
                reported = time.monotonic()
                progress(reported - began)
    finally:
        timed_out = process.poll() is None
        if timed_out:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return timed_out
