"""Stages as events: pyinfra's callbacks become `StageBegan` and `StageEnded`, and the timeline is a listener."""

from __future__ import annotations

from collections.abc import Callable

from gevent.lock import RLock
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

from gofallback.deploys.run.state import Run, Span
from gofallback.journal.events import Event, StageBegan, StageEnded


class StageCallbacks(BaseStateCallback):
    """Emits an event when an operation starts on a host, and one when it ends there."""

    def __init__(self, run: Run, begin: Callable[[], None]) -> None:
        """Emit into a run.

        Args:
            run: the run.
            begin: called once, before any host does anything.
        """
        self._run = run
        self._begin = begin
        self._beginning = RLock()
        self._open: dict[tuple[str, str], str] = {}
        self._ended: set[str] = set()

    # pyinfra declares these static and calls them on the object, so plain methods do.
    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        with self._beginning:  # the journal's first line is written before any host does anything
            if not self._run.executed:
                self._run.executed, self._run.executing_since = True, self._run.elapsed
                self._begin()
        if op_hash not in state.ops[host]:
            return
        names = state.get_op_meta(op_hash).names
        stage = min(names, default="?").split(" | ")[0]
        self._open[(host.name, op_hash)] = stage
        self._run.emit(StageBegan(host=host.name, stage=stage, operation=op_hash))

    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0
    ) -> None:
        self._close(host, op_hash, ok=True)

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        stage = self._close(host, op_hash, ok=False)
        if stage is not None:
            # A step that knows the reason has set the cause already (`Run.set_first_cause`).
            self._run.set_first_cause(f"{stage} failed on {host.name}, see its output above")

    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        self._ended.add(op_hash)
        self._run.complete = self._ended >= state.op_meta.keys()

    def _close(self, host: Host, op_hash: str, *, ok: bool) -> str | None:
        stage = self._open.pop((host.name, op_hash), None)
        if stage is not None:
            self._run.emit(StageEnded(host=host.name, stage=stage, operation=op_hash, ok=ok))
        return stage


class Timeline:
    """A listener that keeps the spans of the run's timeline."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._open: dict[tuple[str | None, str], Span] = {}

    def __call__(self, event: Event) -> None:
        """Open or close a span."""
        if isinstance(event, StageBegan):
            span = Span(stage=event.stage, host=event.host or "", start=self._run.elapsed)
            self._run.spans.append(span)
            self._open[event.host, event.operation] = span
        elif isinstance(event, StageEnded):
            span = self._open.pop((event.host, event.operation))
            span.end, span.ok = self._run.elapsed, event.ok
