"""Detached builds: a cut network, a builder that dies, a builder that cannot run them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gofallback.gobuild.detached import ListedJob, job_id
from gofallback.gobuild.result import Built
from gofallback.model.builder import Builder
from gofallback.operations import build as build_operation
from gofallback.operations import detached, detached_helper
from gofallback.operations.job import Job
from tests.lab.pyinfra_host import connected
from tests.lab.waiting import wait
from tests.lab.windows_builder import ROOT, Bench, repository, windows_bench

pytestmark = pytest.mark.lab

XML = {"main.go": 'package main\n\nimport "encoding/xml"\n\nfunc main() { println(xml.Header) }\n'}
FRAME = re.compile(rb"([oe]) (\d+) (\d+)\n")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with windows_bench(tmp_path_factory.mktemp("controller")) as bench:
        yield bench


def instances(bench: Bench, job: Job) -> list[Path]:
    """The log of a job's build on the builder, named after its start; empty before the first one."""
    folder = bench.drive / "jobs" / job_id(job.specs[0].service, "build", job.specs[0].key)
    return sorted(folder.glob("log-*"))


def frames(log: Path) -> list[tuple[float, bytes]]:
    """Time (seconds since 1970) and bytes of all that a command said."""
    data, found = log.read_bytes(), []
    while match := FRAME.match(data):
        end = match.end() + int(match[3])
        found.append((int(match[2]) / 1000, data[match.end() : end]))
        data = data[end:]
    assert data == b""
    return found


def wait_for_output(bench: Bench, job: Job, seconds: float = 200) -> None:
    """Wait until the build runs there and has said something."""
    wait(lambda: any(log.stat().st_size for log in instances(bench, job)), seconds, message=lambda: bench.messages.text)


def programs(bench: Bench) -> str:
    """What runs on the builder."""
    return bench.machine.run("tasklist").stdout.lower()


def test_a_network_that_is_cut_for_half_a_minute_costs_no_line_and_no_second_build(
    bench: Bench, tmp_path: Path
) -> None:
    service = bench.service(repository(tmp_path / "cut", XML))
    job = bench.job(service, ["linux/ppc64le"])
    bench.host.disconnect()
    bench.host.connector.data["ssh_silence_seconds"] = 6  # type: ignore[index,union-attr]
    bench.state.print_output = True  # go names each package as it is compiled
    window: list[float] = []
    before: list[Path] = []

    def cut() -> None:
        wait_for_output(bench, job)
        before.extend(instances(bench, job))
        window.append(time.time())
        bench.machine.cut()
        time.sleep(30)
        bench.machine.uncut()
        window.append(time.time())

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        built = bench.build(service, "linux/ppc64le")
    finally:
        bench.state.print_output = False
        thread.join()
    assert built is not None, bench.messages.text
    assert "connection lost" in bench.messages.text
    assert "it goes on there" in bench.messages.text
    assert instances(bench, job) == before  # a further start would have a log of another name
    (log,) = before
    said = frames(log)
    assert [at for at, _ in said if window[0] + 1 < at < window[1]], "nothing was built while the network was cut"
    record = (bench.home / "records" / "cut-linux-ppc64le.log").read_text()
    lines = b"".join(text for _, text in said).decode().splitlines()
    packages = [line for line in lines if line and not line.startswith(("@", "CertUtil", "SHA256"))]
    assert len(packages) > 20
    for package in packages:
        assert record.splitlines().count(package) == lines.count(package), package


def test_a_builder_that_loses_its_power_in_mid_build_is_reported_as_such_and_builds_again(
    bench: Bench, tmp_path: Path
) -> None:
    service = bench.service(repository(tmp_path / "power"))
    job = bench.job(service, ["linux/loong64"])

    def outage() -> None:
        wait_for_compiler(bench, job)
        bench.machine.kill()
        time.sleep(2)
        bench.machine.boot()

    thread = threading.Thread(target=outage)
    thread.start()
    built = bench.build(service, "linux/loong64")
    thread.join()
    assert built is not None, bench.messages.text
    assert "connection lost" in bench.messages.text
    assert "the build died with its builder" in bench.messages.text
    assert "building again" in bench.messages.text


