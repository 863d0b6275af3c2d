"""Work on a host just before pyinfra closes its connection.

pyinfra 3.10 executes no more operations on a failed host, and none at all after a run was stopped. But it always calls
`Host.disconnect` at the end (pyinfra_cli/cli.py, `_main`; pyinfra/api/connect.py, `disconnect_all`), so the work is
done before that.
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
