"""Releases on a real target while the link, the controller or the port fails them; and a restart nobody notices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from gofallback.operations.target.activate import describe
from gofallback.operations.target.release import put_release
from gofallback.operations.target.smoke import smoke_test
from gofallback.release.plan import plan_steps
from gofallback.release.upload import Upload
from lab import Lab
from tests.lab.conftest import fresh_name
from tests.lab.programs import program
from tests.lab.pyinfra_host import connected
from tests.lab.target import HEALTH, Target, hello
from tests.lab.waiting import wait
from tests.paths import PROJECT

pytestmark = pytest.mark.lab


def slowed(upload: Upload, pipe: Path) -> Upload:
    """The same upload, its binary read from a named pipe, so that a test decides how far it gets."""
    os.mkfifo(pipe)
    programs = [replace(one, local=pipe) if one.path.startswith("bin/") else one for one in upload.programs]
    return replace(upload, programs=tuple(programs))


def test_a_link_cut_during_the_upload_changes_nothing_and_the_same_upload_succeeds_afterwards(
    target: Target, tmp_path: Path
) -> None:
    good = target.live(hello(), "v1.0.0")
    files, upload = target.upload(hello(), "v1.1.0")
    assert upload is not None
    machine, content = target.lab.targets[0], program("hello", "v1.1.0").path.read_bytes()

    def feed() -> None:
        # the reader gives up in the middle
        with suppress(BrokenPipeError), (tmp_path / "pipe").open("wb") as pipe:
            pipe.write(content[: len(content) // 2])
            pipe.flush()
            machine.cut()
            pipe.write(content[len(content) // 2 :])

    slow = slowed(upload, tmp_path / "pipe")
    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        assert not put_release(target.state, target.host, slow)
    finally:
        feeder.join()
        machine.uncut()
    assert "the connection broke during the upload" in target.said.lines[-1]
    assert machine.run("readlink /opt/hello/current").stdout.strip() == f"releases/{good.id}"
    assert target.answers() == "ok v1.0.0"
    with connected(target.lab) as (state, hosts, said):
        again = Target(target.lab, state, hosts[0], said)
        assert again.live(hello(), "v1.1.0").id == files.id
    assert ".tmp" not in machine.run("ls -A /opt/hello/releases").stdout


KILLED = """
from gevent import monkey; monkey.patch_all()
import sys
from pathlib import Path
from lab import Lab
from tests.lab.pyinfra_host import connected
from tests.lab.target import HEALTH, Target, hello
what, name, pipe = sys.argv[1:]
with connected(Lab.load(name)) as (state, hosts, said):
    target = Target(Lab.load(name), state, hosts[0], said)
    if what == "upload":
        from tests.lab.test_release_disturbed import slowed
        from gofallback.operations.target.release import put_release
        upload = slowed(target.upload(hello(), "v1.1.0")[1], Path(pipe))
        print("begins", flush=True)
        put_release(state, hosts[0], upload)
    else:
        slow = hello(health=HEALTH | {"minimum_healthy": 3, "start_deadline": 20})
        files = target.put(slow, "v1.1.0")
        print(files.id, flush=True)
        target.activate(slow, files.id, "run-dead")
