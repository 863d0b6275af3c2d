"""Names every line of a journal that was changed, moved, added or removed. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gofallback.journal.chain import ZERO, Line, parse

Kind = Literal["torn", "edited", "removed", "inserted", "duplicated", "re-ordered", "open", "anchor"]

#: Events that a later run may add to a journal that has ended: the outcome of a target that did not answer.
_AFTER_END = frozenset({"seen", "note"})


@dataclass(frozen=True)
class Problem:
    """One problem of a journal."""

    line: int
    """Place in the file, from 1; for a missing line the place of the next one (one past the end: the tail)."""
    kind: Kind
    text: str
    """For a person, with the line's number."""


@dataclass(frozen=True)
class Anchor:
    """A line of a journal that another record names."""

    head: str
    """Hash of the line."""
    where: str
    """The record that names it, for a person."""
    lines: int | None = None
    """Number of the line; None: any."""


def verify(lines: Sequence[bytes], anchors: Iterable[Anchor] = (), *, ends: bool = True) -> list[Problem]:
    """Every problem of a journal.

    Args:
        lines: of the file, without their newlines (``chain.split``).
        anchors: lines that other records name: they reveal a chain that was rewritten as a whole, or cut at its end.
        ends: a last line that is not ``ended`` is a problem; a host's part of a journal never has one.
    """
    problems = sorted(_Chain(lines).problems(), key=lambda problem: problem.line)
    known = [line for number, raw in enumerate(lines, 1) if (line := parse(raw, number)) is not None]
    for anchor in anchors:
        problems += _anchored(known, anchor)
    own = [line for line in known if line.values["event"] not in _AFTER_END]
    if ends and not any(line.values["event"] == "ended" for line in own[-1:]):
        last = len(lines)
        problems.append(
            Problem(last + 1, "open", f"open after line {last}: the run did not end, or its last lines were removed")
        )
    return problems


def _anchored(known: Sequence[Line], anchor: Anchor) -> list[Problem]:
    """The line that an anchor names has to be there, unchanged."""
    if anchor.head == ZERO or any(anchor.head == line.actual and anchor.lines in (None, line.number) for line in known):
        return []
    end, short = known[-1].number if known else 0, anchor.head[:12]
    if anchor.lines is None:
        text = f"{anchor.where} knows a line with the hash {short}..., which is not there: removed, edited or rewritten"
        return [Problem(end + 1, "anchor", text)]
    if anchor.lines > end:
        text = f"{_range(end + 1, anchor.lines)} removed from the end: {anchor.where} knows {anchor.lines} lines"
        return [Problem(end + 1, "removed", text)]
    text = f"line {anchor.lines}: {anchor.where} knows it with the hash {short}...: it or a line before was changed"
    return [Problem(anchor.lines, "anchor", text)]


