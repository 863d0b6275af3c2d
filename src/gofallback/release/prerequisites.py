"""What a target needs before a release can be uploaded: programs, systemd, disk space, a free lease. Pure."""

from __future__ import annotations

from gofallback.lease import holder
from gofallback.model import Service
from gofallback.release.state import TargetState

#: Needed for `systemd-run --collect`, `TemporaryFileSystem=`, `ProtectProc=` and similar (systemd's NEWS).
OLDEST_SYSTEMD = 240


def requirement_problems(target: TargetState) -> list[str]:
    """Programs and versions that every service needs and the target lacks; one line each, with the remedy."""
    problems = []
    if target.missing:
        problems.append(f"has no {', '.join(target.missing)}; install what brings them (a Debian has them)")
    if target.systemd < OLDEST_SYSTEMD:
        problems.append(f"has systemd {target.systemd or 'none'}; at least {OLDEST_SYSTEMD} is needed")
    return problems


def upload_problems(
    target: TargetState,
    service: Service,
    needed: int,
    minimum_free_mb: int,
    run_id: str = "",
    takeover: str | None = None,
) -> list[str]:
    """Why a release cannot be uploaded to a target; one line each, with the remedy.

    Args:
        target: its state.
        service: the service.
        needed: bytes the upload needs; 0 if that is not known or nothing is uploaded.
        minimum_free_mb: `target.minimum_free_mb`.
        run_id: of this run, whose own lease does not count.
        takeover: id of the run whose lease may be taken over.
    """
    problems = requirement_problems(target)
    free = target.free.get(service.home)
    required = needed + minimum_free_mb * 1024 * 1024
    if free is not None and free < required:
        problems.append(
            f"disk full: {free >> 20} MB free below {service.home}, {-(-required >> 20)} MB are needed; "
            "free space there"
        )
    state = target.services.get(service.name)
    if state and state.lease and holder.blocks(state.lease, run_id, takeover):
        problems.append(holder.refusal(service.name, state.lease, takeover))
    return problems