"""


def controller(what: str, lab: Lab, pipe: Path) -> subprocess.Popen[str]:
    """Another controller, in a process of its own, that a test can kill."""
    command = [sys.executable, "-c", KILLED, what, lab.name, str(pipe)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def test_a_controller_killed_during_the_upload_leaves_no_release_and_the_next_upload_cleans_up(
    target: Target, tmp_path: Path
) -> None:
    good = target.live(hello(), "v1.0.0")
    machine, pipe = target.lab.targets[0], tmp_path / "pipe"
    with controller("upload", target.lab, pipe) as process:
        assert process.stdout is not None and process.stdout.readline().strip() == "begins"
        with pipe.open("wb", buffering=0) as feed:
            feed.write(program("hello", "v1.1.0").path.read_bytes()[:100_000])
            wait(lambda: ".tmp-v1.1.0" in machine.run("ls -A /opt/hello/releases").stdout)
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert target.answers() == "ok v1.0.0"
    wait(lambda: machine.run("ls -A /opt/hello/releases").stdout.split() == [good.id])
    assert target.live(hello(), "v1.1.0").id == target.see(hello()).current


def test_a_controller_killed_during_the_activation_does_not_stop_it_and_the_next_run_finds_it_done(
    target: Target, tmp_path: Path
) -> None:
    target.live(hello(), "v1.0.0")
    machine = target.lab.targets[0]
    with controller("activate", target.lab, tmp_path / "pipe") as process:
        assert process.stdout is not None
        release = process.stdout.readline().strip()
        at_work = "systemctl is-active gofallback-activate-hello"
        wait(lambda: machine.run(at_work, check=False).returncode == 0)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert machine.run(at_work, check=False).returncode == 0, "the target goes on alone"
    slow = hello(health=HEALTH | {"minimum_healthy": 3, "start_deadline": 20})
    joined = target.activate(slow, release, "run-next")
    assert joined.ok and joined.run_id == "run-dead" and joined.live == release, describe(joined)
    assert target.answers() == "ok v1.1.0"


def test_a_port_that_is_taken_is_the_reason_that_is_reported(target: Target) -> None:
    machine = target.lab.targets[0]
    files = target.put(hello(), "v1.0.0")
    machine.run(f"systemd-run --unit=squatter {files.folder}/bin/hello")
    wait(lambda: target.answers() == "ok v1.0.0")
    outcome = target.activate(hello(), files.id, "run-1")
    assert outcome.state == "failed" and outcome.live is None
    assert any("address already in use" in line for line in outcome.evidence)
    machine.run("systemctl stop squatter")
    again = target.activate(hello(), files.id, "run-2")
    assert again.ok, describe(again)


def test_with_socket_activation_no_connection_is_refused_while_a_release_is_switched(target: Target) -> None:
    def handed_over(minimum: float) -> dict[str, object]:
        return {"port": 8080, "socket_activation": True, "health": HEALTH | {"minimum_healthy": minimum}}

    first = target.put(hello(**handed_over(0.5)), "v1.0.0")
    assert target.activate(hello(**handed_over(0.5)), first.id, "run-1").ok
    second = target.put(hello(**handed_over(0.6)), "v1.1.0")
    url = f"http://{target.lab.targets[0].address}:8080/healthz"
    answers: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    answers.append(answer.read().decode().strip())
            except OSError as error:
                answers.append(f"failed: {error}")
            time.sleep(0.005)

    asking = threading.Thread(target=ask)
    asking.start()
    outcome = target.activate(hello(**handed_over(0.6)), second.id, "run-2")
    over.set()
    asking.join()
    assert outcome.ok, describe(outcome)
    assert set(answers) == {"ok v1.0.0", "ok v1.1.0"}


@pytest.mark.parametrize("suite", ["bullseye", "trixie"])
def test_a_release_goes_live_on_an_older_and_on_a_newer_debian(suite: str) -> None:
    with Lab.up(fresh_name(), targets=1, builders=0, suite=suite) as lab, connected(lab) as (state, hosts, said):
        target = Target(lab, state, hosts[0], said)
        of = hello(smoke=["--version"], smoke_expect="hello {version}", port=8080, socket_activation=True)
        files = target.put(of, "v1.0.0")
        assert smoke_test(state, hosts[0], of, files.id, "v1.0.0", "run-1"), said.text
        assert target.activate(of, files.id, "run-1").ok
        assert plan_steps(target.see(of), files, of, None) == [] and target.answers() == "ok v1.0.0"
        _, refused = target.upload(hello(unit={"directives": {"Restrat": "always"}}), "v1.1.0")
        assert refused is not None and not put_release(state, hosts[0], refused)
        assert "Restrat" in said.lines[-1] and "\x1b" not in said.lines[-1]
