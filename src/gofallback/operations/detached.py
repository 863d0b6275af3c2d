"""A command that its builder keeps: it runs detached, is followed live, and taken up again after a broken connection.

The helper that does it there (``src/gofallback/keeper``) is compiled by the builder's own Go, once for each version of
its sources. Whatever is in the way of that, the command is run attached, as it would be without: never is it a reason
to fail. See docs/detached-builds.md.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
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
from gofallback.gobuild.detached import ATTACHED, MISSING, Answer, DetachedJob, Ended, JobState, ProtocolError, request
from gofallback.operations.detached_helper import cancel, guarded, install, last_words
from gofallback.windows.quoting import COMMAND_LIMIT

_LOST = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds before each further attempt after the connection broke: sshd is back soon, a restarted builder later."""
_GRACE = 60.0
"""Seconds after which a job whose time is over and that its builder has not ended is given up here."""
_STARTS = 3
"""How often a job is started that dies with its builder."""


@dataclass
class _Builder:
    """What is known of one builder's helper during a run."""

    lock: RLock = field(default_factory=RLock)
    there: bool = False
    refused: str | None = None
    """Why commands are run attached there."""


_BUILDERS: WeakKeyDictionary[Host, _Builder] = WeakKeyDictionary()
_RUNNING: dict[tuple[Host, str], tuple[DetachedJob, str]] = {}
"""Jobs that this program has started and follows: host and id to job and label. See `end_running`."""


_LEAVING = Event()


def stop_following() -> None:
    """The program was told to stop: that its connections end now is no news."""
    _LEAVING.set()


def fits(host: Host, line: str) -> bool:
    """Whether the helper can run a line on this host: cmd.exe takes a long one only as a batch file."""
    return isinstance(host.connector, LineConnector) and "\n" not in line and len(line) < COMMAND_LIMIT - 200


@dataclass(frozen=True)
class Work:
    """One command to keep."""

    kept: DetachedJob
    label: str
    line: str
    environment: Mapping[str, str]
    timeout: float
    """Seconds."""
    scratch: Path
    """Folder on the controller for what is uploaded; it is removed again."""
    stdin: bytes = b""
    secrets: tuple[str, ...] = ()


def run_detached(state: State, host: Host, work: Work) -> Ended | None:
    """Run a command through the helper and follow it to its end, over as many connections as that takes.

    Returns:
        None when the builder cannot keep commands: run it attached. One line has said why, once for each builder, and
        nothing of the command runs there: two of it would write into one output.
    """
    known = _BUILDERS.setdefault(host, _Builder())
    if known.refused is not None or not fits(host, work.line):
        return None
    try:
        return _Follower(state, host, work, known).follow()
    except _CannotError as error:
        if error.begun and (left := _take_back(state, host, work)):
            return Ended((), None, lost=f"{error}; {left}")
        with known.lock:
            if known.refused is None:
                known.refused = str(error)
                _warn(host, f"builds on this builder end with their connection: {error}")
        return None


class _CannotError(Exception):
    """The builder cannot keep commands; one line."""

    def __init__(self, why: str, *, begun: bool = False) -> None:
        super().__init__(why)
        self.begun = begun
        """The command may run there all the same."""


def _take_back(state: State, host: Host, work: Work) -> str:
    """End what may have been begun; why it may go on there, or nothing."""
    ended = cancel(state, host, work.kept.root, work.kept.id)
    _RUNNING.pop((host, work.kept.id), None)
    if isinstance(ended, str):
        return f"what was begun may go on there and cannot be ended ({ended})"
    if ended:
        _warn(host, f"{work.label}: what was begun there has been ended, to do it while the connection lasts")
    return ""


