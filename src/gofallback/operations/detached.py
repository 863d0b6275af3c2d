"""A detached command on a builder: followed live, and followed again after a broken connection.

The builder's own Go compiles the keeper that runs it there (``src/gofallback/keeper``), once for each version of its
sources. Where that is impossible, the command runs attached to its connection: it never fails for want of a keeper.
See docs/detached-builds.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import gevent
from gevent.event import Event
from gevent.lock import RLock
from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.output import echo
from pyinfra.api.state import State

from gofallback.builder.paths import Layout
from gofallback.connectors.connection import LostConnectionError
from gofallback.connectors.output import RemoteOutput
from gofallback.connectors.ssh import LineConnector
from gofallback.gobuild.detached import (
    ATTACHED,
    MISSING,
    AnswerReader,
    DetachedJob,
    DetachedResult,
    JobState,
    ProtocolError,
    request,
)
from gofallback.operations.command import Command
from gofallback.operations.detached_helper import KeeperError, cancel, end_reason, install, keeper_line
from gofallback.windows.quoting import COMMAND_LIMIT

RECONNECT_PAUSES = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds before each further attempt after the connection broke: sshd is back soon, a restarted builder later."""
_GRACE = 60.0
"""Seconds beyond a job's timeout after which the controller gives it up, if its builder has not ended it."""
_STARTS = 3
"""How often a job is started that dies with its builder."""


@dataclass
class _Keeper:
    """The keeper of one builder, during a run."""

    lock: RLock = field(default_factory=RLock)
    installed: bool = False
    unusable: str | None = None
    """Why commands run attached there."""


_KEEPERS: WeakKeyDictionary[Host, _Keeper] = WeakKeyDictionary()
_RUNNING: dict[tuple[Host, str], tuple[DetachedJob, str]] = {}
"""Jobs that this program has started and follows: host and id to job and label. See `end_running`."""
_STOPPING = Event()


def stop_following() -> None:
    """Log no lost connection from now on: the program ends."""
    _STOPPING.set()


def can_detach(host: Host, line: str) -> bool:
    """Whether the keeper can run a line on this host: cmd.exe takes a long one only as a batch file."""
    return isinstance(host.connector, LineConnector) and "\n" not in line and len(line) < COMMAND_LIMIT - 200


def run_detached(state: State, host: Host, command: Command) -> DetachedResult | None:
    """Run a command through the keeper and follow it to its end, over as many connections as that takes.

    Returns:
        None when the builder cannot run it detached: run it attached. One line has said why, once for each builder, and
        nothing of the command runs there: two of it would write into one output.
    """
    keeper, job = _KEEPERS.setdefault(host, _Keeper()), command.job
    if job is None or keeper.unusable is not None or not can_detach(host, command.line):
        return None
    try:
        return _Follower(state, host, command, job, keeper).follow()
    except _AttachedError as error:
        if error.started and (problem := _end_started(state, host, job, command.label)):
            return DetachedResult((), None, lost=f"{error}; {problem}")
        with keeper.lock:
            if keeper.unusable is None:
                keeper.unusable = str(error)
                _warn(host, f"builds on this builder end with their connection: {error}")
        return None


class _AttachedError(Exception):
    """The builder cannot run commands detached; one line."""

    def __init__(self, why: str, *, started: bool = False) -> None:
        super().__init__(why)
        self.started = started
        """The command may run there all the same."""


def _end_started(state: State, host: Host, job: DetachedJob, label: str) -> str:
    """End a command that may have started; why it may go on there, or nothing."""
    try:
        ended = cancel(state, host, job.root, job.id)
    except KeeperError as error:
        return f"what was begun may go on there and cannot be ended ({error})"
    finally:
        _RUNNING.pop((host, job.id), None)
    if ended:
        _warn(host, f"{label}: what was begun there has been ended, to do it while the connection lasts")
    return ""


