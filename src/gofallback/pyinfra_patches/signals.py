"""Signals that end a run.

pyinfra 3.10 exits 0 on Ctrl-C (pyinfra_cli/cli.py, `cli`), and SIGTERM and SIGHUP end it without output. Here each of
them ends the run in order, with the shell's exit status for the signal (128 and its number).
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import gevent
import pyinfra
from pyinfra.api.state import State

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_on_signals(state: State, stopped: Callable[[signal.Signals], None]) -> None:
    """End the program in order on a signal; no effect under pyinfra's API.

    Args:
        state: pyinfra's; its greenlets are ended.
        stopped: called first, with the signal.
    """

    def stop(number: int, _: object) -> None:
        stopped(signal.Signals(number))
        for greenlet in list(state.pool.greenlets):
            greenlet.kill(block=False)  # else disconnecting would wait for a free place in the pool
        # Raised here, it would end the greenlet that runs now, such as a paramiko thread, and the run would go on.
        gevent.get_hub().handle_system_error(SystemExit, SystemExit(128 + number))

    if pyinfra.is_cli:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, stop)


def ignore_signals() -> None:
    """Ignore signals during the end of the run; no effect under pyinfra's API."""
    if pyinfra.is_cli:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
