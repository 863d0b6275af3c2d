"""Runs the smoke command on a target, in a locked-down transient unit."""

from __future__ import annotations

import time
from collections.abc import Callable

from pyinfra.api.host import Host
from pyinfra.api.state import State

from gofallback.model import Service
from gofallback.operations.target.channel import BrokenError, run
from gofallback.release import smoke


def smoke_test(
    state: State,
    host: Host,
    service: Service,
    release: str,
    version: str,
    run_id: str,
    *,
    sudo: bool = True,
    report: Callable[[str], None] | None = None,
) -> bool:
    """Step: run `service.smoke` from the uploaded release, before the switch; True when the service has none.

    Args:
        state: pyinfra's.
        host: the first target; the release is there.
        service: group data.
        release: folder name.
        version: what `{version}` in `smoke_expect` stands for.
        run_id: of this run.
        sudo: `target.sudo`.
        report: gets the line that says why it failed, for the run's record.

    Returns:
        False after one red line; nothing that runs was changed.
    """
    if not service.smoke:
        return True
    began = time.monotonic()
    try:
        code, lines = run(state, host, smoke.script(service, release, run_id), sudo=sudo)
    except BrokenError as error:
        problem = f"the connection broke ({error})"
    else:
        problem = smoke.problem(service, version, code, lines)
    if problem:
        host.log_styled(f"smoke {service.name} {release}: {problem}; nothing that runs was changed", fg="red")
        if report:
            report(f"smoke test: {problem}")
        return False
    host.log(f"smoke {service.name} {release}: runs here ({time.monotonic() - began:.1f} s)")
    return True
