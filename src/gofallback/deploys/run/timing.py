"""Times every stage on every host through pyinfra's callbacks: the run's timeline."""

from __future__ import annotations

from collections.abc import Callable

from gevent.lock import RLock
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

from gofallback.deploys.run.state import Run, Span


class Timing(BaseStateCallback):
    """Opens a span when an operation starts on a host and closes it when it ends."""

    def __init__(self, run: Run, begin: Callable[[], None]) -> None:
        self._run = run
        self._begin = begin
        self._beginning = RLock()
        self._open: dict[tuple[str, str], Span] = {}
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
        self._open[(host.name, op_hash)] = self._run.begin(stage, host.name)

    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0
    ) -> None:
        self._close(host, op_hash, ok=True)

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        span = self._close(host, op_hash, ok=False)
        if span is not None:
            # A step that knows more has said so already (Run.blame).
            self._run.cause = self._run.cause or f"{span.stage} failed on {host.name}, see its output above"

    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        self._ended.add(op_hash)
        self._run.complete = self._ended >= state.op_meta.keys()

    def _close(self, host: Host, op_hash: str, *, ok: bool) -> Span | None:
        span = self._open.pop((host.name, op_hash), None)
        if span is not None:
            self._run.end(span, ok)
        return span
