"""Which targets go first, and when the rest may follow. Pure but for reading the run."""

from __future__ import annotations

from pyinfra.api.host import Host

from gofallback.deploys._site import Site


def canaries(here: Site) -> list[Host]:
    """The targets that get a release first: those marked, else the first of the inventory when there are several."""
    marked = [host for host in here.targets if here.fleet(host).target.canary]
    if marked or len(here.targets) < 2:
        return marked
    return here.targets[:1]


def halt(here: Site) -> str | None:
    """Why no further target may be switched; None while all is well.

    Every target has to have the release, verified, before the first one is switched; and one failure stops the rest.
    """
    for (host, service), outcome in here.run.outcomes.items():
        if outcome.state in ("failed", "reverted", "untouched"):
            return f"{service} on {host}: {outcome.reason or outcome.state}"
    lost = [host.name for host in here.targets if host not in here.state.active_hosts]
    return f"{', '.join(lost)} failed (see above)" if lost else None
