"""Report: nothing to do on any host. The records are written when pyinfra ends, whatever happened (see _finish)."""

from __future__ import annotations

from pyinfra.api.host import Host

from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage


@stage("report")
def report(ctx: RunContext, host: Host) -> None:
    """Stands for the end of the flow in a deploy file; `_finish.at_end` does it."""
