"""A journal that somebody changed: every line that is not what was written is found and named."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gofallback.journal.chain import ZERO, Draft, parse, seal, split, stamp
from gofallback.journal.verify import Anchor, Problem, verify

AT = datetime(2026, 11, 22, 3, 12, 44, 5000, tzinfo=UTC)
RUN = "20261122T031244Z-9f3a"


def journal(count: int = 12, *, prev: str = ZERO, first: int = 1, word: str = "said") -> list[bytes]:
    lines = []
    for seq in range(first, count + 1):
        event = "ended" if seq == count else "note"
        draft = Draft(AT, event, f"t{seq % 3}", "hello", {"text": f'{word} "{seq}", ünï', "n": seq})
        line, prev = seal(prev, seq, RUN, draft)
        lines.append(line.rstrip(b"\n"))
    return lines


def found(lines: list[bytes], *anchors: Anchor) -> list[tuple[int, str]]:
    return [(problem.line, problem.kind) for problem in verify(lines, anchors)]


def rehashed(line: bytes, old: bytes, new: bytes) -> bytes:
    """An edit by somebody who knows how a line is sealed."""
    head = line[:-75].replace(old, new)
    return head + b',"hash":"' + hashlib.sha256(head).hexdigest().encode() + b'"}'


def test_an_untouched_journal_has_no_problem() -> None:
    assert verify(journal()) == []
    assert verify(split(b"\n".join(journal()) + b"\n")) == []


def test_a_line_is_json_and_its_hash_can_be_checked_with_sha256sum(tmp_path: Path) -> None:
    line = journal()[4].decode()
    assert json.loads(line)["text"] == 'said "5", ünï'
    shell = 'line=$(sed -n 5p "$1"); printf %s "${line%,\\"hash\\":*}" | sha256sum'
    file = tmp_path / "journal.jsonl"
    file.write_bytes(b"\n".join(journal()) + b"\n")
    told = subprocess.run(["bash", "-c", shell, "-", str(file)], capture_output=True, text=True, check=True).stdout
    assert told.split()[0] == json.loads(line)["hash"]
    assert json.loads(journal()[5])["prev"] == json.loads(line)["hash"]


def test_times_are_utc_with_milliseconds() -> None:
    assert stamp(AT) == "2026-11-22T03:12:44.005Z"


def test_an_event_cannot_bring_a_key_of_the_chain() -> None:
    with pytest.raises(ValueError, match="hash, seq"):
        seal(ZERO, 1, RUN, Draft(AT, "note", None, None, {"seq": 5, "hash": "x", "text": "y"}))


def test_a_journal_whose_last_line_is_not_the_end_is_open() -> None:
    assert [str(problem.text) for problem in verify(journal()[:-1])] == [
        "open after line 11: the run did not end, or its last lines were removed"
    ]
    assert verify(journal()[:-1], ends=False) == []
    assert found([]) == [(1, "open")]


@pytest.mark.parametrize("number", range(1, 13))
def test_an_edited_line_is_named_whichever_it_is(number: int) -> None:
    lines = journal()
    lines[number - 1] = lines[number - 1].replace(b"said", b"meant")
    (problem,) = verify(lines)
    assert (problem.line, problem.kind) == (number, "edited")
    assert problem.text.startswith(f"line {number}: edited: its hash is ")


@pytest.mark.parametrize("number", range(1, 12))
def test_an_edited_line_with_a_new_hash_is_named_by_the_line_after_it(number: int) -> None:
    lines = journal()
    lines[number - 1] = rehashed(lines[number - 1], b"said", b"meant")
    (problem,) = verify(lines)
    assert (problem.line, problem.kind) == (number, "edited")


def test_two_edited_lines_in_a_row_are_both_named_however_each_was_done() -> None:
    for second in (lambda raw: raw.replace(b"said", b"meant"), lambda raw: rehashed(raw, b"said", b"meant")):
        lines = journal()
        lines[4] = rehashed(lines[4], b"said", b"meant")
        lines[5] = second(lines[5])
        assert found(lines) == [(5, "edited"), (6, "edited")]


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 3), (5, 5), (5, 9), (11, 11)])
def test_removed_lines_are_named(first: int, last: int) -> None:
    lines = journal()
    del lines[first - 1 : last]
    (problem,) = verify(lines)
    assert problem.kind == "removed"
    words = f"line {first} is missing" if first == last else f"lines {first} to {last} are missing"
    assert problem.text.startswith(words)


def test_what_is_missing_says_between_which_numbers() -> None:
    lines = journal()
    del lines[7:9]
    assert verify(lines)[0].text == "lines 8 to 9 are missing: number 7 is followed by number 10"


def test_swapped_lines_are_named() -> None:
    lines = journal()
    lines[3], lines[4] = lines[4], lines[3]
    (problem,) = verify(lines)
    assert problem.kind == "re-ordered"
    assert problem.text in (
        "line 4: re-ordered: it is number 5 and belongs after number 4",
        "line 5: re-ordered: it is number 4 and belongs after number 3",
    )
    lines = journal()
    lines[1], lines[8] = lines[8], lines[1]
    assert found(lines) == [(2, "re-ordered"), (9, "re-ordered")]


def test_a_line_that_was_moved_is_named_and_those_it_passed_are_not() -> None:
    lines = journal()
    lines.insert(8, lines.pop(2))
    assert found(lines) == [(9, "re-ordered")]
    lines = journal()
    lines.insert(0, lines.pop(6))
    assert found(lines) == [(1, "re-ordered")]


def test_a_line_that_stands_there_twice_is_named() -> None:
    lines = journal()
    lines.insert(6, lines[3])
    assert [problem.text for problem in verify(lines)] == ["line 7: duplicated: it is line 4 once more"]


@pytest.mark.parametrize("claims", [0, 5, 6, 900])
def test_an_inserted_line_is_named_also_with_a_right_hash(claims: int) -> None:
    lines = journal()
    before = parse(lines[4])
    assert before
    forged, _ = seal(before.stated, claims, RUN, Draft(AT, "note", None, None, {"text": "all is well"}))
    lines.insert(5, forged.rstrip(b"\n"))
    assert found(lines) == [(6, "inserted")]


def test_a_line_of_something_else_is_named() -> None:
    for raw in (b"", b"hello", b"{}", b'{"event":"note"}', journal()[5][:40], journal()[5][:-1], b"\xff\xfe"):
        lines = journal()
        lines.insert(5, raw)
        assert found(lines) == [(6, "torn")], raw


def test_a_torn_line_is_not_also_reported_as_missing() -> None:
    lines = journal()
    lines[5] = lines[5][:60]
    assert found(lines) == [(6, "torn")]
    del lines[6:8]
    assert found(lines) == [(6, "torn"), (7, "removed")]


def test_a_removed_end_is_found_by_what_another_record_knows() -> None:
    lines = journal()
    last = parse(lines[-1])
    assert last
    anchor = Anchor(last.stated, "report.json", lines=12)
    assert verify(lines, [anchor]) == []
    told = [problem.text for problem in verify(lines[:-2], [anchor])]
    assert told[0] == "lines 11 to 12 are removed from the end: report.json knows 12 lines"


def test_a_chain_written_anew_from_a_line_on_is_found_by_what_another_record_knows() -> None:
    lines = journal()
    last = parse(lines[-1])
    sixth = parse(lines[5])
    assert last
    assert sixth
    forged = [*lines[:6], *journal(prev=sixth.stated, first=7, word="sang")]
    assert verify(forged) == [], "of itself it is a good chain"
    assert found(forged, Anchor(last.stated, "report.json", lines=12)) == [(12, "anchor")]
    assert found(forged, Anchor(last.stated, "the record on t1")) == [(13, "anchor")]


def damaged(lines: list[bytes], dice: random.Random) -> list[bytes]:
    number = dice.randrange(len(lines) - 1)
    changes: list[Callable[[], object]] = [
        lambda: lines.pop(number),
        lambda: lines.insert(dice.randrange(len(lines)), lines.pop(number)),
        lambda: lines.insert(dice.randrange(len(lines)), lines[number]),
        lambda: lines.__setitem__(number, lines[number].replace(b"said", b"sang")),
        lambda: lines.__setitem__(number, rehashed(lines[number], b"said", b"sang")),
        lambda: lines.__setitem__(number, lines[number][: dice.randrange(1, 200)]),
    ]
    dice.choice(changes)()
    return lines


def test_no_order_of_changes_goes_unnoticed_or_breaks_the_check() -> None:
    clean = journal(20)
    for number in range(2000):
        dice = random.Random(number)
        lines = list(clean)
        for _ in range(dice.randrange(1, 5)):
            damaged(lines, dice)
        problems = verify(lines)
        assert problems or lines == clean, number
        assert all(isinstance(problem, Problem) and "\n" not in problem.text for problem in problems)


def test_any_single_byte_that_changes_is_found_in_its_line() -> None:
    clean = journal(4)
    for number, line in enumerate(clean, 1):
        for place in range(len(line)):
            lines = list(clean)
            lines[number - 1] = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
            named = {problem.line for problem in verify(lines) if problem.kind not in ("open", "removed")}
            assert named == {number}, (number, place, verify(lines))
