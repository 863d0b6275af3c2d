"""The state script of a target and the parser of its output; the script really runs, on this machine."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.config import Config
from pyinfra.api.facts import get_kwargs_str  # type: ignore[attr-defined]
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput, OutputLine

from gofallback.facts.target import Services, target_state
from gofallback.model import Service
from gofallback.release import state_script
from gofallback.release.state import TargetState
from gofallback.release.state_parser import StateError, parse
from tests.unit.services import FULL, MINIMAL, service


def archive(files: dict[str, str]) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uname = len(content), 0o644, "root"
            tar.addfile(member, io.BytesIO(content.encode()))
    return base64.b64encode(buffer.getvalue()).decode()


SHA = "5" * 64
ANSWER = f"""kernel\t6.1.0-28-amd64
machine\taarch64
libc\tglibc 2.36
systemd\t252
clock\t1700000000\t5000.5
missing\tflock
agent\t{SHA}
free\t/tmp\t100
user\thello\tyes
free\t/opt/hello\t2048
current\thello\treleases/v1-aaaaaaaa
release\thello\tv1-aaaaaaaa
release\thello\tv2-bbbbbbbb
release\thello\t.tmp-v3-cccccccc-r1
lease\thello\t5000.50\t3\tr7\talice@ctl\t2026-11-22T10:00:00Z\t30
renewed\thello\t3\t4998.00
health\thello\t1\tGET http://127.0.0.1/: status 500, expected 200
unit\tId=hello.service
unit\tActiveState=active
unit\tSubState=running
unit\tNRestarts=2
unit\tUnitFileState=enabled
unit\tActiveEnterTimestampMonotonic=4000500000
unit\tDescription=x = y
unit\t
unit\tId=gofallback-activate-hello.service
unit\tActiveState=active
unit\tDescription=gofallback activates v2-bbbbbbbb
sum\t{SHA}  /opt/hello/current/bin/hello
mode\t755 root:root\t/opt/hello/current/bin/.
mode\t750 hello:hello\t/var/log/hello
files\tFILES
end"""


def answer(text: str = ANSWER) -> list[str]:
    files = {
        "etc/systemd/system/hello.service": "[Unit]\n",
        "opt/hello/current/conf/environment": "A=1\n",
        "opt/hello/releases/v1-aaaaaaaa/manifest.json": f'{{"sha256": "{SHA}", "spec": {{"version": "v1"}}}}',
        "opt/hello/releases/v2-bbbbbbbb/BAD": '{"reason": "crashed"}',
        "var/lib/gofallback/hello/outcome.json": '{"state": "confirmed"}',
        "var/lib/gofallback/hello/last-known-good": "v1-aaaaaaaa\n",
    }
    return text.replace("FILES", archive(files)).splitlines()


def test_the_password_for_sudo_stays_out_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = Inventory(([("@local", {"_sudo_password": "canary"})], {}))
    state = State(inventory, Config())
    host = next(iter(inventory))
    calls: list[dict[str, Any]] = []

    def run(command: StringCommand, **arguments: Any) -> tuple[bool, CommandOutput]:
        calls.append(arguments)
        return True, CommandOutput([OutputLine("stdout", line) for line in answer()])

    monkeypatch.setattr(host, "run_shell_command", run)
    host.connected = True
    host.init(state)
    assert target_state(host, [service()]).kernel
    assert calls[0]["_sudo"] and "canary" not in str(calls)


def test_everything_that_a_target_sends_is_parsed() -> None:
    state = parse(answer(), [service()])
    assert (state.kernel, state.platform, state.libc, state.libc_version) == (
        "6.1.0-28-amd64",
        "linux/arm64",
        "glibc",
        "2.36",
    )
    assert (state.systemd, state.missing, state.agents) == (252, ("flock",), frozenset({SHA}))
    assert state.free == {"/tmp": 100 * 1024, "/opt/hello": 2048 * 1024}
    hello = state.services["hello"]
    assert (hello.user_exists, hello.current, hello.last_good) == (True, "v1-aaaaaaaa", "v1-aaaaaaaa")
    assert set(hello.releases) == {"v1-aaaaaaaa", "v2-bbbbbbbb"}
    assert (hello.releases["v1-aaaaaaaa"].sha256, hello.releases["v1-aaaaaaaa"].version) == (SHA, "v1")
    assert hello.bad == {"v2-bbbbbbbb": "crashed"}
    assert (hello.unit.active, hello.unit.restarts, hello.unit.enabled) == (
        "active",
        2,
        "enabled",
    )
    assert hello.unit.since == pytest.approx(1000.0)
    assert str(hello.lease) == "run r7 of alice@ctl since 2026-11-22T10:00:00Z"
    assert hello.lease is not None
    assert (hello.lease.number, hello.lease.age, hello.lease.expires_in, hello.lease.expired) == (3, 2.5, 27.5, False)
    assert hello.activating == "v2-bbbbbbbb"
    assert hello.health is not None and not hello.health.healthy and "status 500" in hello.health.reason
    assert hello.outcome == {"state": "confirmed"}
    assert hello.installed["hello.service"].content == b"[Unit]\n"
    assert hello.files["conf/environment"].mode == 0o644
    assert hello.hashes == {"bin/hello": SHA}
    assert hello.modes == {"/opt/hello/current/bin": "755 root:root", "/var/log/hello": "750 hello:hello"}


def test_an_answer_that_was_cut_short_is_refused() -> None:
    for length in range(len(answer())):
        with pytest.raises(StateError):
            parse(answer()[:length], [service()])


def test_a_broken_archive_is_refused() -> None:
    with pytest.raises(StateError, match="archive"):
        parse(ANSWER.replace("FILES", "H4sIxxxx").splitlines(), [service()])


def test_a_service_that_was_never_there_has_nothing() -> None:
    text = "clock\t1\t2\nuser\thello\tno\nunit\tId=hello.service\nunit\tLoadState=not-found\nend"
    hello = parse(text.splitlines(), [service()]).services["hello"]
    assert (hello.user_exists, hello.current, hello.releases, hello.lease, hello.health) == (
        False,
        None,
        {},
        None,
        None,
    )
    assert hello.unit.active == "inactive"


def run(services: list[Service], shell: str) -> TargetState:
    done = subprocess.run([shell, "-c", state_script.script(services)], capture_output=True, text=True, check=True)
    return parse(done.stdout.splitlines(), services)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_the_script_runs_in_a_plain_shell_and_describes_this_machine(shell: str, tmp_path: Path) -> None:
    home = tmp_path / "a service's home"
    release = home / "releases" / "v1-aaaaaaaa"
    for name in ("bin", "lib", "conf"):
        (release / name).mkdir(parents=True)
    (release / "bin" / "hello").write_bytes(b"x" * 3)
    (release / "conf" / "environment").write_text("A=1\n")
    (release / "conf" / "health.json").write_text("{}")
    (release / "lib" / "web").mkdir()
    (release / "lib" / "web" / "the [id] page.html").write_text("<p>")
    (release / "lib" / "large.bin").write_bytes(bytes(100_000))
    contents = {"lib/large.bin": "1" * 64, "bin/worker": "2" * 64, "../etc/passwd": "3" * 64, "lib/x": "no hash"}
    (release / "manifest.json").write_text(
        json.dumps({"sha256": SHA, "spec": {"version": "v1", "binary": "hello"}, "contents": contents})
    )
    (release / "BAD").write_text('{"reason": "it broke"}')
    agent = release / "lib" / "gofallback-agent"
    agent.write_text('#!/bin/sh\necho first line\necho "no: $1 $3"\nexit 1\n')
    agent.chmod(0o755)
    (home / "current").symlink_to("releases/v1-aaaaaaaa")
    (home / "releases" / ".tmp-v2-x-run").mkdir()
    services = [Service.model_validate(MINIMAL | {"root": str(home)}), service(FULL)]

    state = run(services, shell)

    assert state.kernel and state.machine and state.free[str(home)] > 0 and state.free["/tmp"] > 0
    hello, shop = state.services["hello"], state.services["shop"]
    assert hello.current == "v1-aaaaaaaa" and hello.bad == {"v1-aaaaaaaa": "it broke"}
    assert hello.releases["v1-aaaaaaaa"].sha256 == SHA and set(hello.releases) == {"v1-aaaaaaaa"}
    page = "lib/web/the [id] page.html"
    assert set(hello.files) == {"conf/environment", "conf/health.json", "manifest.json", page}
    programs = {"bin/hello", "lib/gofallback-agent", "conf/environment", "conf/health.json"}
    assert set(hello.hashes) == {*programs, "lib/large.bin", page}
    assert hello.hashes[page] == hashlib.sha256(b"<p>").hexdigest()
    assert hello.modes[f"{home}/current/{page}"].startswith("644 ")
    found = hello.releases["v1-aaaaaaaa"]
    assert (found.binary, found.contents) == (
        "hello",
        {"bin/hello": SHA, "lib/large.bin": "1" * 64, "bin/worker": "2" * 64},
    )
    assert hello.modes[f"{home}/current/bin"].startswith("755 ")
    assert hello.health is not None and not hello.health.healthy
    assert hello.health.reason == f"no: check {home}/current/conf/health.json"
    assert (shop.current, shop.releases, shop.health) == (None, {}, None)


def test_a_failed_fact_is_reported_with_the_names_of_services_and_not_with_all_of_their_data() -> None:
    assert get_kwargs_str({"services": Services((service(), service(name="twin")))}) == "services=hello, twin"


def test_a_machine_has_the_platform_that_go_knows_or_its_own_name() -> None:
    platforms = {
        machine: TargetState(machine=machine).platform for machine in ("x86_64", "armv7l", "loongarch64", "vax")
    }
    assert platforms == {
        "x86_64": "linux/amd64",
        "armv7l": "linux/arm",
        "loongarch64": "linux/loong64",
        "vax": "linux/vax",
    }
