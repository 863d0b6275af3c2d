"""Which release a target goes back to. Pure."""

from __future__ import annotations

from gofallback.errors import GofallbackError
from gofallback.release.state import ServiceState


class CandidateError(GofallbackError):
    """There is nothing to go back to; one line with what is there."""


def candidate(state: ServiceState, named: str | None = None) -> str:
    """Name of the release to go back to.

    Without a name: the release that was last live and healthy here, is not live now, is there and not marked as bad.

    Args:
        state: what the target told.
        named: a release's folder name, or its version if only one release has it; a bad mark does not stop it.

    Raises:
        CandidateError: there is none.
    """
    if named is not None:
        return _named(state, named)
    good = [str(record.get("release")) for record in state.history if record.get("state") == "confirmed"]
    if state.last_good:
        good.append(state.last_good)
    if state.outcome and state.outcome.get("previous"):
        good.insert(0, str(state.outcome["previous"]))
    for release in reversed(good):
        if release in state.releases and release != state.current and release not in state.bad:
            return release
    raise CandidateError(
        f"{state.name}: no good release to go back to; there: {_listing(state)}; name one with --data release=..."
    )


def _named(state: ServiceState, named: str) -> str:
    if named in state.releases:
        return named
    same = sorted(name for name, found in state.releases.items() if named in (found.version, name.rpartition("-")[0]))
    if len(same) == 1:
        return same[0]
    problem = f"{len(same)} releases have that version" if same else "is not on this target"
    raise CandidateError(f"{state.name}: release {named} {problem}; there: {_listing(state)}")


def _listing(state: ServiceState) -> str:
    notes = []
    for name, found in sorted(state.releases.items()):
        marks = [
            text for text in ("live" if name == state.current else "", f"bad: {found.bad}" if found.bad else "") if text
        ]
        notes.append(name + (f" ({', '.join(marks)})" if marks else ""))
    return ", ".join(notes) or "none"