def wait_for_compiler(bench: Bench, job: Job) -> None:
    """Wait until the compiler is at work."""
    wait(lambda: instances(bench, job), 200, message=lambda: bench.messages.text)
    time.sleep(3)


def test_what_a_cancelled_build_had_running_is_gone_and_the_run_says_who_ended_it(bench: Bench, tmp_path: Path) -> None:
    service = bench.service(repository(tmp_path / "ended"))
    job = bench.job(service, ["linux/mips64le"])

    def end() -> None:
        wait_for_compiler(bench, job)
        (one,) = [found for found in listed(bench) if found.state == "running"]
        assert one.label == "ended v1.0.0 linux/mips64le"
        program, jobs = detached_helper.keeper_program(ROOT), f"{ROOT}\\jobs"
        assert "cancelled" in bench.machine.run(f"{program} cancel {jobs} {one.id}").stdout

    thread = threading.Thread(target=end)
    thread.start()
    text = bench.failure(service, "linux/mips64le")
    thread.join()
    assert "cancelled: somebody ended it on the builder" in text
    running = programs(bench)
    assert "go.exe" not in running and "compile.exe" not in running and "keeper.exe" not in running
    assert not [found for found in listed(bench) if found.state == "running"]


def listed(bench: Bench) -> list[ListedJob]:
    return detached_helper.list_jobs(bench.state, bench.host, ROOT)


def test_neither_log_nor_status_nor_any_file_holds_the_environment(bench: Bench, tmp_path: Path) -> None:
    service = bench.service(repository(tmp_path / "quiet"), environment={"GOPRIVATE": "s3cret.example.test"})
    assert bench.build(service) is not None, bench.messages.text
    files = [file for file in (bench.drive / "jobs").rglob("*") if file.is_file()]
    assert len(files) > 3
    for file in files:
        assert b"s3cret" not in file.read_bytes(), file


def test_a_builder_set_not_to_keep_builds_does_not(bench: Bench, tmp_path: Path) -> None:
    service = bench.service(repository(tmp_path / "attached"))
    bench.builder = Builder(root=ROOT, detached=False)
    try:
        assert bench.build(service) is not None, bench.messages.text
        assert instances(bench, bench.job(service, ["linux/amd64"])) == []
    finally:
        bench.builder = Builder(root=ROOT)


def test_a_builder_that_cannot_keep_builds_builds_all_the_same_and_says_so_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper cannot be put in place: a file has the name of its folder."""
    monkeypatch.setattr(detached, "_KEEPERS", type(detached._KEEPERS)())
    tools, aside = bench.drive / "tools", bench.drive / "tools.aside"
    tools.rename(aside)
    tools.write_bytes(b"")
    try:
        assert bench.build(bench.service(repository(tmp_path / "plain"))) is not None, bench.messages.text
    finally:
        tools.unlink()
        aside.rename(tools)
    assert bench.messages.text.count("builds on this builder end with their connection: gofallback-keeper") == 1


def test_a_second_run_at_the_same_time_follows_the_first_ones_build(bench: Bench, tmp_path: Path) -> None:
    """Two controllers, each with a connection of its own."""
    service = bench.service(repository(tmp_path / "shared"))
    job = bench.job(service, ["linux/s390x"])
    assert bench.deliver(service)
    results: list[tuple[str, bool, str]] = []
    before: list[Path] = []

    def follow() -> None:
        wait_for_compiler(bench, job)
        before.extend(instances(bench, job))
        with connected(bench.lab, bench.machine) as (state, (host,), messages):
            made: list[Built] = []
            ok = build_operation.build(state, host, job, made.append)
            results.append((messages.text, ok, made[0].sha256 if made else ""))

    thread = threading.Thread(target=follow)
    thread.start()
    built = bench.build(service, "linux/s390x")
    thread.join()
    assert built is not None, bench.messages.text
    ((text, ok, digest),) = results
    assert ok, text
    assert "another run began it; following that one" in text
    assert digest == built[0].sha256
    assert instances(bench, job) == before  # one start
