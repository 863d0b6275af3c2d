"""Work that is done on a host just before pyinfra lets go of its connection.

pyinfra 3.10 gives a host that failed no further operation, and a host of a run that was stopped none at all. But it
calls `Host.disconnect` in the end, whatever happened (pyinfra_cli/cli.py, `_main`; pyinfra/api/connect.py,
`disconnect_all`), so the work is put in front of that.
"""

from __future__ import annotations

from collections.abc import Callable

from pyinfra.api.host import Host


def before_disconnect(host: Host, work: Callable[[], None]) -> None:
    """Call ``work`` once before the host is disconnected; the host is disconnected even if ``work`` raises."""
    disconnect: Callable[[], None] = host.disconnect

    def work_first() -> None:
        try:
            work()
        finally:
            disconnect()

    host.disconnect = work_first  # type: ignore[method-assign]
