"""What a target must have, and must have free, before it takes a release. Pure."""

from __future__ import annotations

from gofallback.lease import holder
from gofallback.model import Service
from gofallback.release.state import TargetState

#: `systemd-run --collect` and `TemporaryFileSystem=`, `ProtectProc=` and its kin need it (systemd's NEWS).
OLDEST_SYSTEMD = 240


def requirements(target: TargetState) -> list[str]:
    """What a target lacks that every service needs; each one line with what to do."""
    problems = []
    if target.missing:
        problems.append(f"has no {', '.join(target.missing)}; install what brings them (a Debian has them)")
    if target.systemd < OLDEST_SYSTEMD:
        problems.append(f"has systemd {target.systemd or 'none'}; at least {OLDEST_SYSTEMD} is needed")
    return problems


def preconditions(
    target: TargetState,
    service: Service,
    needed: int,
    minimum_free_mb: int,
    run_id: str = "",
    takeover: str | None = None,
) -> list[str]:
    """Why a target cannot take a release; each one line with what to do.

    Args:
        target: what the target told.
        service: the service.
        needed: bytes the upload needs; 0 when that is not known or nothing is uploaded.
        minimum_free_mb: `target.minimum_free_mb`.
        run_id: of this run, whose own lease is no obstacle.
        takeover: id of the run whose lease may be taken from it.
    """
    problems = requirements(target)
    free = target.free.get(service.home)
    wanted = needed + minimum_free_mb * 1024 * 1024
    if free is not None and free < wanted:
        problems.append(
            f"disk full: {free >> 20} MB free below {service.home}, {-(-wanted >> 20)} MB are needed; free space there"
        )
    state = target.services.get(service.name)
    if state and state.lease and holder.in_the_way(state.lease, run_id, takeover):
        problems.append(holder.refusal(service.name, state.lease, takeover))
    return problems
