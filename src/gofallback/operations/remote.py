"""How a step works on a host: run a command, send or fetch a file, log while it takes long."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import gevent
from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from gofallback.connectors.local import TransferError
from gofallback.errors import GofallbackError
from gofallback.report.style import seconds_text

#: What a connector may raise when a command ends without an exit code.
CONNECTION_ERRORS = (OSError, EOFError, SSHException, PyinfraError, GofallbackError)

HEARTBEAT = 60.0
"""Seconds between two lines about a command that takes long: go, and a removal, print nothing meanwhile."""


@dataclass(frozen=True)
class CommandResult:
    """How a command ended, and what it printed."""

    ok: bool
    out: tuple[str, ...] = ()
    err: tuple[str, ...] = ()
    lost: bool = False
    """The connection broke: whether the command ended is not known."""

    def last(self, default: str = "it printed nothing") -> str:
        """The last line that is not empty, of standard error before standard output."""
        lines = [line.strip() for line in (*self.out, *self.err) if line.strip()]
        return lines[-1] if lines else default

    def first(self, default: str = "it printed nothing") -> str:
        """The first line of standard error, else of standard output: where the trouble began."""
        return next((line.strip() for line in (*self.err, *self.out) if line.strip()), default)

    def has(self, line: str) -> bool:
        """Whether standard output has this line."""
        return line in (one.strip() for one in self.out)


def run_command(
    state: State, host: Host, text: str, *, timeout: float = 120, env: Mapping[str, str] | None = None
) -> CommandResult:
    """Run one command line on a host. Never raises for what the host does.

    Args:
        state: pyinfra's.
        host: the host.
        text: the command line, as it stands.
        timeout: seconds after which the remote process tree is ended.
        env: further environment.
    """
    try:
        ok, output = host.run_shell_command(
            StringCommand(text),
            print_output=state.print_output,
            print_input=state.print_input,
            _timeout=timeout,
            _env=dict(env or {}),
        )
    except TimeoutError:
        return CommandResult(False, err=(f"no end after {timeout:g} s",))
    except CONNECTION_ERRORS as error:
        return CommandResult(False, err=(str(error) or type(error).__name__,))
    lost = bool(getattr(output, "lost", False))
    return CommandResult(bool(ok), tuple(output.stdout_lines), tuple(output.stderr_lines), lost)


def send(state: State, host: Host, local: Path, remote: str) -> None:
    """Upload a file.

    Raises:
        TransferError: it is not there; one line.
    """
    try:
        done = host.put_file(str(local), remote, print_output=state.print_output, print_input=state.print_input)
    except TimeoutError as error:
        raise TransferError(f"timed out: {error}") from None
    except CONNECTION_ERRORS as error:
        raise TransferError(str(error) or type(error).__name__) from None
    if not done:
        raise TransferError("the upload failed; see the line above")


def send_content(state: State, host: Host, content: bytes, local: Path, remote: str) -> None:
    """Upload a file that the controller has only for that time.

    Args:
        state: pyinfra's.
        host: the host.
        content: of the file.
        local: where the controller has it meanwhile.
        remote: where it goes.

    Raises:
        TransferError: it is not there; one line.
    """
    try:
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(content)
        send(state, host, local, remote)
    except OSError as error:
        raise TransferError(f"{local}: {error.strerror}") from None
    finally:
        local.unlink(missing_ok=True)


def fetch_file(host: Host, path: str, local: Path) -> None:
    """Copy a file from a host.

    Raises:
        TransferError: it is not here; one line that names file and host.
    """
    try:
        with ctx_host.use(host):
            done = host.get_file(path, str(local), print_output=False, print_input=False)
    except CONNECTION_ERRORS as error:
        raise TransferError(f"{path} cannot be fetched from {host.name}: {error}") from None
    if not done:
        raise TransferError(f"{path} cannot be fetched from {host.name} (see above)")


def fail(host: Host, text: str) -> bool:
    """Log in red why a step failed; the step returns what this returns."""
    host.log_styled(text, fg="red", log_func=logger.error)
    return False


@contextlib.contextmanager
def heartbeat(state: State, host: Host, label: str) -> Iterator[None]:
    """Log from time to time that a command is at work; with -vvv its own output shows it."""
    began = time.monotonic()

    def beat() -> None:
        while True:
            gevent.sleep(HEARTBEAT)
            host.log(f"{label}: at work, {seconds_text(time.monotonic() - began)} so far")

    beating = None if state.print_output else gevent.spawn(beat)
    try:
        yield
    finally:
        if beating is not None:
            beating.kill(block=False)
