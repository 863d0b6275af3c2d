"""Which release a rollback brings the fleet to: one version, even where the targets differ. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gofallback.errors import GofallbackError
from gofallback.release.state import ServiceState


class CandidateError(GofallbackError):
    """There is nothing all targets can go back to; one line with what is there."""


@dataclass(frozen=True)
class Back:
    """What one target goes back to."""

    release: str
    """Name of the release's folder on this target."""
    sha256: str | None
    """Of the binary, as the release's manifest says."""
    commit: str | None
    needed: bool
    """False: it is live, healthy and confirmed there already."""


def fleet_back(states: Mapping[str, ServiceState], named: str | None = None) -> dict[str, Back]:
    """The release every target goes back to, for one service.

    What is to be left is what runs where the newest activation was. The goal is what was good there most recently
    before it, is there on every target, and is bad on none. The same version means the same version and binary; the
    folder is found on each target by itself.

    Args:
        states: what each target of the rollback told, in inventory order.
        named: a release's folder name or its version: that one. A bad mark does not stop it.

    Returns:
        By target; those without any release of the service are left out.

    Raises:
        CandidateError: there is no such release on all of them; one line says what is where and what to do.
    """
    raise NotImplementedError
