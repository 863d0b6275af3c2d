"""The protocol of the keeper: requests, and answers in pieces over broken connections."""

from __future__ import annotations

import pytest

from gofallback.gobuild.agent_source import agent_digest, keeper_files
from gofallback.gobuild.detached import AnswerReader, ProtocolError, job_id, read_list, request
from gofallback.gobuild.environment import go_environment
from gofallback.model.builder import Builder
from gofallback.operations.detached_helper import compile_environment
from tests.unit.gobuild.test_plan import spec

STATUS = (
    "gofallback-job 1\ninstance 12-ab\npid 12\nchild 13\nstate {state}\nhow {how}\ncode {code}\nstarted 1000\n"
    "ended {ended}\ntimeout 60000\nlabel hello\nproduct \nreason \n"
)
RUNNING = "way started\n" + STATUS.format(state="running", how="", code=0, ended=0)
ENDED = STATUS.format(state="ended", how="exit", code=3221225477, ended=3500)


def frame(head: str, body: str) -> bytes:
    return f"{head} {len(body.encode())}\n{body}".encode()


FIRST = frame("h", RUNNING)
LOG = frame("o 1001", "eins\n") + frame("e 1002", "zwei x 3\nh 1\n") + frame("o 1003", "dréi\n")
LAST = frame("x", ENDED)


def read_pieces(*pieces: bytes) -> tuple[AnswerReader, dict[str, bytes]]:
    got = {"stdout": b"", "stderr": b""}

    def take(stream: str, data: bytes) -> None:
        got[stream] += data

    answer = AnswerReader(take)
    for piece in pieces:
        answer.feed(piece)
    return answer, got


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_an_answer_may_come_in_pieces_of_any_size(size: int) -> None:
    whole = FIRST + LOG + LAST
    answer, got = read_pieces(*(whole[at : at + size] for at in range(0, len(whole), size)))
    assert got == {"stdout": "eins\ndréi\n".encode(), "stderr": b"zwei x 3\nh 1\n"}
    assert answer.started is not None and answer.started.way == "started" and answer.started.how == ""
    assert answer.ended is not None
    assert (answer.ended.how, answer.ended.code, answer.ended.seconds) == ("exit", 3221225477, 2.5)
    assert answer.offset == len(LOG)


@pytest.mark.parametrize("cut", range(len(LOG) + 1))
def test_wherever_the_connection_breaks_no_byte_is_lost_or_doubled(cut: int) -> None:
    got = {"stdout": b"", "stderr": b""}

    def take(stream: str, data: bytes) -> None:
        got[stream] += data

    answer = AnswerReader(take)
    answer.feed(FIRST + LOG[:cut])
    answer.reconnect()
    answer.feed(LOG[answer.offset :] + LAST)
    assert got == {"stdout": "eins\ndréi\n".encode(), "stderr": b"zwei x 3\nh 1\n"}
    assert answer.ended is not None


@pytest.mark.parametrize("text", [b"cmd: not found\n", b"o x 3\nabc", b"z 3\nabc", b"A" * 80])
def test_the_output_of_another_program_is_no_answer(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_pieces(text)


def test_a_status_without_its_figures_is_no_status() -> None:
    with pytest.raises(ProtocolError):
        read_pieces(frame("x", "gofallback-job 1\ninstance 1-1\n"))


def test_a_job_has_every_part_with_its_length_so_that_no_value_can_pass_for_another() -> None:
    text = request("echo ü", {"A": "1\nline 2\nx"}, 60.0, label="hello", stdin=b"in\n", secrets=["s3cret"])
    assert b"line 7\necho \xc3\xbc\n" in text
    assert b"environment 12\nA=1\nline 2\nx\n" in text
    assert b"timeout 2\n60\n" in text and b"input 3\nin\n\n" in text and b"secret 6\ns3cret\n" in text


def test_equal_work_has_an_equal_name_that_is_one_harmless_folder() -> None:
    name = job_id("my/../service", "linux/amd64", "ab" * 32)
    assert name == job_id("my/../service", "linux/amd64", "ab" * 32) == "my-service-linux-amd64-" + "ab" * 12
    assert name != job_id("my/../service", "vet", "ab" * 32)
    assert len(job_id("x" * 300, "y" * 300, "0" * 64)) <= 100


def test_a_list_of_jobs_is_read_and_other_lines_are_left_out() -> None:
    lines = [
        "Microsoft Windows",
        "@job\thello-build-1\trunning\t\t0\t1500\t0\t40\t1-2\thello v1 linux/amd64\r",
        "@job\thello-vet-1\tended\texit\t1\t1500\t2500\t40\t1-2\thello v1 go vet",
        "@job\tagent-build-1\tended\tdead\t0\t1500\t0\t40\t1-2\tagent",
        "@job\tcut off",
    ]
    first, second, third = read_list(lines)
    assert (first.id, first.state_text(), first.started, first.ended) == ("hello-build-1", "running", 1.5, 0)
    assert first.label == "hello v1 linux/amd64"
    assert (second.state_text(), second.ended) == ("exit status 1", 2.5)
    assert third.state_text() == "ended without a status (restarted, or killed)"


def test_the_keepers_sources_come_with_the_package_without_its_tests() -> None:
    sources = keeper_files()
    assert sources["go.mod"].startswith(b"module gofallback.local/keeper\n")
    assert {"main.go", "host_windows.go", "host_linux.go"} < set(sources)
    assert not [name for name in sources if name.endswith("_test.go")]
    assert len(agent_digest(sources)) == 64
    imports = b"".join(sources.values())
    for heavy in (b'"fmt"', b'"net', b'"encoding/', b'"os/exec"'):  # each makes the first build on a host longer
        assert heavy not in imports


def test_the_keeper_is_compiled_without_what_others_on_the_builder_must_not_read() -> None:
    builder = Builder(environment={"HTTPS_PROXY": "http://inside.example.com:3128", "GOPROXY": "x"})
    every = go_environment(spec(), "C:\\gofallback", "C:\\go", "C:\\git\\cmd", builder=builder)
    assert "inside.example" in str(every)
    given = compile_environment(every)
    assert "inside.example" not in str(given) and given["GOPROXY"] == "off"
    needed = ("GOROOT", "GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOPATH", "PATH", "TEMP", "TMP", "GOTOOLCHAIN", "GOENV")
    assert {name: given[name] for name in needed} == {name: every[name] for name in needed}
    assert given["CC"] == given["GOEXPERIMENT"] == given["GOOS"] == "", "whatever the login has set"