class _Chain:
    """One pass over a file; each line is named at most once, with the cause rather than its consequences."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.named: dict[int, Problem] = {}
        self.gaps: list[Problem] = []
        self.lines: list[Line] = []
        self.torn: list[int] = []
        for number, raw in enumerate(lines, 1):
            line = parse(raw, number)
            if line is None:
                self.torn.append(number)
                self._name(number, "torn", "it is cut or not a line of a journal: it does not end in its hash")
            else:
                self.lines.append(line)

    def problems(self) -> list[Problem]:
        self._edited()
        self._duplicated()
        self._inserted()
        self._re_ordered()
        self._linked()
        self._removed()
        return [*self.named.values(), *self.gaps]

    def _name(self, number: int, kind: Kind, why: str) -> None:
        self.named.setdefault(number, Problem(number, kind, f"line {number}: {kind}: {why}"))

    def _edited(self) -> None:
        """Lines whose hash is not that of their bytes; the neighbours have the number of a line if it was edited."""
        after = {line.prev: line.seq for line in self.lines if line.intact}
        before = {line.stated: line.seq for line in self.lines if line.intact}
        for index, line in enumerate(self.lines):
            if line.intact:
                continue
            self._name(line.number, "edited", f"its hash is {line.actual[:12]}..., written was {line.stated[:12]}...")
            if line.stated in after:
                self.lines[index] = replace(line, seq=after[line.stated] - 1)
            elif line.prev in before:
                self.lines[index] = replace(line, seq=before[line.prev] + 1)

    def _duplicated(self) -> None:
        first: dict[str, Line] = {}
        for line in self.lines:
            if not line.intact:
                continue
            earlier = first.setdefault(line.actual, line)
            if earlier is not line:
                self._name(line.number, "duplicated", f"it is line {earlier.number} once more")
        self._keep(lambda line: not self._is(line, "duplicated"))

    def _inserted(self) -> None:
        """Of several lines with one number the line that its neighbours name is genuine."""
        named = {line.prev for line in self.lines}
        hashes = {line.stated: line.seq for line in self.lines} | {ZERO: 0}
        for line in self.lines:
            if line.intact and (line.seq < 1 or hashes.get(line.prev, line.seq - 1) != line.seq - 1):
                self._rename(line, f"it has number {line.seq}, and was written after number {hashes.get(line.prev)}")
        self._keep(lambda line: not self._is(line, "inserted"))
        by_seq: dict[int, list[Line]] = {}
        for line in self.lines:
            by_seq.setdefault(line.seq, []).append(line)
        for seq, several in by_seq.items():
            genuine = max(
                several, key=lambda line: (line.stated in named, line.prev in hashes, line.intact, -line.number)
            )
            for line in several:
                if line is not genuine:
                    self._rename(line, f"number {seq} is line {genuine.number}, this one is not part of the chain")
        self._keep(lambda line: not self._is(line, "inserted"))

    def _rename(self, line: Line, why: str) -> None:
        self.named.pop(line.number, None)
        self._name(line.number, "inserted", why)

    def _re_ordered(self) -> None:
        """Lines outside the longest rising sequence of numbers: the fewest moves that explain the order."""
        in_place = _longest_rising([line.seq for line in self.lines])
        for index, line in enumerate(self.lines):
            if index not in in_place:
                belongs = f"it is number {line.seq} and belongs after number {line.seq - 1}"
                self._name(line.number, "re-ordered", belongs if line.seq > 1 else "it is number 1 and belongs first")
        self.lines.sort(key=lambda line: line.seq)

    def _linked(self) -> None:
        """Lines that were edited and given a new hash: the next one was written after another."""
        for index, line in enumerate(self.lines):
            before = self.lines[index - 1] if index else None
            if before is None:
                if line.seq == 1 and line.prev != ZERO and line.intact:
                    self._name(line.number, "edited", "it is the first line and names a line before it")
            elif line.seq == before.seq + 1 and line.prev != before.stated and not line.was_after(before):
                self._name(
                    before.number,
                    "edited",
                    f"its hash is {before.stated[:12]}..., line {line.number} was written after {line.prev[:12]}...",
                )

    def _removed(self) -> None:
        """Numbers that no line has; a torn line may have been one of them."""
        last, place = 0, 0
        for line in self.lines:
            gone = line.seq - last - 1
            hidden = min(gone, sum(place < number < line.number for number in self.torn))
            place = line.number
            if gone > hidden:
                after = (
                    f"number {last} is followed by number {line.seq}" if last else f"it begins with number {line.seq}"
                )
                self.gaps.append(
                    Problem(line.number, "removed", f"{_range(last + 1 + hidden, line.seq - 1)} missing: {after}")
                )
            last = line.seq

    def _is(self, line: Line, kind: Kind) -> bool:
        return line.number in self.named and self.named[line.number].kind == kind

    def _keep(self, condition: Callable[[Line], bool]) -> None:
        self.lines = [line for line in self.lines if condition(line)]


def _range(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"


def _longest_rising(numbers: Sequence[int]) -> set[int]:
    """Indexes of a longest rising subsequence (patience sorting)."""
    tops: list[int] = []
    ends: list[int] = []
    back: dict[int, int | None] = {}
    for index, number in enumerate(numbers):
        place = bisect_right(tops, number)
        tops[place : place + 1] = [number]
        back[index] = ends[place - 1] if place else None
        ends[place : place + 1] = [index]
    found: set[int] = set()
    at: int | None = ends[-1] if ends else None
    while at is not None:
        found.add(at)
        at = back[at]
    return found
