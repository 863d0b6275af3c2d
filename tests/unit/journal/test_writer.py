"""The journal as a run writes it, on real files: what is on the disk after crashes, full disks and several writers."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gofallback.journal.chain import ZERO, split
from gofallback.journal.read import Entry, about, entries, last_head
from gofallback.journal.verify import verify
from gofallback.journal.writer import Head, Journal, JournalError

RUN = "20261122T031244Z-9f3a"


def read(path: Path) -> list[Entry]:
    return entries(path.read_bytes())


def problems(path: Path) -> list[str]:
    return [problem.text for problem in verify(split(path.read_bytes()))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / RUN / "journal.jsonl"


def test_what_is_written_can_be_read_and_verified(path: Path) -> None:
    moments = iter(datetime(2026, 11, 22, 3, 12, 44, tzinfo=UTC) + timedelta(seconds=n) for n in range(9))
    journal = Journal(path, RUN, now=lambda: next(moments))
    journal.write("started", who="sre@ctl", plan=[{"host": "t1", "release": "v1"}])
    journal.write("provisional", host="t1", service="hello", release="v1", seconds=1.5)
    journal.write("ended", verdict="done", exit=0)
    assert problems(path) == []
    assert [(entry.seq, entry.event, entry.host, entry.service) for entry in read(path)] == [
        (1, "started", None, None),
        (2, "provisional", "t1", "hello"),
        (3, "ended", None, None),
    ]
    second = read(path)[1]
    assert second.data == {"release": "v1", "seconds": 1.5}
    assert second.at == datetime(2026, 11, 22, 3, 12, 45, tzinfo=UTC)
    assert (journal.head, journal.count) == (read(path)[2].hash, 3)


def test_only_its_owner_may_read_it(path: Path) -> None:
    Journal(path, RUN).write("started")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_made_before_the_first_event_or_without_a_path(path: Path) -> None:
    Journal(path, RUN)
    journal = Journal.null(RUN)
    journal.write("started")
    assert not path.parent.exists()
    assert (journal.head, journal.count) == (ZERO, 0)


def test_secrets_do_not_get_in_wherever_they_stand(path: Path) -> None:
    journal = Journal(path, RUN)
    journal.write(
        "started",
        host="t1",
        reason="token=hunter2hunter2",
        options={"ssh_password": "hunter2hunter2", "list": ["https://bob:hunter2hunter2@git.example.com/x"]},
        notes=["ok", {"deep": "Authorization: Bearer hunter2hunter2"}],
    )
    assert b"hunter2" not in path.read_bytes()
    assert problems(path) == ["open after line 1: the run did not end, or its last lines were removed"]


def test_a_line_holds_whatever_a_host_says(path: Path) -> None:
    journal = Journal(path, RUN)
    said = 'a\nb\r\x00 "c","hash":"' + "0" * 64 + '"} \u2028 ü \udce4'
    journal.write("failed", host="t1", reason=said)
    journal.write("ended")
    assert problems(path) == []
    assert read(path)[0].data["reason"] == said.replace("\udce4", "?")


def test_a_continuation_of_the_run_goes_on_with_the_chain(path: Path) -> None:
    Journal(path, RUN).write("started")
    again = Journal(path, f"{RUN}-r1")
    again.write("resumed")
    again.write("ended")
    assert problems(path) == []
    assert [entry.run for entry in read(path)] == [RUN, f"{RUN}-r1", f"{RUN}-r1"]
    assert again.count == 3


def test_two_writers_of_one_run_make_one_chain(path: Path) -> None:
    first, second = Journal(path, RUN), Journal(path, f"{RUN}-r1")
    for number in range(5):
        first.write("note", text=f"first {number}")
        second.write("note", text=f"second {number}")
    first.write("ended")
    assert problems(path) == []
    assert len(read(path)) == 11


def test_many_threads_make_one_chain(path: Path) -> None:
    journal = Journal(path, RUN)

    def some() -> None:
        for number in range(25):
            journal.write("note", text=str(number))

    threads = [threading.Thread(target=some) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.write("ended")
    assert problems(path) == []
    assert journal.count == len(read(path)) == 201


def test_a_line_that_a_power_cut_tore_is_named_and_the_chain_goes_on(path: Path) -> None:
    journal = Journal(path, RUN)
    journal.write("started")
    journal.write("note", text="cut off here")
    os.truncate(path, path.stat().st_size - 40)
    again = Journal(path, f"{RUN}-r1")
    again.write("resumed")
    again.write("ended")
    (only,) = problems(path)
    assert only.startswith("line 2: torn:")


def test_what_a_later_run_saw_may_follow_the_end(path: Path) -> None:
    Journal(path, RUN).write("ended")
    Journal(path, RUN).write("seen", host="t1", service="hello", state="reverted")
    assert problems(path) == []


def test_the_first_line_carries_how_the_run_before_stands(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert last_head(runs) is None
    before = Journal(runs / "20261121T000000Z-aaaa" / "journal.jsonl", "20261121T000000Z-aaaa")
    before.write("started")
    before.write("ended")
    (runs / "20261121T000001Z-bbbb").mkdir()
    head = last_head(runs)
    assert head == Head("20261121T000000Z-aaaa", 2, before.head)
    journal = Journal(runs / RUN / "journal.jsonl", RUN, previous=head)
    journal.write("started", who="sre")
    journal.write("note")
    first, second = read(runs / RUN / "journal.jsonl")
    assert first.data == {"who": "sre", "previous_run": head.run, "previous_head": head.hash}
    assert second.data == {}
    assert last_head(runs, before=RUN) == head


def test_a_run_whose_journal_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    journal = Journal(tmp_path / "runs" / RUN / "journal.jsonl", RUN)
    with pytest.raises(JournalError, match=r"the journal cannot be written .* nothing was changed"):
        journal.write("started")


FULL = textwrap.dedent(
    """
    import resource, sys
    from pathlib import Path
    from gofallback.journal.writer import Journal

    path, logged = Path(sys.argv[1]), []
    journal = Journal(path, "r", log=logged.append)
    journal.write("started")
    room = path.stat().st_size + 60
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    for number in range(5):
        journal.write("note", text=f"on a full disk {number}")
    assert (journal.count, journal.waiting) == (1, 5), (journal.count, journal.waiting)
    assert path.stat().st_size < room, "half a line was left there"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    journal.write("ended")
    assert (journal.count, journal.waiting) == (7, 0)
    print(len(logged), logged[0])
    """
)


def test_a_disk_that_fills_up_neither_stops_the_run_nor_loses_a_line(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"1 {path}: the journal cannot be written (")
    assert problems(path) == []
    assert [entry.data.get("text", "") for entry in read(path)][1:-1] == [f"on a full disk {n}" for n in range(5)]


def test_entries_are_chosen_by_host(path: Path) -> None:
    journal = Journal(path, RUN)
    for host, service in ((None, None), ("t1", "hello"), ("t1", "twin"), ("t2", "hello")):
        journal.write("note", host=host, service=service)
    assert [entry.number for entry in about(read(path), "t1")] == [1, 2, 3]
    assert [entry.number for entry in about(read(path), None)] == [1, 2, 3, 4]
