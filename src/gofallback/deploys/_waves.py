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


def in_order(here: Site) -> list[Host]:
    """All targets, canaries first."""
    first = canaries(here)
    return [*first, *(host for host in here.targets if host not in first)]


def failure(here: Site) -> str | None:
    """Why this run does not do what it was asked: what failed first; None while all is well."""
    for (host, service), outcome in here.run.outcomes.items():
        if outcome.state in ("failed", "reverted", "untouched"):
            return here.run.cause or f"{service} on {host}: {outcome.reason or outcome.state}"
    return None


def halt(here: Site) -> str | None:
    """Why no further target may be switched; None while all is well.

    Every target has to have the release, verified, before the first one is switched; and one failure stops the rest.
    """
    found = failure(here)
    if found:
        return found
    needed = [*here.targets, *([here.builder] if here.builder else [])]
    lost = [host.name for host in needed if host not in here.state.active_hosts]
    return (here.run.cause or f"{', '.join(lost)} failed (see above)") if lost else None


def stopped(here: Site, host: Host) -> bool:
    """Whether the builder need not work, because a target has failed already; says so."""
    reason = halt(here)
    if reason is not None:
        host.log_styled(f"nothing is built, because of {reason}", fg="yellow")
    return reason is not None
