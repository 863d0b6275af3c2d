"""How a step talks to a host: one command, one answer, never an exception."""

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

from gofallback.errors import GofallbackError
from gofallback.report.style import seconds_text

#: What a connector may raise when a command ends without an exit status.
CONNECTION_ERRORS = (OSError, EOFError, SSHException, PyinfraError, GofallbackError)

HEARTBEAT = 60.0
"""Seconds between two lines about a command that takes long: go, and a removal, say nothing meanwhile."""


@dataclass(frozen=True)
class CommandResult:
    """What a command gave back."""

    ok: bool
    out: tuple[str, ...] = ()
    err: tuple[str, ...] = ()
    lost: bool = False
    """The connection broke: whether the command ended is not known."""

    def last(self, default: str = "it said nothing") -> str:
        """The last line that says something, of standard error before standard output."""
        lines = [line.strip() for line in (*self.out, *self.err) if line.strip()]
        return lines[-1] if lines else default

    def first(self, default: str = "it said nothing") -> str:
        """The first line of standard error, else of standard output: where the trouble began."""
        return next((line.strip() for line in (*self.err, *self.out) if line.strip()), default)


def run_command(
    state: State, host: Host, text: str, *, timeout: float = 120, env: Mapping[str, str] | None = None
) -> CommandResult:
    """Run one command line on a host.

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


def send(state: State, host: Host, local: Path, remote: str) -> str | None:
    """Upload a file; None when it is there, else one line that says why not."""
    try:
        done = host.put_file(str(local), remote, print_output=state.print_output, print_input=state.print_input)
    except TimeoutError as error:
        return f"timed out: {error}"
    except CONNECTION_ERRORS as error:
        return str(error) or type(error).__name__
    return None if done else "the upload failed; see the line above"


def fail(host: Host, text: str) -> bool:
    """Say in red why a step failed; the step returns what this returns."""
    host.log_styled(text, fg="red", log_func=logger.error)
    return False


@contextlib.contextmanager
def heartbeat(state: State, host: Host, label: str) -> Iterator[None]:
    """Say from time to time that a command is at work; with -vvv its own output says it."""
    began = time.monotonic()

    def beat() -> None:
        while True:
            gevent.sleep(HEARTBEAT)
            host.log(f"{label}: at work, {seconds_text(time.monotonic() - began)} so far")

    teller = None if state.print_output else gevent.spawn(beat)
    try:
        yield
    finally:
        if teller is not None:
            teller.kill(block=False)
