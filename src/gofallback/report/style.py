"""Colours and texts that every form of the report shares."""

from __future__ import annotations

from collections.abc import Sequence

from gofallback.report.model import Report, StageName, Status
from gofallback.report.rows import Health
from gofallback.rollout.phases import GOOD, TargetPhase, Verdict

#: A colour for each stage; distinct for colour-blind eyes too (after Paul Tol's "muted" scheme), light and dark.
STAGE_COLOURS: dict[StageName, str] = {
    "inventory": "#7f8896",
    "preflight": "#5b7fa6",
    "provision": "#4477aa",
    "source": "#44aa99",
    "build": "#117733",
    "verify": "#88a53a",
    "release": "#8a6fb3",
    "activate": "#b5569a",
    "confirm": "#2f9fc4",
    "report": "#7f8896",
}
#: These override the colour of the stage.
STATUS_COLOURS: dict[Status, str] = {"failed": "#cc3344", "reverted": "#dd7711", "skipped": "#a8adb5"}

VERDICT_COLOURS: dict[Verdict, str] = {
    "done": "#117733",
    "unchanged": "#44aa99",
    "reverted": "#dd7711",
    "failed": "#cc3344",
    "refused": "#cc3344",
    "partly": "#dd7711",
}
VERDICT_WORDS: dict[Verdict, str] = {
    "done": "every target runs the wanted release and is healthy",
    "unchanged": "every target ran the wanted release; nothing was changed",
    "reverted": "the targets run what they ran before",
    "failed": "not every target runs what it should, see above",
    "refused": "refused before anything was changed",
    "partly": "some targets run the wanted release, some do not",
}
OUTCOME_STYLES: dict[TargetPhase, str] = {
    TargetPhase.PLANNED: "dim",
    TargetPhase.SWITCHING: "yellow",
    TargetPhase.PROVISIONAL: "yellow",
    TargetPhase.LOST: "bold red",
    TargetPhase.CONFIRMED: "green",
    TargetPhase.TAKEN_BACK: "green",
    TargetPhase.UNCHANGED: "cyan",
    TargetPhase.REVERTED: "yellow",
    TargetPhase.FAILED: "bold red",
    TargetPhase.UNTOUCHED: "dim",
}
HEALTH_STYLES: dict[Health, str] = {"healthy": "green", "unhealthy": "bold red", "unknown": "dim"}

#: For the time in which a release is provisional: a paler colour of the stage `activate`.
HOLD_COLOUR = "#d9a8cd"
WAVE_COLOURS = {"passed": "#66707d", "failed": "#cc3344", "cut off": "#dd7711", "not reached": "#a8adb5"}

_AS_BEFORE = frozenset({TargetPhase.UNTOUCHED, TargetPhase.UNCHANGED})


def seconds_text(seconds: float) -> str:
    """``0.42 s``, ``12.3 s``, ``4 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def size_text(size: int) -> str:
    """``812 B``, ``20.4 MB`` (10^6 bytes)."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def some(names: Sequence[str], characters: int = 90) -> str:
    """The first name, more names as long as they fit into so many characters, and the number of the others."""
    shown = list(names[:1])
    for name in names[1:]:
        if len(", ".join([*shown, name])) > characters:
            return f"{', '.join(shown)} and {len(names) - len(shown)} more"
        shown.append(name)
    return ", ".join(shown)


_WIPED = {
    "unchanged": "nothing of gofallback was left to wipe; nothing was changed",
    "done": "the builders are wiped, as the notes say; no target was touched",
}


def verdict_words(report: Report) -> str:
    """The verdict as a sentence; that of a run without targets does not mention them."""
    if report.targets and report.verdict == "failed" and not {row.outcome for row in report.targets} - _AS_BEFORE:
        return "no target was switched"
    if report.targets and report.verdict == "failed" and all(row.outcome in GOOD for row in report.targets):
        return "the run did not finish; every target runs the wanted release"
    if report.targets:
        return VERDICT_WORDS[report.verdict]
    if report.command == "wipe" and report.verdict in _WIPED:
        return _WIPED[report.verdict]
    if report.verdict == "unchanged":
        return "everything was in place; nothing was changed"
    if report.verdict == "done":
        return "everything is in place; no target was touched"
    return "the run did not finish; no target was touched"
