"""One go command on a builder: run, retried while a file is locked, its output kept, its failure explained.

A command that says how (`Command.kept`) outlives its connection: see `gofallback.operations.kept`.
"""

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

from gofallback.builder.shell import shell_of
from gofallback.gobuild.build_failure import Step, classify
from gofallback.gobuild.detached import DetachedJob, Ended
from gofallback.gobuild.failure import Failure
from gofallback.operations.detached import Work, run_detached
from gofallback.operations.remote import CONNECTION_ERRORS, heartbeat
from gofallback.redact import redact

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
    kept: DetachedJob | None = None
    """How the builder keeps it; None: it ends with its connection."""
    stdin: bytes = b""
    """What it reads; never written to a disk, nor are its variables when it is kept."""
    secrets: tuple[str, ...] = ()
    """What is masked in its output."""


@dataclass(frozen=True)
class Result:
    """How it ended."""

    out: tuple[str, ...]
    failure: Failure | None
    seconds: float
    """Of the last attempt; of a kept command as its builder tells it, whoever began it."""
    first: bool = True
    """False: another run that followed the same command was told of its end before, and sees to what it made."""
    attached: bool = True
    """The command ended with its connection, if that broke."""


def run(state: State, host: Host, command: Command) -> Result:
    """Run it; again while something else has a file open, and again when the connection broke and came back.

    A kept command goes on without its connection and is taken up again. One that is not kept ends with it (sshd ends
    its tree on Windows; elsewhere at the next line that it cannot print, and what it writes until then has the same
    bytes), and go's cache has what was done.
    """
    with heartbeat(state, host, command.label):
        return _until_it_ends(state, host, command)


def _until_it_ends(state: State, host: Host, command: Command) -> Result:
    pauses = {"permission": list(_LOCKED), "connection": list(_LOST)}
    while True:
        result = _kept(state, host, command) or _once(state, host, command)
        if result.failure and result.failure.kind == "connection" and command.kept and not result.attached:
            return result  # it was tried again and again, and may go on there
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


def _kept(state: State, host: Host, command: Command) -> Result | None:
    """The command as its builder keeps it; None when it does not."""
    if command.kept is None:
        return None
    work = Work(
        kept=command.kept,
        label=command.label,
        line=command.line,
        environment=command.environment,
        timeout=command.timeout,
        scratch=command.log.parent,
        stdin=command.stdin,
        secrets=command.secrets,
    )
    began = time.monotonic()
    ended = run_detached(state, host, work)
    if ended is None:
        return None
    failure = _failure(command, ended)
    seconds = ended.standing.seconds if ended.standing else time.monotonic() - began
    keep(command, ended.text or ended.lost, seconds, failure)
    return Result(ended.out, failure, seconds, ended.standing is None or ended.standing.first, attached=False)


def _failure(command: Command, ended: Ended) -> Failure | None:
    standing = ended.standing
    if standing is None:
        remedy = "run the same command again: it takes up what goes on there; what is compiled is in the build cache"
        return Failure("connection", ended.lost, remedy)
    if standing.how == "exit":
        code = standing.code
        return None if code == 0 else classify(ended.text, code, False, step=command.step)
    if standing.how == "timeout":
        return classify("", 1, True, step=command.step, seconds=command.timeout)
    if standing.how == "cancelled":
        return Failure("cancelled", "somebody ended it on the builder", "run the same command again to build it")
    if standing.how == "dead":
        return Failure("connection", standing.reason, "look after the builder, then run the same command again")
    return classify(standing.reason, 1, False, step=command.step)


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
            **({"_stdin": command.stdin} if command.stdin else {}),
        )
    except TimeoutError as error:
        output = getattr(error, "output", None)  # our connectors keep what was said until then
        failure = classify("", 1, True, step=command.step, seconds=command.timeout)
    except CONNECTION_ERRORS as error:
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
            said = redact(_masked(f"$ {command.line}\n{text}\n", command.secrets))
            file.write(f"{said}# {failure.title if failure else 'ok'}, {seconds:.1f} s\n\n")
    except OSError:
        return


def _masked(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***") if len(secret) > 3 else text
    return text


def explain(host: Host, command: Command, failure: Failure) -> bool:
    """Say in at most three lines what went wrong, what to do, and where all of it is; returns False for the step."""
    host.log_styled(f"{command.label}: {failure.title}: {redact(failure.cause)}", fg="red", log_func=logger.error)
    host.log_styled(f"  to do: {failure.remedy}", fg="red", log_func=logger.error)
    host.log(f"  whole output: {command.log}", log_func=logger.error)
    return False
