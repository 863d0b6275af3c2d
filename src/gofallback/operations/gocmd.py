"""One go command on a builder: run, retried while a file is locked, its output logged, its failure explained.

A command with a job (`Command.job`) outlives its connection: see `gofallback.operations.detached`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import gevent
from pyinfra import logger
from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.builder.shell import shell_of
from gofallback.gobuild.build_failure import classify
from gofallback.gobuild.detached import DetachedResult
from gofallback.gobuild.failure import Failure
from gofallback.operations.command import Command
from gofallback.operations.detached import RECONNECT_PAUSES, run_detached
from gofallback.operations.remote import CONNECTION_ERRORS, heartbeat
from gofallback.redact import redact

_LOCKED_PAUSES = (1.0, 3.0, 8.0)
"""Seconds before each further attempt at a locked file: scanners let go of a new file within a few seconds."""


@dataclass(frozen=True)
class Result:
    """How it ended."""

    out: tuple[str, ...]
    failure: Failure | None
    seconds: float
    """Of the last attempt; of a detached command by its builder's clock, whichever run started it."""
    first_report: bool = True
    """False: another run that followed the same command got the report of its end before, and handles its product."""
    detached: bool = False
    """The command outlived its connection, if that broke."""


def run(state: State, host: Host, command: Command) -> Result:
    """Run it; again while another program has a file open, and again when the connection broke and came back.

    A detached command goes on without its connection and is followed again. An attached one ends with it (sshd ends its
    tree on Windows; elsewhere at the next line that it cannot print, and what it writes until then has the same
    bytes), and go's cache keeps what was compiled.
    """
    with heartbeat(state, host, command.label):
        return _run_with_retries(state, host, command)


def _run_with_retries(state: State, host: Host, command: Command) -> Result:
    pauses = {"permission": list(_LOCKED_PAUSES), "connection": list(RECONNECT_PAUSES)}
    while True:
        result = _run_detached(state, host, command) or _run_attached(state, host, command)
        if result.failure and result.failure.kind == "connection" and result.detached:
            return result  # it was retried by the follower, and may go on there
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


def _run_detached(state: State, host: Host, command: Command) -> Result | None:
    """None when the command cannot run detached."""
    began = time.monotonic()
    result = run_detached(state, host, command)
    if result is None:
        return None
    failure = _detached_failure(command, result)
    seconds = result.state.seconds if result.state else time.monotonic() - began
    append_log(command, result.text or result.lost, seconds, failure)
    first_report = result.state is None or result.state.first_report
    return Result(result.out, failure, seconds, first_report, detached=True)


def _detached_failure(command: Command, result: DetachedResult) -> Failure | None:
    state = result.state
    if state is None:
        remedy = "run the same command again: it takes up what goes on there; what is compiled is in the build cache"
        return Failure("connection", result.lost, remedy)
    if state.how == "exit":
        return None if state.code == 0 else classify(result.text, state.code, False, step=command.step)
    if state.how == "timeout":
        return classify("", 1, True, step=command.step, seconds=command.timeout)
    if state.how == "cancelled":
        return Failure("cancelled", "somebody ended it on the builder", "run the same command again to build it")
    if state.how == "dead":
        return Failure("connection", state.reason, "look after the builder, then run the same command again")
    return classify(state.reason, 1, False, step=command.step)


def _run_attached(state: State, host: Host, command: Command) -> Result:
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
            **({"_stdin": command.stdin} if command.stdin else {}),
        )
    except TimeoutError as error:
        output = getattr(error, "output", None)  # our connectors keep what was printed until then
        failure = classify("", 1, True, step=command.step, seconds=command.timeout)
    except CONNECTION_ERRORS as error:
        text = str(error) or type(error).__name__
        failure = _connection_lost(text)
    else:
        code = getattr(output, "exit_code", None)
        if getattr(output, "lost", False):
            failure = _connection_lost((output.stderr_lines or ["the connection broke"])[-1])
        elif not ok:
            failure = classify(output.output, 1 if code is None else code, False, step=command.step)
    seconds = time.monotonic() - began
    append_log(command, text or (output.output if output else ""), seconds, failure)
    return Result(tuple(output.stdout_lines) if output else (), failure, seconds)


def _connection_lost(text: str) -> Failure:
    return Failure("connection", text, "run the same command again: what is compiled is in the build cache already")


def append_log(command: Command, text: str, seconds: float, failure: Failure | None) -> None:
    """Append the output to the command's log; a controller that cannot write it does not stop a build."""
    try:
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("a", encoding="utf-8", errors="replace") as file:
            entry = redact(_masked(f"$ {command.line}\n{text}\n", command.secrets))
            file.write(f"{entry}# {failure.title if failure else 'ok'}, {seconds:.1f} s\n\n")
    except OSError:
        return


def _masked(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***") if len(secret) > 3 else text
    return text


def explain(host: Host, command: Command, failure: Failure) -> bool:
    """Log in at most three lines what went wrong, what to do, and where the output is; returns False for the step."""
    host.log_styled(f"{command.label}: {failure.title}: {redact(failure.cause)}", fg="red", log_func=logger.error)
    host.log_styled(f"  to do: {failure.remedy}", fg="red", log_func=logger.error)
    host.log(f"  whole output: {command.log}", log_func=logger.error)
    return False
