"""Stage `report`: nothing to do on any host. `run.finish` writes the records when pyinfra ends, however it ends."""

from __future__ import annotations

from pyinfra.api.host import Host

from gofallback.deploys.run.context import RunContext
from gofallback.deploys.run.stage import stage


@stage("report")
def report(ctx: RunContext, host: Host) -> None:
    """Marks the end of the flow in a deploy file; the work is in `run.finish.finish`."""
