"""One go command on a builder: run, retried while a file is locked, its output kept, its failure explained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.build.failure import Failure, Step, classify
from gofallback.builder.shell import shell_of
from gofallback.operations.talk import TROUBLE
from gofallback.report.redact import redact

_LOCKED = (1.0, 3.0, 8.0)
"""Seconds before each further attempt at a locked file: scanners let go of a new file within a few seconds."""
_LOST = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds before each further attempt after the connection broke: sshd is back soon, a restarted Windows later."""


@dataclass(frozen=True)
class Command:
    """What to run and where to keep what it says."""

    label: str
    """Beginning of every line about it, such as ``hello v1.2.0 linux/arm64``."""
    line: str
    """For the builder's shell."""
    environment: Mapping[str, str]
    """An empty value: the variable is not set there, whatever the login has."""
    timeout: float
    """Seconds."""
    log: Path
    """File on the controller that gets the whole output."""
    root: str
    """The builder's root; its shape tells the shell."""
    step: Step = "build"


@dataclass(frozen=True)
class Result:
    """How it ended."""

    out: tuple[str, ...]
    failure: Failure | None
    seconds: float
    """Of the last attempt."""


def run(state: State, host: Host, command: Command) -> Result:
    """Run it; again while something else has a file open, and again when the connection broke and came back.

    A command whose connection broke ends on the builder (sshd ends its tree on Windows; elsewhere at the next line that
    it cannot print, and what it writes until then has the same bytes), and go's cache has what was done.
    """
    pauses = {"permission": list(_LOCKED), "connection": list(_LOST)}
    while True:
        result = _once(state, host, command)
        left = pauses.get(result.failure.kind) if result.failure else None
        if result.failure is None or not left:
            return result
        pause = left.pop(0)
        host.log_styled(
            f"{command.label}: {result.failure.title}: {result.failure.cause}; trying again in {pause:g} s",
            fg="yellow",
            log_func=logger.warning,
        )
        gevent.sleep(pause)


def _once(state: State, host: Host, command: Command) -> Result:
    began = time.monotonic()
    failure: Failure | None = None
    output: Any = None
    text = ""
    line, environment = shell_of(command.root).prepared(command.line, command.environment)
    try:
        ok, output = host.run_shell_command(
            StringCommand(line),
            print_output=state.print_output,
            print_input=state.print_input,
            _timeout=command.timeout,
            _env=environment,
        )
    except TimeoutError as error:
        output = getattr(error, "output", None)  # our connectors keep what was said until then
        failure = classify("", 1, True, step=command.step, seconds=command.timeout)
    except TROUBLE as error:
        text = str(error) or type(error).__name__
        failure = _lost(text)
    else:
        code = getattr(output, "exit_code", None)
        if getattr(output, "lost", False):
            failure = _lost((output.stderr_lines or ["the connection broke"])[-1])
        elif not ok:
            failure = classify(output.output, 1 if code is None else code, False, step=command.step)
    seconds = time.monotonic() - began
    keep(command, text or (output.output if output else ""), seconds, failure)
    return Result(tuple(output.stdout_lines) if output else (), failure, seconds)


def _lost(text: str) -> Failure:
    return Failure("connection", text, "run the same command again: what is compiled is in the build cache already")


def keep(command: Command, text: str, seconds: float, failure: Failure | None) -> None:
    """Append the output to the command's file; a controller that cannot write it does not stop a build."""
    try:
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("a", encoding="utf-8", errors="replace") as file:
            said = redact(f"$ {command.line}\n{text}\n")
            file.write(f"{said}# {failure.title if failure else 'ok'}, {seconds:.1f} s\n\n")
    except OSError:
        return


def explain(host: Host, command: Command, failure: Failure) -> bool:
    """Say in at most three lines what went wrong, what to do, and where all of it is; returns False for the step."""
    host.log_styled(f"{command.label}: {failure.title}: {redact(failure.cause)}", fg="red", log_func=logger.error)
    host.log_styled(f"  to do: {failure.remedy}", fg="red", log_func=logger.error)
    host.log(f"  whole output: {command.log}", log_func=logger.error)
    return False
