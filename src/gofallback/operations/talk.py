"""How a step talks to a host: one command, one answer, never an exception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.errors import GofallbackError

#: What a connector may raise when a command ends without an exit status.
TROUBLE = (OSError, EOFError, SSHException, PyinfraError, GofallbackError)


@dataclass(frozen=True)
class Answer:
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


def ask(state: State, host: Host, text: str, *, timeout: float = 120, env: Mapping[str, str] | None = None) -> Answer:
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
        return Answer(False, err=(f"no end after {timeout:g} s",))
    except TROUBLE as error:
        return Answer(False, err=(str(error) or type(error).__name__,))
    lost = bool(getattr(output, "lost", False))
    return Answer(bool(ok), tuple(output.stdout_lines), tuple(output.stderr_lines), lost)


def send(state: State, host: Host, local: Path, remote: str) -> str | None:
    """Upload a file; None when it is there, else one line that says why not."""
    try:
        done = host.put_file(str(local), remote, print_output=state.print_output, print_input=state.print_input)
    except TimeoutError as error:
        return f"timed out: {error}"
    except TROUBLE as error:
        return str(error) or type(error).__name__
    return None if done else "the upload failed; see the line above"


def fail(host: Host, text: str) -> bool:
    """Say in red why a step failed; the step returns what this returns."""
    host.log_styled(text, fg="red", log_func=logger.error)
    return False
