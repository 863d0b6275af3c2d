"""The lease script of a target: real sh and flock, in a folder of the test and with an uptime of the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gofallback.lease import holder
from gofallback.lease.holder import LeaseResult
from gofallback.lease.script import BUSY, FENCED, LeaseRequest, Paths, guard, hold

TTL = 30
ME, OTHER = "20261122T031244Z-9f3a", "20261122T031300Z-77aa"


@dataclass
class Machine:
    """A target made of three paths. Its keepers run until they are ended."""

    folder: Path
    keepers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return Paths(str(self.folder / "records"), str(self.folder / "run"), str(self.folder / "uptime"))

    def up(self, seconds: float) -> None:
        (self.folder / "uptime").write_text(f"{seconds:.2f} 4711.00\n")

    def take(self, run: str, services: dict[str, int] | None = None, takeover: str | None = None) -> LeaseResult:
        """Request leases; the process that keeps them is the last one in `keepers`."""
        terms = LeaseRequest(run, "al@ctl", "2026-11-22T03:12:44Z", ttl=TTL, takeover=takeover)
        script = hold(services or {"hello": 0}, terms, self.paths)
        pipe = subprocess.PIPE
        keeper = subprocess.Popen(["sh", "-c", script], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        assert keeper.stdout is not None
        lines = []
        for line in keeper.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == "held":
                break
        answer = holder.parse_result(lines)
        if answer.held:
            self.keepers.append(keeper)
        else:
            assert keeper.wait() != 0
            self._close(keeper)
        return answer

    def heartbeat(self, keeper: subprocess.Popen[str], word: str = "1") -> str:
        """Send a heartbeat and return the line that it is answered with."""
        assert keeper.stdin is not None and keeper.stdout is not None
        keeper.stdin.write(f"{word}\n")
        keeper.stdin.flush()
        return keeper.stdout.readline().rstrip("\n")

    def hang_up(self, keeper: subprocess.Popen[str]) -> None:
        """The connection ends: the keeper sees the end of its input."""
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.wait(30)

    def die(self, keeper: subprocess.Popen[str]) -> None:
        """Power off: the keeper cannot release its leases."""
        keeper.kill()
        keeper.wait()

    def reboot(self) -> None:
        for keeper in self.keepers:
            self.die(keeper)
        for file in (self.folder / "run").glob("*"):
            file.unlink()

    def line(self, service: str = "hello") -> list[str]:
        return (self.folder / "records" / service / "lease").read_text().rstrip("\n").split("\t")

    def end(self) -> None:
        for keeper in self.keepers:
            self.die(keeper)
            self._close(keeper)

    def _close(self, keeper: subprocess.Popen[str]) -> None:
        assert keeper.stdin is not None and keeper.stdout is not None
        keeper.stdin.close()
        keeper.stdout.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    made.up(1000)
    yield made
    made.end()


def test_the_first_holder_gets_number_one_and_is_written_down(machine: Machine) -> None:
    assert machine.take(ME).numbers == {"hello": 1}
    assert machine.line() == ["1", ME, "al@ctl", "2026-11-22T03:12:44Z", "30"]
    assert (machine.folder / "run" / "hello.renewed").read_text() == "1\t1000.00\n"


def test_a_second_run_is_refused_with_holder_age_expiry_and_remedy(machine: Machine) -> None:
    machine.take(ME)
    machine.up(1006.5)
    answer = machine.take(OTHER)
    assert not answer.held and not answer.numbers
    service, found = answer.busy[0]
    assert holder.refusal(service, found) == (
        f"hello is leased to run {ME} of al@ctl since 2026-11-22T03:12:44Z, expires in 24 s unless renewed; "
        f"wait for it to end, or take over: --data takeover={ME}"
    )
    assert machine.line()[1] == ME


def test_given_back_keeps_the_number_and_the_next_holder_counts_on(machine: Machine) -> None:
    machine.take(ME)
    machine.hang_up(machine.keepers[0])
    assert machine.line() == ["1", "", "", "", ""]
    assert machine.take(OTHER).numbers == {"hello": 2}


def test_all_services_are_taken_or_none(machine: Machine) -> None:
    machine.take(OTHER, {"shop": 0})
    answer = machine.take(ME, {"hello": 0, "shop": 0, "web-2": 0})
    assert not answer.held and [service for service, _ in answer.busy] == ["shop"]
    assert not (machine.folder / "records" / "hello").exists()
    machine.hang_up(machine.keepers[0])
    assert machine.take(ME, {"hello": 0, "shop": 0, "web-2": 0}).numbers == {"hello": 1, "shop": 2, "web-2": 1}


def test_a_heartbeat_renews_every_service(machine: Machine) -> None:
    machine.take(ME, {"hello": 0, "shop": 0})
    machine.up(1020)
    assert machine.heartbeat(machine.keepers[0], "w7") == "renewed\tw7"
    for service in ("hello", "shop"):
        assert (machine.folder / "run" / f"{service}.renewed").read_text() == "1\t1020.00\n"


@pytest.mark.parametrize(("after", "free"), [(29.99, False), (30.0, True), (3e6, True)])
def test_a_lease_that_is_not_renewed_is_free_after_its_ttl_by_the_targets_uptime(
    machine: Machine, after: float, free: bool
) -> None:
    machine.up(1000.08)  # 08: invalid octal number in shell arithmetic
    machine.take(ME)
    machine.die(machine.keepers[0])
    machine.up(1000.08 + after)
    assert machine.take(OTHER).held is free


def test_after_a_reboot_a_lease_is_held_for_one_ttl_more(machine: Machine) -> None:
    machine.take(ME)
    machine.reboot()
    machine.up(29.5)
    answer = machine.take(OTHER)
    assert answer.busy[0][1].expires_in == 1
    machine.up(30.0)
    assert machine.take(OTHER).numbers == {"hello": 2}


def test_a_renewal_from_before_a_reboot_that_left_its_file_does_not_hold_the_lease_for_days(machine: Machine) -> None:
    machine.take(ME)
    machine.die(machine.keepers[0])
    machine.up(31)
    assert machine.take(OTHER).held


def test_a_run_that_lost_its_channel_gets_the_same_number_again(machine: Machine) -> None:
    machine.take(ME)
    first = machine.keepers[0]
    assert machine.take(ME, {"hello": 1}).numbers == {"hello": 1}  # the old channel is not known to be dead yet
    assert machine.heartbeat(first) == ""
    assert machine.line()[1] == ME, "an old channel's end gives nothing back"
    machine.die(machine.keepers[1])
    machine.up(5000)
    assert machine.take(ME, {"hello": 1}).numbers == {"hello": 1}, "even when it had expired"
    machine.hang_up(machine.keepers[2])
    assert machine.take(ME, {"hello": 1}).numbers == {"hello": 1}, "even when it had been given back"


def test_a_run_that_lost_its_channel_is_fenced_once_another_run_had_the_lease(machine: Machine) -> None:
    machine.take(ME)
    machine.hang_up(machine.keepers[0])
    machine.take(OTHER)
    (fence,) = machine.take(ME, {"hello": 1}).fenced
    assert str(fence) == f"fenced: run {OTHER} of al@ctl took over (number 2, ours 1)"
    machine.hang_up(machine.keepers[1])
    (fence,) = machine.take(ME, {"hello": 1}).fenced
    assert "number 2, ours 1" in str(fence)


def test_a_continuation_takes_the_lease_from_a_dead_predecessor_and_not_from_a_living_one(machine: Machine) -> None:
    machine.take(ME)
    machine.up(1006)
    assert not machine.take(f"{ME}-r1").held
    machine.up(1007)
    assert not machine.take(OTHER).held, "for anybody else it is held for the whole ttl"
    assert machine.take(f"{ME}-r1").numbers == {"hello": 2}
    machine.up(1015)
    assert machine.take(f"{ME}-r2-b").numbers == {"hello": 3}
    machine.reboot()
    machine.up(10)
    assert machine.take(f"{ME}-r3").numbers == {"hello": 4}, "no channel outlives a reboot"


def test_a_takeover_names_the_run_it_takes_from_and_fences_it(machine: Machine) -> None:
    machine.take(ME)
    refused = machine.take(OTHER, takeover="20260101T000000Z-aaaa")
    assert "not held by run 20260101T000000Z-aaaa" in holder.refusal(*refused.busy[0], "20260101T000000Z-aaaa")
    answer = machine.take(OTHER, takeover=ME)
    assert answer.numbers == {"hello": 2}
    assert str(answer.takeovers[0]) == f"hello: lease taken over from run {ME} of al@ctl since 2026-11-22T03:12:44Z"
    fence = holder.parse_fenced([machine.heartbeat(machine.keepers[0])])
    assert fence is not None and (fence.number, fence.ours, fence.run_id) == (2, 1, OTHER)
    machine.hang_up(machine.keepers[0])
    assert machine.line()[:2] == ["2", OTHER], "the end of the earlier run gives nothing back"


def test_a_takeover_of_a_free_lease_is_an_ordinary_request(machine: Machine) -> None:
    answer = machine.take(OTHER, takeover=ME)
    assert answer.held and not answer.takeovers


def run_guarded(machine: Machine, number: int, command: str = "echo did") -> subprocess.CompletedProcess[str]:
    script = guard("hello", number, command, machine.paths)
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)


def test_a_guarded_command_runs_with_the_current_number_only(machine: Machine) -> None:
    machine.take(ME)
    assert run_guarded(machine, 1).stdout == "did\n"
    machine.die(machine.keepers[0])
    machine.up(9000)
    assert run_guarded(machine, 1).stdout == "did\n", "expired, but no other run had it"
    machine.take(OTHER)
    late = run_guarded(machine, 1)
    assert late.returncode == FENCED and "did" not in late.stdout
    assert str(holder.parse_fenced(late.stdout.splitlines())).startswith(f"fenced: run {OTHER} of al@ctl took over")
    machine.hang_up(machine.keepers[1])
    late = run_guarded(machine, 1)
    assert str(holder.parse_fenced(late.stdout.splitlines())) == (
        "fenced: a later run took over and has ended (number 2, ours 1)"
    )
    assert run_guarded(machine, 2, "exit 4").returncode == 4


def test_no_run_takes_the_lease_while_a_guarded_command_runs(machine: Machine) -> None:
    machine.take(ME)
    seen = machine.folder / "records" / "hello" / "lease"
    script = guard("hello", 1, f"echo in; read -r _; cat {seen}", machine.paths)
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", script], stdin=pipe, stdout=pipe, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "in\n"
        terms = LeaseRequest(OTHER, "bo@ctl", "now", takeover=ME)
        with subprocess.Popen(["sh", "-c", hold({"hello": 0}, terms, machine.paths)], stdin=pipe, stdout=pipe) as taker:
            with pytest.raises(subprocess.TimeoutExpired):
                taker.wait(0.3)
            out, _ = writer.communicate("\n")
            assert out.startswith(f"1\t{ME}\t")
            output, _ = taker.communicate()
            assert b"taken\thello\t2" in output


def test_two_controllers_that_ask_at_once_never_both_get_it(machine: Machine) -> None:
    pipe = subprocess.PIPE
    for turn in range(1, 21):
        terms = [LeaseRequest(f"2026T{turn}-{name}", name, "now", ttl=TTL) for name in ("one", "two")]
        both = [
            subprocess.Popen(["sh", "-c", hold({"hello": 0}, each, machine.paths)], stdin=pipe, stdout=pipe, text=True)
            for each in terms
        ]
        first = []
        for process in both:
            assert process.stdout is not None
            first.append(process.stdout.readline().split("\t")[0])
        assert sorted(first) == ["busy", "taken"]
        for process in both:
            process.communicate("")
        assert machine.line() == [str(turn), "", "", "", ""]


@pytest.mark.parametrize(
    "content",
    [
        *("", "\n", "seven\tr\tw\ts\t30\n", "7\tr\tw\ts\tlong\n", "08\n", "010\n", f"{2**63 - 1}\n", f"{'9' * 30}\n"),
        *("7\tr\tw\ts\t08\n", f"7\tr\tw\ts\t{'9' * 30}\n"),
    ],
)
def test_a_lease_file_without_a_number_is_not_taken_for_a_free_lease(machine: Machine, content: str) -> None:
    file = machine.folder / "records" / "hello" / "lease"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    answer = machine.take(ME)
    assert not answer.held and str(file) in answer.error and "write a number there" in answer.error
    assert file.read_text() == content
    assert run_guarded(machine, 3).returncode not in (0, BUSY)


@pytest.mark.parametrize(
    "renewed", ["", "x", "3\tx", "3\tx.yz", "3\t08.10", "3\t1.2.3", "3\t1e5", "3\t-5.00", "\0" * 9]
)
def test_a_damaged_renewal_does_not_block_the_lease_forever(machine: Machine, renewed: str) -> None:
    for folder, name, content in [
        ("records/hello", "lease", f"3\t{OTHER}\tw\ts\t30\n"),
        ("run", "hello.renewed", renewed),
    ]:
        (machine.folder / folder).mkdir(parents=True)
        (machine.folder / folder / name).write_text(content)
    machine.up(20)
    assert [name for name, _ in machine.take(ME).busy] == ["hello"], "held as after a reboot"
    machine.up(31)
    assert machine.take(ME).numbers == {"hello": 4}


def test_a_folder_that_cannot_be_written_is_one_line_and_changes_nothing(machine: Machine) -> None:
    (machine.folder / "records").mkdir()
    (machine.folder / "records" / "shop").write_text("in the way")
    answer = machine.take(ME, {"hello": 0, "shop": 0})
    assert not answer.held and "shop" in answer.error
    assert not (machine.folder / "records" / "hello" / "lease").exists()
    assert not list((machine.folder / "run").glob(".*"))


def test_names_that_a_shell_would_read_are_only_names(machine: Machine) -> None:
    terms = LeaseRequest("$(touch /tmp/no)", "a\tb\n`id`@'x'", "", ttl=TTL)
    script = hold({"hello": 0}, terms, machine.paths)
    out = subprocess.run(["sh", "-c", script], input="", capture_output=True, text=True, check=True)
    assert holder.parse_result(out.stdout.splitlines()).held
    script = hold({"hello": 0}, replace(terms, run_id="r2", takeover=None), machine.paths)
    assert subprocess.run(["sh", "-c", script], input="", capture_output=True, text=True, check=True)
    assert machine.line() == ["2", "", "", "", ""]


def test_the_order_of_services_makes_no_difference() -> None:
    terms = LeaseRequest("r", "w", "s")
    assert hold({"b": 0, "a": 2}, terms) == hold({"a": 2, "b": 0}, terms)


@pytest.mark.parametrize(
    ("fields", "renewed", "uptime", "expected"),
    [
        ([], [], 50.0, None),
        (["7", "", "", "", ""], ["7", "40"], 50.0, None),
        (["7", "r", "w", "s", "30"], ["7", "40.00"], 50.0, (10.0, 20.0, False)),
        (["7", "r", "w", "s", "30"], ["7", "20.00"], 50.0, (30.0, 0.0, True)),
        (["7", "r", "w", "s", "30"], [], 12.0, (None, 18.0, False)),
        (["7", "r", "w", "s", "30"], ["6", "49.00"], 31.0, (None, 0.0, True)),
        (["7", "r", "w", "s", "30"], ["7", "90000.00"], 12.0, (None, 18.0, False)),
    ],
    ids=["never", "given back", "held", "lapsed", "rebooted", "rebooted long ago", "another boot's renewal"],
)
def test_the_state_of_a_target_shows_the_lease_as_its_script_judges_it(
    fields: list[str], renewed: list[str], uptime: float, expected: tuple[float | None, float, bool] | None
) -> None:
    found = holder.parse_holder(fields, renewed, uptime)
    assert (found and (found.age, found.expires_in, found.expired)) == expected


def test_no_script_of_a_lease_asks_a_target_for_the_time_of_day() -> None:
    words = f"{hold({'hello': 0}, LeaseRequest('r', 'w', 's'))} {guard('hello', 1, 'true')}".split()
    assert not {"date", "$(date", "stat", "EPOCHSECONDS"} & set(words) and "uptime=/proc/uptime" in words
