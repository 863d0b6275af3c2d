"""What can become of a service on a target: every phase, which phase follows which, and what each one means.

This is the only place that decides it. The journal, the waves, the report and the exit status read `PHASES`;
docs/exit-status.md and docs/glossary.md say the same in words. To add a phase, add a member and a row here.
Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from gofallback.release.activation import State


class TargetPhase(StrEnum):
    """Where a service on a target stands in a run. The values stand in report.json."""

    PLANNED = "planned"
    SWITCHING = "switching"
    PROVISIONAL = "provisional"
    LOST = "lost"
    CONFIRMED = "confirmed"
    TAKEN_BACK = "taken-back"
    UNCHANGED = "unchanged"
    REVERTED = "reverted"
    FAILED = "failed"
    UNTOUCHED = "untouched"


Result = Literal["wanted", "as before", "reverted", "untouched", "open", "failed"]
"""What a phase means for the run: ``wanted`` and ``as before`` are good, ``open`` is decided on the target alone."""


@dataclass(frozen=True)
class Phase:
    """One row of the table."""

    meaning: str
    next: frozenset[TargetPhase]
    """Phases that may follow. A run that is refused or stopped may end in any phase."""
    result: Result
    """Counts for verdict and exit status, see `verdict`."""
    journal: str | None = None
    """The journal's event when a target enters the phase (docs/journal.md)."""
    uses_budget: bool = False
    """The target counts as failed for `rollout.budget`."""


_P = TargetPhase

PHASES: Mapping[TargetPhase, Phase] = {
    _P.PLANNED: Phase(
        "the run has not come to this target yet",
        frozenset({_P.SWITCHING, _P.PROVISIONAL, _P.UNCHANGED, _P.UNTOUCHED, _P.FAILED}),
        "untouched",
    ),
    _P.SWITCHING: Phase(
        "the target is at work on the switch; the target ends it alone, also without a controller",
        frozenset({_P.PROVISIONAL, _P.CONFIRMED, _P.TAKEN_BACK, _P.REVERTED, _P.FAILED, _P.LOST}),
        "open",
        "intended",
    ),
    _P.PROVISIONAL: Phase(
        "the release is live and healthy, and goes back by itself unless it is confirmed",
        frozenset({_P.CONFIRMED, _P.REVERTED, _P.FAILED, _P.LOST}),
        "open",
        "provisional",
    ),
    _P.LOST: Phase(
        "the target does not answer; it ends alone what was begun there",
        frozenset({_P.CONFIRMED, _P.TAKEN_BACK, _P.REVERTED, _P.FAILED, _P.UNTOUCHED, _P.LOST}),
        "open",
        "lost",
        uses_budget=True,
    ),
    _P.CONFIRMED: Phase(
        "the wanted release is live, healthy, and stays",
        # a rollback needs no confirmation; its targets are looked at once more
        frozenset({_P.FAILED}),
        "wanted",
        "confirmed",
    ),
    _P.TAKEN_BACK: Phase(
        "the run was to take a release back here, and the earlier release is live and healthy",
        frozenset({_P.FAILED}),
        "wanted",
        "reverted",
    ),
    _P.UNCHANGED: Phase("the wanted release was live and healthy already", frozenset(), "as before"),
    _P.REVERTED: Phase(
        "the release did not stay; the earlier release is live and healthy",
        frozenset(),
        "reverted",
        "reverted",
        uses_budget=True,
    ),
    _P.FAILED: Phase(
        "the target did not get where it should, and what is live there may not be healthy",
        frozenset(),
        "failed",
        "failed",
        uses_budget=True,
    ),
    _P.UNTOUCHED: Phase("the run changed nothing on this target", frozenset({_P.FAILED}), "untouched", "untouched"),
}

#: The run's work on the target is done, and the wanted release is live there.
GOOD = frozenset(phase for phase, row in PHASES.items() if row.result in ("wanted", "as before"))
#: The target decides alone how it ends.
OPEN = frozenset(phase for phase, row in PHASES.items() if row.result == "open")
#: The target did not get the release, and the run goes on without it.
FAILED_HERE = frozenset({_P.FAILED, _P.REVERTED})
#: Phases that use up some of `rollout.budget`.
USES_BUDGET = frozenset(phase for phase, row in PHASES.items() if row.uses_budget)

#: Journal events after which a target may still change alone. ``switching`` is written when a run ends while a target
#: is at work; 0.1.0 wrote ``provisional`` or ``failed`` instead.
OPEN_EVENTS = frozenset({"intended", "provisional", "lost", "switching"})
#: Journal events that end a target's part in a run.
CLOSING_EVENTS = frozenset({"confirmed", "reverted", "failed"})


def may_follow(before: TargetPhase, after: TargetPhase) -> bool:
    """Whether a target may go from one phase to another; staying in a phase is always possible."""
    return before is after or after in PHASES[before].next


# ---- what a target's agent says (docs/agent.md)

#: The agent's record says: the release was healthy and is meant to stay. ``activated`` is of agents before 0.1.0.
GOOD_RECORDS = frozenset({"confirmed", "activated"})
#: The agent's record says: the target still goes back by itself.
OPEN_RECORDS = frozenset({"intended", "running", "provisional"})


def after_activation(state: State, *, taking_back: bool = False, ends_alone: bool = True) -> TargetPhase:
    """The phase of a target whose agent has answered.

    Args:
        state: the agent's answer. After ``unknown`` and ``interrupted`` the switch is not over.
        taking_back: the run wants the earlier release back. A release that was confirmed meanwhile is live for good.
        ends_alone: something on the target ends an interrupted switch: its dead-man's switch is armed. Without one it
            stays as it is until the next run or boot.
    """
    if state == "unknown" or (state == "interrupted" and ends_alone):
        return TargetPhase.LOST
    if taking_back and state in ("reverted", "confirmed"):
        return TargetPhase.TAKEN_BACK if state == "reverted" else TargetPhase.FAILED
    return TargetPhase.FAILED if state in ("refused", "interrupted") else TargetPhase(state)


# ---- what the phases of all targets mean for the run

Verdict = Literal["done", "unchanged", "reverted", "failed", "refused", "partly"]

#: docs/exit-status.md; 1 is left to pyinfra's own errors, 128 and more to signals.
EXIT_STATUS: Mapping[Verdict, int] = {
    "done": 0,
    "unchanged": 0,
    "refused": 2,
    "reverted": 3,
    "failed": 4,
    "partly": 5,
}


def verdict(
    targets: Collection[tuple[TargetPhase, bool]], *, refused: bool = False, failed: bool = False, changed: bool = False
) -> Verdict:
    """The verdict of a run.

    Args:
        targets: the phase of each service on each target, and whether it is not known to be unhealthy.
        refused: the run ended before it changed any target.
        failed: a stage failed although no target's phase says so.
        changed: something was changed on a builder; counts where the run had no targets.
    """
    results = {PHASES[phase].result for phase, _ in targets}
    good = [phase for phase, healthy in targets if phase in GOOD and healthy]
    if refused and results <= {"untouched", "as before"}:
        return "refused"
    if len(good) == len(targets):
        if failed:
            return "failed"
        if not targets:
            return "done" if changed else "unchanged"
        return "unchanged" if results == {"as before"} else "done"
    if good:
        return "partly"
    return "reverted" if "reverted" in results and results <= {"reverted", "untouched"} else "failed"