class _Follower:
    """One command, from its start to its end."""

    def __init__(self, state: State, host: Host, command: Command, job: DetachedJob, keeper: _Keeper) -> None:
        self.state, self.host, self.command, self.job, self.keeper = state, host, command, job, keeper
        assert isinstance(host.connector, LineConnector)
        self.connector: LineConnector = host.connector
        self.collected: list[tuple[str, str]] = []
        self.install_tried = False
        self.has_started = False
        self.id = secrets.token_hex(4)
        """The same over all connections of this follower: for its keeper they are one."""
        self._reset()

    def _reset(self) -> None:
        """Prepare for a new start of the job."""
        self.collected.clear()
        self.streams = {name: self.connector.lines(name, self._take) for name in ("stdout", "stderr")}
        self.answer = AnswerReader(lambda name, data: self.streams[name].feed(data))
        self.start_logged = False
        self.requests = 0
        """How often the job was requested; the second time it may be our own that is joined."""

    def _take(self, name: str, lines: list[str]) -> None:
        self.collected.extend((name, line) for line in lines)
        if self.state.print_output:
            for line in lines:
                self.connector.show(name, line)

    def follow(self) -> DetachedResult:
        pauses, starts = list(RECONNECT_PAUSES), 1
        while True:
            output = self._connect()
            ended = self.answer.ended
            if ended is not None and ended.how == "dead" and starts < _STARTS:
                starts += 1
                self._restart(f"the build died with its builder ({ended.reason})")
            elif ended is not None:
                return self._end(ended)
            elif output.timed_out:
                return self._give_up()
            elif output.lost or output.exit_code is None:
                why = end_reason(output, "the connection broke")
                if not pauses:
                    return self._end(None, lost=why)
                self._pause(why, pauses.pop(0))
            elif output.exit_code == MISSING and not self.install_tried:
                self.install_tried = True
                self._install()
            elif self.answer.started is not None and starts < _STARTS:
                starts += 1  # it had started, and the builder does not know it any more
                self._restart(end_reason(output, "the build is gone"))
            elif output.exit_code == ATTACHED:
                raise _AttachedError(end_reason(output, "the host lets no process outlive its connection"))
            else:
                why = end_reason(output, f"its keeper ended with {output.exit_code}")
                raise _AttachedError(why, started=self.has_started)

    def _restart(self, why: str) -> None:
        _warn(self.host, f"{self.command.label}: {why}; building again")
        _RUNNING.pop((self.host, self.job.id), None)
        self._reset()

    def _connect(self) -> RemoteOutput:
        """One connection: from the start of the job, or from where the last one broke."""
        command, job, stdin = self.command, self.job, b""
        arguments = [Layout(job.root).jobs, job.id, self.id]
        self.answer.reconnect()
        if self.answer.started is None:
            self.requests += 1
            arguments = ["run", *arguments]
            stdin = request(
                command.line,
                command.environment,
                command.timeout,
                label=command.label,
                product=job.product,
                stdin=command.stdin,
                secrets=command.secrets,
            )
        else:
            arguments = ["follow", *arguments, self.answer.started.instance, str(self.answer.offset)]
        if self.state.print_input:
            echo(f"{self.host.print_prefix}>>> {command.line}", err=True)
        try:
            return self.connector.stream(
                keeper_line(job.root, arguments),
                stdin=stdin,
                timeout=command.timeout + _GRACE,
                on_stdout=self._feed,
            )
        except ProtocolError as error:
            raise _AttachedError(str(error), started=True) from None

    def _feed(self, data: bytes) -> None:
        self.answer.feed(data)
        started = self.answer.started
        if started is None or self.start_logged:
            return
        self.start_logged = self.has_started = True
        label, job = self.command.label, self.job
        if started.way == "started" or self.requests > 1:
            _RUNNING[(self.host, job.id)] = (job, label)
        elif started.way == "joined":
            self.host.log(f"{label}: another run began it; following that one, which a Ctrl-C here does not end")
        else:
            self.host.log(f"{label}: an earlier run left it finished; nothing is built twice")

    def _pause(self, why: str, seconds: float) -> None:
        if not _STOPPING.is_set():  # else the program itself disconnects, and `end_running` reports the build
            goes_on = "it goes on there; " if self.answer.started else ""
            label = self.command.label
            _warn(self.host, f"{label}: connection lost: {why}; {goes_on}trying again in {seconds:g} s")
        gevent.sleep(seconds)

    def _give_up(self) -> DetachedResult:
        """The builder should have ended it long ago: its keeper hangs, or another run gave the job more time."""
        job = self.job
        if (self.host, job.id) in _RUNNING:
            with suppress(KeeperError):
                cancel(self.state, self.host, job.root, job.id)
        instance = self.answer.started.instance if self.answer.started else ""
        return self._end(JobState(instance=instance, how="timeout", code=1, seconds=self.command.timeout))

    def _install(self) -> None:
        pauses, command = list(RECONNECT_PAUSES), self.command
        with self.keeper.lock:
            while not self.keeper.installed:
                try:
                    install(self.state, self.host, self.job, command.environment, command.log.parent)
                except LostConnectionError as error:
                    if not pauses:
                        raise _AttachedError(str(error)) from None
                    self._pause(str(error), pauses.pop(0))
                except KeeperError as error:
                    raise _AttachedError(str(error)) from None
                else:
                    self.keeper.installed = True

    def _end(self, state: JobState | None, lost: str = "") -> DetachedResult:
        _RUNNING.pop((self.host, self.job.id), None)
        for stream in self.streams.values():
            stream.end()
        return DetachedResult(tuple(self.collected), state, lost)


def end_running(report: Callable[[str, bool], None], *, keep: bool) -> None:
    """When the program is stopped: end the jobs that it has started and still follows.

    Args:
        report: gets a line, and whether it is bad news.
        keep: let them go on there, and report how to follow them again.
    """
    for (host, id), (job, label) in list(_RUNNING.items()):
        _RUNNING.pop((host, id), None)
        hint = "the same command takes it up, deploys/builds.py --data cancel=all ends it"
        if keep:
            report(f"[{host.name}] {label}: goes on there; {hint}", False)
            continue
        try:
            cancel(host.state, host, job.root, id)
        except KeeperError as error:
            report(f"[{host.name}] {label}: cannot be ended ({error}); it goes on there: {hint}", True)
        else:
            report(f"[{host.name}] {label}: ended on the builder, no process of it is left", False)


def _warn(host: Host, text: str) -> None:
    host.log_styled(text, fg="yellow", log_func=logger.warning)
