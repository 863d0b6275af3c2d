"""What a run leaves for an auditor, on the controller and on real targets, and its exit status when it is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lab.cache import cache_dir
from tests.lab.fleet import Fleet, Result

pytestmark = pytest.mark.lab

PART = "/var/lib/gofallback/hello/journal.jsonl"
WHY = "INC-4711, the mirror answers 500"


@pytest.fixture(scope="module")
def made(stocked: Fleet) -> Fleet:
    """Two targets that v1.0.0 was rolled out to, with a reason."""
    stocked.data = {"rollout": {"confirm_window": 10, "lease_ttl": 6}}
    result = stocked.rollout("v1.0.0", "--data", f"reason={WHY}")
    assert result.code == 0, result.output
    return stocked


def part(fleet: Fleet, host: str, folder: Path) -> Path:
    """A target's own part of the journal, fetched."""
    file = folder / f"{host}.jsonl"
    file.write_text(fleet.lab.host(host).run(f"cat {PART}").stdout)
    return file


def own(fleet: Fleet) -> Path:
    """The controller's journal of the last run."""
    return max(fleet.home.glob("runs/*/journal.jsonl"))


def refused(fleet: Fleet, *words: str) -> Result:
    before = [fleet.live(host) for host in ("t1", "t2")]
    result = fleet.run("rollout", *words)
    assert result.code == 2, result.output
    result.line("refused:")
    assert [fleet.live(host) for host in ("t1", "t2")] == before
    return result


def test_the_journal_and_its_parts_on_the_targets_are_one_chain_each_and_agree(made: Fleet, tmp_path: Path) -> None:
    assert made.command("journal", "verify").code == 0
    told = [json.loads(line) for line in own(made).read_text().splitlines()]
    assert (told[0]["event"], told[-1]["event"], told[-1]["verdict"]) == ("started", "ended", "done")
    for host in ("t1", "t2"):
        file = part(made, host, tmp_path)
        checked = made.command("journal", "verify", str(file))
        assert checked.code == 0 and "as they were written" in checked.output, checked.output
        theirs = [json.loads(line) for line in file.read_text().splitlines()]
        assert [line["event"] for line in theirs] == ["intended", "provisional", "confirmed"]
        assert theirs[-1]["head"] in {line["hash"] for line in told}
        shown = made.command("journal", "show", str(file))
        assert shown.code == 0 and "confirmed" in shown.output


def test_who_why_and_what_before_and_after_are_in_the_report_and_on_every_target(made: Fleet) -> None:
    report = made.report()
    lab = json.loads((cache_dir() / "labs" / made.lab.name / "lab.json").read_text())
    asked = subprocess.run(["ssh-keygen", "-lf", lab["key"] + ".pub"], capture_output=True, text=True, check=True)
    fingerprint = asked.stdout.split()[1]
    assert any(line.startswith(fingerprint) for line in report["identity"]["keys"])
    assert len(report["identity"]["commit"]) == 40
    assert report["why"] == WHY
    assert {(row["version_before"], row["version"]) for row in report["targets"]} == {("", "v1.0.0")}
    ask = f"journalctl --no-pager -o json GOFALLBACK_RUN={report['run_id']} GOFALLBACK_OUTCOME=confirmed"
    for host in ("t1", "t2"):
        (line,) = [json.loads(text) for text in made.lab.host(host).run(ask).stdout.splitlines()]
        assert line["GOFALLBACK_WHY"] == WHY
        assert line["GOFALLBACK_RELEASE"].startswith("v1.0.0-")


def test_a_part_that_somebody_edited_on_a_target_is_found(made: Fleet, tmp_path: Path) -> None:
    made.lab.host("t1").run(f"cp -p {PART} /root/kept; sed -i 2s/provisional/confirmed/ {PART}")
    checked = made.command("journal", "verify", str(part(made, "t1", tmp_path)))
    made.lab.host("t1").run(f"mv /root/kept {PART}")
    assert checked.code == 1
    assert "line 2: edited" in checked.output


def test_a_controllers_journal_written_anew_does_not_fit_what_the_targets_know(made: Fleet, tmp_path: Path) -> None:
    kept, path = own(made).read_bytes(), own(made)
    try:
        path.unlink()
        program = "from gofallback.journal.writer import Journal; import sys; from pathlib import Path; "
        program += "j = Journal(Path(sys.argv[1]), sys.argv[2]); j.write('started', who='nobody'); j.write('ended')"
        python = made.project / ".venv" / "bin" / "python"
        subprocess.run([python, "-c", program, path, path.parent.name], check=True)
        checked = made.command("journal", "verify", str(part(made, "t1", tmp_path)))
    finally:
        path.write_bytes(kept)
    assert checked.code == 1
    assert "knows a line of run" in checked.output


@pytest.mark.parametrize(
    "words",
    [
        ("--data", "version=v9.9.9"),
        ("--data", "version=v9.9.9", "--dry"),
        ("--data", "nonsense=1"),
        ("--data", "nonsense=1", "--dry"),
        ("--data", "ref=main", "--data", "version=v1.1.0"),
    ],
    ids=["unknown version", "unknown version, dry", "unknown key", "unknown key, dry", "wish of another deploy"],
)
def test_a_refused_run_exits_2(made: Fleet, words: tuple[str, ...]) -> None:
    refused(made, *words)


def test_a_dry_run_that_would_go_on_exits_0_and_keeps_no_journal(made: Fleet) -> None:
    before = sorted(made.home.glob("runs/*/journal.jsonl"))
    result = made.run("rollout", "--data", "version=v1.1.0", "--dry")
    assert result.code == 0, result.output
    assert sorted(made.home.glob("runs/*/journal.jsonl")) == before


def test_a_full_disk_refuses_a_run_and_does_not_stop_one_that_has_started(made: Fleet) -> None:
    runs = made.home / "runs"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", runs], check=True)
    try:
        fill = f"dd if=/dev/zero of={runs}/filler bs=4k 2>/dev/null; true"
        subprocess.run(["sh", "-c", fill], check=True)
        told = refused(made, "--data", "version=v1.1.0")
        assert "cannot be kept there (No space left on device)" in told.output
        (runs / "filler").unlink()
        slow = {"hello": {"health": {"minimum_healthy": 4}}}
        run = made.start("rollout", "--data", "version=v1.1.0", data=slow)
        run.wait_for(r"\[t1\].*gate")
        subprocess.run(["sh", "-c", fill], check=True)
        result = run.end()
        assert result.code == 0, result.output
        assert "Traceback" not in result.output
        assert "the journal cannot be written (No space left on device)" in " ".join(result.output.split())
        assert all((made.live(host) or "").startswith("v1.1.0-") for host in ("t1", "t2"))
    finally:
        subprocess.run(["umount", "-l", runs], check=True)
