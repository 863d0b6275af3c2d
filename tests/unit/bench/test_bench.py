"""How figures are judged and shown; measuring itself is `make bench`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import programs, programs_docs, repository, show
from bench.model import Figure, Findings, Goal

ABOUT = {"date": "2026-11-22T17:00Z", "commit": "abc", "cores": 2, "cpu": "x", "load_before": 1, "load_after": 2}
ABOUT |= {"python": "3.11.2", "openssh": "OpenSSH_9.2"}


def findings(value: float) -> Findings:
    return Findings(ABOUT, [Figure("f", "a figure", [3.0, 1.0, 2.5], 1)], [Goal("g", "a goal", value, 3, "x")])


@pytest.mark.parametrize(
    ("value", "strict", "met"), [(3, False, True), (3.001, False, False), (3, True, False), (2.9, True, True)]
)
def test_faster_than_is_missed_at_the_limit_and_at_most_is_not(value: float, strict: bool, met: bool) -> None:
    assert Goal("g", "a goal", value, 3, "x", strict=strict).met == met


def test_a_missed_goal_is_plain_to_see_in_table_and_json() -> None:
    found = findings(3.2)
    assert "| a goal | 3.200 x | 3 x |  | MISSED |" in show.markdown(found)
    assert found.as_json()["goals"][0]["met"] is False


def test_the_median_counts_and_every_measurement_is_kept() -> None:
    kept = findings(1).as_json()["figures"][0]
    assert (kept["median_s"], kept["seconds"]) == (2.5, [3.0, 1.0, 2.5])


def test_new_figures_replace_the_old_ones_and_leave_the_text_around_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{show.MARKS[0]}\nold\n{show.MARKS[1]}\nafter\n")
    monkeypatch.setattr(show, "DOCS", page)
    show.into_docs(findings(1))
    show.into_docs(findings(2))
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "old" not in text and text.count("a goal") == 1 and "2.000 x" in text


def test_the_measured_repository_has_the_same_commits_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "BALLAST_BYTES", 1000)
    heads = [(repository.make(tmp_path / name) / "packed-refs").read_text() for name in ("one", "two")]
    assert heads[0] == heads[1] and all(tag in heads[0] for tag in repository.RELEASES)


def test_one_program_measured_again_keeps_the_others_and_the_page_says_when_each_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "RESULTS", tmp_path / "programs.json")

    def row(program: str, cold: float) -> programs.Row:
        c_lines = 260_000 if program == "sums" else 0
        return programs.Row(
            *(program, "v1", 303, c_lines, bool(c_lines), "Linux", "linux/amd64", cold, 1.0, 10**6, "a" * 64, "yes", "")
        )

    programs.keep([row("age", 50)], {**ABOUT, "date": "2026-01-01T10:00Z"})
    programs.keep([row("sums", 70)], {**ABOUT, "date": "2026-01-01T10:00Z"})
    programs.keep([row("sums", 60)], {**ABOUT, "date": "2026-02-02T20:00Z", "commit": "def"})
    page = programs_docs.page(json.loads((tmp_path / "programs.json").read_text()))
    assert "| age | v1 | 303 |  | no | Linux | linux/amd64 | 50.0 |" in page
    assert "| sums | v1 | 303 | 260,000 | yes | Linux | linux/amd64 | 60.0 |" in page and "70.0" not in page
    assert page.endswith(
        "* age: 2026-01-01T10:00Z at `abc`, load average 2\n* sums: 2026-02-02T20:00Z at `def`, load average 2\n"
    )


def test_a_program_that_there_is_not_is_named_before_a_lab_is_raised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "sumz"])
    assert programs.main() == 2
    assert "no program sumz; there are hello, sums, age" in capsys.readouterr().err