class _Follower:
    """One command, from its start to its end."""

    def __init__(self, state: State, host: Host, work: Work, known: _Builder) -> None:
        self.state, self.host, self.work, self.known = state, host, work, known
        assert isinstance(host.connector, LineConnector)
        self.connector: LineConnector = host.connector
        self.collected: list[tuple[str, str]] = []
        self.asked = 0
        """How often the job was asked for; the second time it may be our own that is joined."""
        self.installed = False
        self.began = False
        self.who = secrets.token_hex(4)
        """Over all of its connections one who follows: what an old one was told counts as told to this one."""
        self._fresh()

    def _fresh(self) -> None:
        self.collected.clear()
        streams = {name: self.connector.lines(name, self._lines) for name in ("stdout", "stderr")}
        self.streams = streams
        self.answer = Answer(lambda name, data: streams[name].feed(data))
        self.greeted, self.asked = False, 0

    def _lines(self, name: str, lines: list[str]) -> None:
        self.collected.extend((name, line) for line in lines)
        if self.state.print_output:
            for line in lines:
                self.connector.show(name, line)

    def follow(self) -> Ended:
        pauses, starts = list(_LOST), 1
        while True:
            output = self._talk()
            ended = self.answer.ended
            if ended is not None and ended.how == "dead" and starts < _STARTS:
                starts += 1
                _warn(self.host, f"{self.work.label}: the build died with its builder ({ended.reason}); building again")
                self._forget()
                self._fresh()
            elif ended is not None:
                return self._end(ended)
            elif output.timed_out:
                return self._overdue()
            elif output.lost or output.exit_code is None:
                why = last_words(output, "the connection broke")
                if not pauses:
                    return self._end(None, lost=why)
                self._wait(why, pauses.pop(0))
            elif output.exit_code == MISSING and not self.installed:
                self.installed = True
                self._install()
            elif self.answer.begun is not None and starts < _STARTS:
                starts += 1  # it began, and the builder knows nothing of it any more
                _warn(self.host, f"{self.work.label}: {last_words(output, 'the build is gone')}; building again")
                self._forget()
                self._fresh()
            else:
                code = output.exit_code
                if code == ATTACHED:
                    raise _CannotError(last_words(output, "the host lets no process outlive its connection"))
                raise _CannotError(last_words(output, f"its helper ended with {code}"), begun=self.began)

    def _talk(self) -> RemoteOutput:
        """One connection: from the start of the job, or from where the last one broke."""
        kept, stdin = self.work.kept, b""
        words = [Layout(kept.root).jobs, kept.id, self.who]
        self.answer.again()
        if self.answer.begun is None:
            self.asked += 1
            words = ["run", *words]
            stdin = request(
                self.work.line,
                self.work.environment,
                self.work.timeout,
                label=self.work.label,
                product=kept.product,
                stdin=self.work.stdin,
                secrets=self.work.secrets,
            )
        else:
            words = ["follow", *words, self.answer.begun.instance, str(self.answer.offset)]
        if self.state.print_input:
            echo(f"{self.host.print_prefix}>>> {self.work.line}", err=True)
        timeout = self.work.timeout + _GRACE
        try:
            return self.connector.stream(guarded(kept.root, words), stdin=stdin, timeout=timeout, on_stdout=self._hear)
        except ProtocolError as error:
            raise _CannotError(str(error), begun=True) from None

    def _hear(self, data: bytes) -> None:
        self.answer.feed(data)
        begun = self.answer.begun
        if begun is None or self.greeted:
            return
        self.greeted = self.began = True
        if begun.way == "started" or self.asked > 1:
            _RUNNING[(self.host, self.work.kept.id)] = (self.work.kept, self.work.label)
        elif begun.way == "joined":
            self.host.log(
                f"{self.work.label}: another run began it; following that one, which a Ctrl-C here does not end"
            )
        else:
            self.host.log(f"{self.work.label}: an earlier run left it finished; nothing is built twice")

    def _wait(self, why: str, seconds: float) -> None:
        if _LEAVING.is_set():  # we hung up ourselves; what becomes of the build is said by end_running
            gevent.sleep(seconds)
            return
        why = why.replace("; whether it finished there is not known", "")
        goes_on = "it goes on there; " if self.answer.begun else ""
        _warn(self.host, f"{self.work.label}: connection lost: {why}; {goes_on}trying again in {seconds:g} s")
        gevent.sleep(seconds)

    def _overdue(self) -> Ended:
        """The builder should have ended it long ago: its helper hangs, or another run gave the job more time."""
        if (self.host, self.work.kept.id) in _RUNNING:
            cancel(self.state, self.host, self.work.kept.root, self.work.kept.id)
        instance = self.answer.begun.instance if self.answer.begun else ""
        return self._end(JobState(instance=instance, how="timeout", code=1, seconds=self.work.timeout))

    def _install(self) -> None:
        pauses = list(_LOST)
        with self.known.lock:
            while not self.known.there:
                try:
                    trouble = install(self.state, self.host, self.work.kept, self.work.environment, self.work.scratch)
                except LostConnectionError as error:
                    if not pauses:
                        raise _CannotError(str(error)) from None
                    self._wait(str(error), pauses.pop(0))
                    continue
                if trouble:
                    raise _CannotError(trouble)
                self.known.there = True

    def _forget(self) -> None:
        _RUNNING.pop((self.host, self.work.kept.id), None)

    def _end(self, standing: JobState | None, lost: str = "") -> Ended:
        self._forget()
        for stream in self.streams.values():
            stream.end()
        return Ended(tuple(self.collected), standing, lost)


def end_running(say: Callable[[str, bool], None], *, leave: bool) -> None:
    """At the end of a program that was told to stop: end what it has started and still follows.

    Args:
        say: gets a line and whether it is bad news.
        leave: let it go on there, and say how to take it up.
    """
    for (host, job), (kept, label) in list(_RUNNING.items()):
        _RUNNING.pop((host, job), None)
        hint = "the same command takes it up, deploys/builds.py --data cancel=all ends it"
        if leave:
            say(f"[{host.name}] {label}: goes on there; {hint}", False)
            continue
        ended = cancel(host.state, host, kept.root, job)
        if isinstance(ended, str):
            say(f"[{host.name}] {label}: cannot be ended ({ended}); it goes on there: {hint}", True)
        else:
            say(f"[{host.name}] {label}: ended on the builder, no process of it is left", False)


def _warn(host: Host, text: str) -> None:
    host.log_styled(text, fg="yellow", log_func=logger.warning)
