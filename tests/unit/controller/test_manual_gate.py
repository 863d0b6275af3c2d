"""A person's answer reaches the run that waits for it, once, and no other run."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gofallback.cli.main import main
from gofallback.controller import manual_gate

RUN, OTHER = "20261122T031244Z-9f3a", "20261122T041500Z-77aa"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOFALLBACK_HOME", str(tmp_path))
    return tmp_path / "runs"


def test_an_answer_reaches_the_run_that_waits(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manual_gate.open_gate(runs / RUN, "wave 2 of 4 is healthy; go on?")
    person = threading.Timer(0.1, main, [["continue"]])
    person.start()
    said = manual_gate.wait_for_answer(runs / RUN, timeout=10, poll=0.02)
    person.join()
    assert json.loads((runs / RUN / "word.json").read_text())["word"] == "continue", "earlier versions read it"
    assert said is not None and said.answer == "continue" and "@" in said.who and said.at.endswith("Z")
    assert f"{RUN}: continue" in capsys.readouterr().out


def test_stop_is_an_answer_too_and_a_run_may_be_abbreviated(runs: Path) -> None:
    manual_gate.open_gate(runs / RUN, "go on?")
    manual_gate.open_gate(runs / OTHER, "go on?")
    assert main(["stop", OTHER[:12]]) == 0
    said = manual_gate.wait_for_answer(runs / OTHER, timeout=0)
    assert said is not None and said.answer == "stop"
    assert manual_gate.wait_for_answer(runs / RUN, timeout=0) is None


def test_without_an_answer_it_waits_until_its_timeout(runs: Path) -> None:
    manual_gate.open_gate(runs / RUN, "go on?")
    began = time.monotonic()
    assert manual_gate.wait_for_answer(runs / RUN, timeout=0.2, poll=0.05) is None
    assert 0.2 <= time.monotonic() - began < 2


def test_the_answer_to_one_pause_does_not_end_the_next(runs: Path) -> None:
    manual_gate.open_gate(runs / RUN, "wave 1 is healthy; go on?")
    assert main(["continue"]) == 0
    assert manual_gate.wait_for_answer(runs / RUN, timeout=0) is not None
    kept = (runs / RUN / "word.json").read_bytes()
    manual_gate.close_gate(runs / RUN)
    manual_gate.open_gate(runs / RUN, "wave 2 is healthy; go on?")
    assert manual_gate.wait_for_answer(runs / RUN, timeout=0) is None
    (runs / RUN / "word.json").write_bytes(kept)  # somebody's slow disk
    assert manual_gate.wait_for_answer(runs / RUN, timeout=0) is None


def test_when_it_waits_no_more_nothing_is_left(runs: Path) -> None:
    manual_gate.open_gate(runs / RUN, "go on?")
    assert main(["continue"]) == 0
    manual_gate.close_gate(runs / RUN)
    assert list((runs / RUN).iterdir()) == []
    manual_gate.close_gate(runs / RUN)


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv)) == 1
    line = capsys.readouterr().err
    assert line.startswith("gofallback: ") and line.count("\n") == 1
    return line


def test_when_nothing_waits_it_says_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"no run waits for an answer in {runs}" in refused(capsys, "continue")


def test_a_run_that_does_not_wait_is_distinguished_from_one_that_never_was(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / OTHER).mkdir(parents=True)
    manual_gate.open_gate(runs / RUN, "wave 1 is healthy; go on?")
    assert f"{OTHER}: this run does not wait for an answer; waiting: {RUN} (wave 1" in refused(capsys, "stop", OTHER)
    assert "2027: no such run; waiting: " in refused(capsys, "stop", "2027")


def test_when_several_wait_the_person_has_to_say_which(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manual_gate.open_gate(runs / RUN, "go on?")
    manual_gate.open_gate(runs / OTHER, "go on?")
    assert f"several runs wait, name one; waiting: {RUN} (go on?), {OTHER} (go on?)" in refused(capsys, "continue")
    assert "several runs begin like this" in refused(capsys, "continue", "20261122T")


def test_the_first_answer_counts(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manual_gate.open_gate(runs / RUN, "go on?")
    assert main(["stop"]) == 0
    assert "already answered 'stop'" in refused(capsys, "continue")
    said = manual_gate.wait_for_answer(runs / RUN, timeout=0)
    assert said is not None and said.answer == "stop"


def test_a_run_whose_controller_has_ended_takes_no_answer_and_the_way_on_is_named(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manual_gate.open_gate(runs / RUN, "go on?")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    file = runs / RUN / "waiting.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pid": gone.pid}))
    line = refused(capsys, "continue")
    assert "its controller has ended" in line and f"--data resume={RUN}" in line and f"--data abort={RUN}" in line
    assert not (runs / RUN / "word.json").exists()


def test_a_run_that_lives_is_chosen_before_one_that_has_ended(runs: Path) -> None:
    manual_gate.open_gate(runs / RUN, "go on?")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    file = runs / RUN / "waiting.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pid": gone.pid}))
    manual_gate.open_gate(runs / OTHER, "go on?")
    assert main(["continue"]) == 0
    assert manual_gate.wait_for_answer(runs / OTHER, timeout=0) is not None


def test_what_is_no_question_is_nobodys(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / RUN).mkdir(parents=True)
    (runs / RUN / "waiting.json").write_text("nonsense")
    assert "no run waits" in refused(capsys, "continue")
    assert manual_gate.wait_for_answer(runs / RUN, timeout=0) is None


def test_an_answer_that_cannot_be_written_is_an_error(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manual_gate.open_gate(runs / RUN, "go on?")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # a full disk, for root too: no file may grow
    try:
        assert "cannot be written" in refused(capsys, "continue")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_other_greenlets_go_on_while_one_waits(runs: Path) -> None:
    import gevent

    manual_gate.open_gate(runs / RUN, "go on?")
    ticks: list[int] = []

    def tick() -> None:
        for number in range(5):
            ticks.append(number)
            gevent.sleep(0.01)

    jobs = [gevent.spawn(tick), gevent.spawn(manual_gate.wait_for_answer, runs / RUN, 0.3, 0.05)]
    gevent.joinall(jobs, timeout=5)
    assert ticks == [0, 1, 2, 3, 4]
