"""Connectors of pyinfra for the two kinds of hosts, and a way to run one command that tells how it ended."""

from __future__ import annotations

from typing import Any

from pyinfra.api.host import Host
from pyinfra.connectors.util import CommandOutput

from gofallback.connectors.output import CommandTimeoutError, RemoteOutput

__all__ = ["CommandTimeoutError", "RemoteOutput", "run"]


def run(host: Host, command: Any, **arguments: Any) -> tuple[bool, CommandOutput, int | None]:
    """Run one command on a host of `@winssh` or `@linssh`: whether it succeeded, its output, its exit code.

    Arguments:
        command: a `StringCommand`, or a text as it is to be run.
        arguments: pyinfra's global arguments (`_env`, `_timeout`, ...), `print_output`, `print_input`.

    Never raises for what a host does. The exit code is None where there is none: the output (a `RemoteOutput`) then
    says `timed_out` or `lost`, and its last line of stderr why.
    """
    try:
        ok, output = host.run_shell_command(command, **arguments)
    except CommandTimeoutError as error:
        return False, error.output, None
    return ok, output, getattr(output, "exit_code", None)
