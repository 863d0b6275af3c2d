"""How a run that was cut off is finished, or taken back, from what the targets themselves know of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gofallback.errors import GofallbackError
from gofallback.release.state import ServiceState

How = Literal["nothing", "confirm", "activate", "revert"]


class ResumeError(GofallbackError):
    """A run that cannot be finished, or not be taken back; one line with the targets concerned and what to do."""


@dataclass(frozen=True)
class Continue:
    """What is done on one target."""

    release: str | None
    """Folder that is live afterwards; None: none (the service had never been released there)."""
    sha256: str | None
    """Of that release's binary, as its manifest says."""
    commit: str | None
    how: How
    run_id: str
    """For `confirm` and `revert`: the run id of the target's record. Otherwise the run that was asked for."""


@dataclass(frozen=True)
class Plan:
    """What is done on every target of the run, in the order they were given."""

    hosts: dict[str, Continue]
    notes: list[str] = field(default_factory=list)
    """What a person should know beforehand, one line each."""


def resume(
    run_id: str, service: str, states: Mapping[str, ServiceState], planned: Mapping[str, str] | None = None
) -> Plan:
    """Bring every target to the release of that run.

    Args:
        run_id: the run, or any of its continuations.
        service: its name.
        states: what each target told, in inventory order.
        planned: the run's release folder by target, from the journal of the controller that began it; without it the
            targets' own records tell.

    Raises:
        ResumeError: no target knows the run; another run came after it; or a target lacks the release.
    """
    raise NotImplementedError


def abort(
    run_id: str, service: str, states: Mapping[str, ServiceState], planned: Mapping[str, str] | None = None
) -> Plan:
    """Bring every target to what it had before that run.

    Args:
        run_id: the run, or any of its continuations.
        service: its name.
        states: what each target told, in inventory order.
        planned: as for `resume`.

    Raises:
        ResumeError: no target knows the run; another run came after it; or a target has nothing to go back to.
    """
    raise NotImplementedError
