"""What a run knows of one service on one target. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gofallback.rollout.phases import TargetPhase


@dataclass
class TargetOutcome:
    """One service on one target, as far as the run knows."""

    host: str
    service: str
    phase: TargetPhase = TargetPhase.PLANNED
    release: str | None = None
    """The release that this run puts there."""
    previous: str | None = None
    """The release that was live before."""
    live: str | None = None
    """The release that is live now; None: none, or not known."""
    commit: str | None = None
    sha256: str | None = None
    healthy: bool | None = None
    seconds: float = 0.0
    reason: str | None = None
    evidence: tuple[str, ...] = ()
    run_id: str | None = None
    """The run that made the activation, where it is another one: an earlier part of a resumed run."""
    deadline: str = ""
    """When a provisional release goes back by itself unless it is confirmed: the target's clock, RFC 3339."""
    deadline_read: float = 0.0
    """Seconds since the run began at which the target gave its deadline. Every renewal of the lease extends it."""
    lost_since: float = 0.0
    """Seconds since the run began at which the target answered last, while its phase is `lost`."""

    @property
    def lost(self) -> bool:
        """Whether the target does not answer any more."""
        return self.phase is TargetPhase.LOST

    def extend_deadline(self, elapsed: float) -> None:
        """Set the latest moment at which the target may go back: every renewal restarts its window.

        Args:
            elapsed: seconds since the run began.
        """
        try:
            given = datetime.fromisoformat(self.deadline)
        except ValueError:
            return  # the target gave no deadline
        extended = given + timedelta(seconds=max(0.0, elapsed - self.deadline_read))
        self.deadline = extended.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
