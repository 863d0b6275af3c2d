"""Releases on a real target: upload, smoke test, activation, and what happens when each is disturbed."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from pathlib import Path

import pytest

from gofallback.operations.target.activate import describe
from gofallback.operations.target.release import put_release
from gofallback.operations.target.smoke import smoke_test
from gofallback.release.activation import ActivationOutcome
from gofallback.release.plan import plan_steps
from gofallback.release.upload_plan import LocalProgram
from gofallback.rollout.rollback import rollback_goals
from tests.lab.programs import program
from tests.lab.pyinfra_host import connected
from tests.lab.target import HEALTH, Target, hello
from tests.lab.waiting import wait
from tests.unit.services import service

pytestmark = pytest.mark.lab


#: Only root reads what may hold passwords; systemd reads the environment as root, the agent runs as root.
SECRETS = ("conf/environment", "conf/health.json")


def test_the_first_release_has_the_layout_the_modes_and_the_user_it_should_have(target: Target) -> None:
    files = target.put(hello(), "v1.0.0")
    machine = target.lab.targets[0]
    listing = machine.run(f"cd {files.folder} && stat -c '%a %U:%G %n' . * */*").stdout.splitlines()
    expected = {
        "755 root:root .",
        "755 root:root bin",
        "755 root:root lib",
        "755 root:root conf",
        "755 root:root bin/hello",
        "755 root:root lib/gofallback-agent",
        "644 root:root manifest.json",
    } | {f"{'600' if path in SECRETS else '644'} root:root {path}" for path in files.files}
    assert set(listing) == expected
    assert machine.run("stat -c '%a %U:%G' /var/log/hello").stdout.strip() == "750 hello:hello"
    assert machine.run("getent passwd hello").stdout.strip().endswith(":/var/lib/hello:/usr/sbin/nologin")
    assert machine.run("ls -A /opt/hello/releases").stdout.split() == [files.id]
    assert machine.run(f"sha256sum < {files.folder}/bin/hello").stdout.split()[0] == program("hello", "v1.0.0").sha256


def test_a_second_identical_run_has_nothing_to_do_and_costs_one_round_trip(target: Target) -> None:
    of = hello()
    files = target.live(of, "v1.0.0")
    before = target.host.connector_data["round_trips"]
    state = target.see(of)
    assert plan_steps(state, files, of, program("hello", "v1.0.0").sha256) == []
    assert target.upload(of, "v1.0.0")[1] is None
    assert target.host.connector_data["round_trips"] - before <= 2
    assert state.health is not None and state.health.healthy


def test_new_unit_data_with_the_same_binary_sends_the_binary_only_once(target: Target) -> None:
    binary = program("hello", "v1.0.0")
    first = target.put(hello(), "v1.0.0", binary)
    sent: list[int] = []
    files, upload = target.upload(hello(unit={"memory_max": "64M"}), "v1.0.0", binary)
    assert upload is not None and files.id != first.id
    sent.append(upload.needed)
    assert put_release(target.state, target.host, upload), target.said.text
    assert sent[0] < 20_000 < binary.size
    found = target.lab.targets[0].run(f"sha256sum < {files.folder}/bin/hello").stdout.split()[0]
    assert found == binary.sha256


def test_a_full_disk_is_reported_with_figures_and_leaves_nothing_half_done(target: Target) -> None:
    good = target.live(hello(), "v1.0.0")
    machine = target.lab.targets[0]
    machine.fill_disk(leave_mb=3)
    files, upload = target.upload(hello(), "v1.1.0")
    assert upload is not None
    assert not put_release(target.state, target.host, upload)
    assert "disk is full: " in target.said.lines[-1] and "MB are needed" in target.said.lines[-1]
    # the disk can also fill up while the upload is under way
    assert not put_release(target.state, target.host, dataclasses.replace(upload, minimum_free_mb=-1000))
    assert "the disk filled up" in target.said.lines[-1]
    assert machine.run("ls -A /opt/hello/releases").stdout.split() == [good.id]
    assert target.answers() == "ok v1.0.0"
    machine.free_disk()
    assert target.put(hello(), "v1.1.0").id == files.id


def test_a_binary_changed_on_the_way_is_refused_with_both_hashes(target: Target, tmp_path: Path) -> None:
    real = program("hello", "v1.0.0")
    changed = tmp_path / "hello"
    changed.write_bytes(real.path.read_bytes()[:-1] + b"!")
    _, upload = target.upload(hello(), "v1.0.0", LocalProgram(changed, real.sha256, real.size))
    assert upload is not None
    assert not put_release(target.state, target.host, upload)
    last = target.said.lines[-1]
    assert "bin/hello changed on the way" in last and real.sha256 in last and "nothing was changed" in last
    assert target.lab.targets[0].run("ls -A /opt/hello/releases").stdout == ""


def test_a_binary_damaged_on_the_target_is_not_linked_but_sent_again(target: Target) -> None:
    binary = program("hello", "v1.0.0")
    first = target.put(hello(), "v1.0.0", binary)
    target.lab.targets[0].run(f"echo x >> {first.folder}/bin/hello")
    files = target.put(hello(unit={"memory_max": "64M"}), "v1.0.0", binary)
    found = target.lab.targets[0].run(f"sha256sum < {files.folder}/bin/hello").stdout.split()[0]
    assert found == binary.sha256


def test_a_unit_that_systemd_does_not_understand_is_refused_before_it_is_installed(target: Target) -> None:
    _, upload = target.upload(hello(unit={"directives": {"Restrat": "always"}}), "v1.0.0")
    assert upload is not None
    assert not put_release(target.state, target.host, upload)
    assert "systemd-analyze verify refuses hello.service:" in target.said.lines[-1]
    assert "Restrat" in target.said.lines[-1]
    assert target.lab.targets[0].run("ls -A /opt/hello/releases").stdout == ""


def test_values_with_every_special_character_reach_the_program_unchanged(target: Target) -> None:
    odd = ["a b", 'say "hi"', "$HOME ${HOME} %n %%", "back\\slash\\", "it's", ";", "", "naïve 日本", "~", "*", "#x"]
    of = service(
        unit={"type": "exec", "arguments": odd, "environment": {"ODD": ' $x "q" `b` \\ % '}, "restart": "no"},
    )
    # a script in place of the binary: it writes down what it got
    script = b'#!/bin/sh\nfor a in "$@"; do printf "%s\\n" "$a"; done >/var/log/hello/got\n'
    script += b'printf "%s" "$ODD" >/var/log/hello/odd\nexec sleep 100\n'
    machine = target.lab.targets[0]
    local = Path(machine.dir) / "script"
    local.write_bytes(script)
    files = target.put(of, "v1.0.0", LocalProgram(local, hashlib.sha256(script).hexdigest(), len(script)))
    machine.run(f"ln -sfn {files.folder} /opt/hello/current; cp {files.folder}/conf/hello.service /etc/systemd/system/")
    machine.run("systemctl daemon-reload && systemctl start hello")
    for _ in range(50):
        if machine.run("cat /var/log/hello/odd", check=False).returncode == 0:
            break
        time.sleep(0.1)
    assert machine.run("cat /var/log/hello/got").stdout.split("\n")[:-1] == odd
    assert machine.run("cat /var/log/hello/odd").stdout == ' $x "q" `b` \\ % '


def test_the_smoke_command_runs_locked_down_and_is_judged_by_what_it_prints(target: Target) -> None:
    of = hello(smoke=["--version"], smoke_expect="hello {version} ")
    files = target.put(of, "v1.0.0")
    assert smoke_test(target.state, target.host, of, files.id, "v1.0.0", "r1"), target.said.text
    assert not smoke_test(target.state, target.host, of, files.id, "v9.9.9", "r2")
    assert "printed 'hello v1.0.0" in target.said.lines[-1] and "nothing that runs was changed" in target.said.lines[-1]
    assert not smoke_test(target.state, target.host, hello(smoke=["--nope"]), files.id, "v1.0.0", "r3")
    assert "exit status 2" in target.said.lines[-1]
    assert target.lab.targets[0].run("systemctl list-units --all --no-legend 'gofallback-smoke-*'").stdout == ""


def test_the_smoke_command_can_reach_nothing(target: Target, tmp_path: Path) -> None:
    script = tmp_path / "nosy"
    script.write_text(
        "#!/bin/sh\n"
        "id -u | grep -qx 0 && echo is-root\n"
        "touch /etc/x 2>/dev/null && echo wrote-etc\n"
        "ls /home/* >/dev/null 2>&1 && echo saw-home\n"
        "[ $(wc -l </proc/net/dev) = 3 ] || echo has-network\n"
        "[ -e /var/lib/gofallback ] && echo saw-records\n"
        "echo done\n"
    )
    content = script.read_bytes()
    of = hello(smoke=["x"], smoke_expect="^done$")
    files = target.put(of, "v1.0.0", LocalProgram(script, hashlib.sha256(content).hexdigest(), len(content)))
    target.lab.targets[0].run("mkdir -p /home/deploy/x")
    only = hello(smoke=["x"], smoke_expect=r"\A\s*done\s*\Z")
    assert smoke_test(target.state, target.host, only, files.id, "v1.0.0", "r1"), target.said.text


def test_an_activated_release_is_live_and_healthy_and_one_can_go_back_to_the_one_before(target: Target) -> None:
    first = target.live(hello(), "v1.0.0")
    second = target.live(hello(), "v1.1.0")
    state = target.see(hello())
    assert (state.current, state.last_good) == (second.id, second.id)
    assert state.unit.active == "active" and state.unit.enabled == "enabled"
    assert rollback_goals({"target": state})["target"].release == first.id
    outcome = target.activate(hello(), first.id, "run-back")
    assert outcome.ok and (outcome.previous, outcome.live) == (second.id, first.id)
    assert target.answers() == "ok v1.0.0" and target.see(hello()).current == first.id


@pytest.mark.parametrize("fault", ["crash", "unhealthy", "flap", "hang"])
def test_a_release_that_is_not_well_goes_back_by_itself(target: Target, fault: str) -> None:
    good = target.live(hello(), "v1.0.0")
    broken = hello(fault, unit={"environment": {"HELLO_FAULT": fault, "HELLO_FAULT_AFTER": "300ms"}})
    files = target.put(broken, "v1.1.0")
    outcome = target.activate(broken, files.id, "run-bad")
    assert outcome.state == "reverted" and outcome.live == good.id and outcome.healthy, describe(outcome)
    assert outcome.evidence and outcome.reason
    assert target.answers() == "ok v1.0.0"
    state = target.see(hello())
    assert state.current == good.id and files.id in state.bad and plan_steps(state, good, hello(), None) == []
    # the cause gone, the same steps bring a good release
    assert target.live(hello(), "v1.2.0").id == target.see(hello()).current


def test_a_first_release_that_fails_is_stopped_and_leaves_its_evidence(target: Target) -> None:
    files = target.put(hello("crash"), "v1.0.0")
    outcome = target.activate(hello("crash"), files.id, "run-1")
    assert outcome.state == "failed" and outcome.live is None
    assert any("giving up at start" in line for line in outcome.evidence)
    assert "nothing runs now" in describe(outcome)
    assert target.see(hello()).unit.active != "active"


def test_a_binary_changed_on_the_target_after_the_upload_is_not_activated(target: Target) -> None:
    good = target.live(hello(), "v1.0.0")
    files = target.put(hello(), "v1.1.0")
    target.lab.targets[0].run(f"echo x >> {files.folder}/bin/hello")
    outcome = target.activate(hello(), files.id, "run-2")
    assert outcome.state == "refused" and "its manifest says" in outcome.reason
    assert target.see(hello()).current == good.id
    assert target.activate(hello(), "v9-00000000", "run-3").reason == "release v9-00000000 is not on this target"


def test_a_link_cut_during_the_activation_is_joined_again_and_the_outcome_is_learned(target: Target) -> None:
    target.live(hello(), "v1.0.0")
    slow = hello(health=HEALTH | {"minimum_healthy": 5, "start_deadline": 20})
    files = target.put(slow, "v1.1.0")
    machine = target.lab.targets[0]
    cut = threading.Timer(1.5, machine.cut)
    heal = threading.Timer(14.0, machine.uncut)
    cut.start()
    heal.start()
    outcome = target.activate(slow, files.id, "run-cut", timeout=90)
    heal.join()
    assert outcome.ok and outcome.live == files.id, describe(outcome)
    assert "connection lost" in target.said.text


def test_an_activation_of_the_same_release_is_joined_and_of_another_refused(target: Target) -> None:
    slow = hello(health=HEALTH | {"minimum_healthy": 4, "start_deadline": 20})
    first, second = target.put(slow, "v1.0.0"), target.put(slow, "v1.1.0")
    results: list[ActivationOutcome] = []
    begun = threading.Thread(target=lambda: results.append(target.activate(slow, first.id, "run-dead")))
    begun.start()
    wait(
        lambda: target.lab.targets[0].run("systemctl is-active gofallback-activate-hello", check=False).returncode == 0
    )
    with connected(target.lab) as (state, hosts, said):
        other = Target(target.lab, state, hosts[0], said)
        refused = other.activate(slow, second.id, "run-new")
        assert refused.state == "refused"
        assert f"an activation of release {first.id}, run run-dead is under way" in refused.reason
        joined = other.activate(slow, first.id, "run-new")
        assert joined.ok and joined.run_id == "run-dead" and "joined the activation of run run-dead" in said.text
    begun.join()
    assert results[0].ok


def test_what_a_killed_upload_left_is_removed_by_the_next(target: Target) -> None:
    target.put(hello(), "v1.0.0")
    machine = target.lab.targets[0]
    machine.run("mkdir -p /opt/hello/releases/.tmp-v1.1.0-x-dead/bin")
    target.put(hello(), "v1.1.0")
    assert ".tmp" not in machine.run("ls -A /opt/hello/releases").stdout


def test_a_change_of_the_live_binary_is_seen_however_often_it_was_looked_at_before(target: Target) -> None:
    of = hello()
    files = target.live(of, "v1.0.0")
    machine, sha256 = target.lab.targets[0], program("hello", "v1.0.0").sha256
    binary = f"{files.folder}/bin/hello"
    for _ in range(2):
        assert target.see(of).hashes["bin/hello"] == sha256
    # one byte, with size and mtime put back
    machine.run(f"cp -p {binary} /root/was; printf '!' | dd of=/root/was bs=1 seek=5000 conv=notrunc status=none")
    machine.run(f"touch -r {binary} /root/was; mv /root/was {binary}")
    steps = plan_steps(target.see(of), files, of, sha256)
    assert [step.kind for step in steps] == ["repair", "restart"] and "bin/hello has sha256" in steps[0].text
    upload = target.upload(of, "v1.0.0")[1]
    assert upload is not None and put_release(target.state, target.host, upload), target.said.text
    assert target.activate(of, files.id, "run-repair").ok
    assert plan_steps(target.see(of), files, of, sha256) == []


def test_the_timer_keeps_looking_as_the_services_user_and_records_what_it_sees(target: Target) -> None:
    check = {"type": "command", "argv": ["/bin/sh", "-c", "test ! -e /var/lib/hello/bad && id -un | grep -qx hello"]}
    of = hello(health=HEALTH | {"check": check, "watch_interval": 5})
    target.live(of, "v1.0.0")
    machine = target.lab.targets[0]
    recorded = "journalctl --no-pager -o cat GOFALLBACK_SERVICE=hello GOFALLBACK_HEALTH="
    wait(lambda: machine.run(f"{recorded}ok").stdout.strip() != "", 15)
    assert machine.run(f"{recorded}bad").stdout == ""
    machine.run("touch /var/lib/hello/bad")
    wait(lambda: machine.run(f"{recorded}bad").stdout.strip() != "", 15)
    state = target.see(of)
    assert state.health is not None and not state.health.healthy and state.unit.active == "active"
