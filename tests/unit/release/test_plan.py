"""The changes that a run announces for a target, and the upload that follows."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gofallback.lease.holder import Holder
from gofallback.release import templates, upload_script
from gofallback.release.agent_config import AGENT
from gofallback.release.archive import archive, units_to_verify
from gofallback.release.contents import unified_diff
from gofallback.release.drift import live_units, manual_changes, unit_drift
from gofallback.release.plan import plan_steps
from gofallback.release.prerequisites import upload_problems
from gofallback.release.render import ReleaseFiles, Rendered, render
from gofallback.release.state import HealthResult, ReleaseState, ServiceState, TargetFile, TargetState, UnitState
from gofallback.release.upload import Upload
from gofallback.release.upload_plan import LocalProgram, upload_for
from tests.unit.services import service

TEMPLATES = templates.load()
SERVICE = service()
SHA, AGENT_SHA = "5" * 64, "6" * 64


def files(version: str = "v2", **changes: Any) -> ReleaseFiles:
    return render(service(**changes), version=version, artifact_key=version, agent_key="agent", templates=TEMPLATES)


def live(of: ReleaseFiles, **changes: Any) -> ServiceState:
    """A target on which a release is live, healthy and undamaged."""
    active = UnitState(active="active", sub="running", enabled="enabled", since=60.0)
    base = "/opt/hello/current"
    paths = [base, f"{base}/bin", f"{base}/lib", f"{base}/conf", f"{base}/bin/hello", f"{base}/{AGENT}"]
    state = ServiceState(
        name="hello",
        home="/opt/hello",
        user_exists=True,
        current=of.id,
        releases={of.id: ReleaseState(of.id, b"{}", SHA, of.version)},
        files={path: TargetFile(file.content, file.mode) for path, file in of.files.items()},
        installed={name: TargetFile(file.content, 0o644) for name, file in of.units.items()},
        hashes={"bin/hello": SHA, AGENT: AGENT_SHA},
        modes=dict.fromkeys(paths, "755 root:root") | {"/var/log/hello": "750 hello:hello"},
        units={name: active for name in of.units if name != "hello-health.service"},
        last_good=of.id,
        health=HealthResult(True, "healthy"),
    )
    return dataclasses.replace(state, **changes)


def texts(state: ServiceState, of: ReleaseFiles, sha256: str | None = SHA) -> list[str]:
    return [step.text for step in plan_steps(state, of, SERVICE, sha256)]


def target(state: ServiceState, **changes: Any) -> TargetState:
    base = TargetState(systemd=252, free={"/opt/hello": 1 << 30}, now=1e9, services={"hello": state})
    return dataclasses.replace(base, **changes)


def test_nothing_is_planned_for_a_target_that_is_as_it_should_be() -> None:
    assert texts(live(files()), files()) == []
    assert texts(live(files()), files(), None) == []


def test_the_first_release_is_planned_before_there_is_an_artifact() -> None:
    of = files()
    assert texts(ServiceState("hello", "/opt/hello"), of, None) == [
        "create the system user hello",
        f"upload release {of.id}; with the binary that this run builds or finds in the store",
        f"switch no release -> {of.id}, restart hello",
    ]


def test_a_new_version_is_uploaded_and_switched_to() -> None:
    old, new = files("v1"), files("v2")
    assert texts(live(old), new, "7" * 64) == [
        f"upload release {new.id}; with binary 777777777777",
        f"switch {old.id} -> {new.id}, restart hello",
    ]


def test_a_release_that_is_there_with_another_binary_is_uploaded_again() -> None:
    wanted = files("v1.1.0")
    state = live(files(), releases={wanted.id: ReleaseState(wanted.id, sha256="f" * 64)})
    kinds = {step.kind: step.text for step in plan_steps(state, wanted, SERVICE, SHA)}
    assert "its binary has sha256 ffffffffffff" in kinds["repair"] and "switch" in kinds
    same = live(files(), releases={wanted.id: ReleaseState(wanted.id, sha256=SHA)})
    assert "repair" not in {step.kind for step in plan_steps(same, wanted, SERVICE, SHA)}


def test_other_unit_data_with_the_same_binary_sends_no_binary_and_shows_the_difference() -> None:
    old, new = files(), files(unit={"memory_max": "64M"})
    steps = plan_steps(live(old), new, SERVICE, SHA)
    assert [step.kind for step in steps] == ["upload", "switch"]
    assert "the binary is there already" in steps[0].text
    for step in steps:
        assert "+MemoryMax=64M" in step.diff.splitlines()
    assert "--- /etc/systemd/system/hello.service" in steps[1].diff


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hashes": {"bin/hello": "9" * 64, AGENT: AGENT_SHA}}, "bin/hello has sha256 999999999999, not 555555555555"),
        ({"hashes": {AGENT: AGENT_SHA}}, "bin/hello is missing"),
        ({"hashes": {"bin/hello": SHA}}, "lib/gofallback-agent is missing"),
        ({"modes": {"/opt/hello/current/bin/hello": "777 root:root"}}, "bin/hello is 777 root:root"),
        ({"modes": {"/var/log/hello": "755 root:root"}}, "/var/log/hello is 755 root:root, not 750 hello"),
        ({"files": {}}, "conf/environment is missing"),
    ],
)
def test_a_damaged_live_release_is_uploaded_again_and_activated(changes: dict[str, Any], expected: str) -> None:
    steps = plan_steps(live(files(), **changes), files(), SERVICE, SHA)
    assert [step.kind for step in steps] == ["repair", "restart"]
    assert expected in steps[0].text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"installed": {}}, "hello.service is not installed"),
        ({"health": HealthResult(False, "status 500")}, "unhealthy: status 500"),
        ({"units": {"hello.service": UnitState(active="failed")}}, "hello.service is failed"),
        ({"units": {}}, "hello-health.timer is not there"),
    ],
)
def test_what_does_not_run_as_it_should_is_activated_again(changes: dict[str, Any], expected: str) -> None:
    steps = plan_steps(live(files(), **changes), files(), SERVICE, SHA)
    assert [step.kind for step in steps] == ["restart"]
    assert expected in steps[0].text


@pytest.mark.parametrize("how", ["intended", "provisional"])
def test_a_live_release_that_a_dead_run_never_confirmed_is_activated_again(how: str) -> None:
    """The target would revert it at the end of its window, after this run had reported it unchanged."""
    state = live(files(), outcome={"run_id": "20261122T031244Z-9f3a", "release": files().id, "state": how})
    assert texts(state, files()) == [
        f"activate release {files().id} again: run 20261122T031244Z-9f3a never confirmed it, "
        "and the target would go back by itself"
    ]
    assert texts(live(files(), outcome={"run_id": "r", "state": "confirmed"}), files()) == []


def test_a_unit_file_changed_by_hand_is_drift_with_its_lines() -> None:
    state = live(files())
    changed = TargetFile(state.installed["hello.service"].content + b"Nice=5\n", 0o644)
    state = dataclasses.replace(state, installed={**state.installed, "hello.service": changed})
    (step,) = plan_steps(state, files(), SERVICE, SHA)
    assert "hello.service was changed on the host" in step.text and "-Nice=5" in step.diff.splitlines()
    assert manual_changes(state) == ["hello.service was changed on the host"]


def test_a_manual_change_on_the_host_is_distinguished_from_a_change_of_the_data() -> None:
    state = live(files())
    assert manual_changes(state) == []
    assert unit_drift(state, files(unit={"tasks_max": 5}).units) == ["hello.service was changed on the host"]
    damaged = dataclasses.replace(state, hashes={"bin/hello": "9" * 64})
    assert manual_changes(damaged) == ["the binary has sha256 999999999999, its manifest says 555555555555"]


def test_the_units_of_the_live_release_are_those_that_were_rendered() -> None:
    assert live_units(live(files())) == {name: Rendered(file.content) for name, file in files().units.items()}


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        ({}, {"missing": ("flock",)}, "has no flock"),
        ({}, {"systemd": 232}, "has systemd 232; at least 240"),
        ({}, {"free": {"/opt/hello": 1 << 20}}, "disk full: 1 MB free below /opt/hello, 74 MB are needed"),
        (
            {"lease": Holder("r1", "al@ctl", "10:00", expires_in=11.2)},
            {},
            "hello is leased to run r1 of al@ctl since 10:00, expires in 12 s unless renewed; wait for it to end, "
            "or take over: --data takeover=r1",
        ),
    ],
)
def test_the_reason_a_release_cannot_be_uploaded_is_reported_beforehand(
    state: dict[str, Any], changes: dict[str, Any], expected: str
) -> None:
    (problem,) = upload_problems(target(live(files(), **state), **changes), SERVICE, 10 << 20, 64)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("held", "run_id", "takeover", "free"),
    [
        (Holder("20261122T031244Z-9f3a"), "20261122T031244Z-9f3a", None, True),
        (Holder("20261122T031244Z-9f3a", age=1.0), "20261122T031244Z-9f3a-r1", None, False),
        (Holder("20261122T031244Z-9f3a", age=8.0), "20261122T031244Z-9f3a-r1", None, True),
        (Holder("20261122T031244Z-9f3a", age=8.0), "20261122T031244Z-9f3b", None, False),
        (Holder("20261122T031244Z-9f3a", expired=True), "20261122T031244Z-9f3b", None, True),
        (Holder("20261122T031244Z-9f3a", age=1.0), "20261122T031244Z-9f3b", "20261122T031244Z-9f3a", True),
        (Holder("20261122T031244Z-9f3a", age=1.0), "20261122T031244Z-9f3b", "20261122T031244Z-9f3c", False),
    ],
    ids=[
        "own",
        "living predecessor",
        "dead one",
        "stranger without renewals",
        "expired",
        "taken over",
        "another one named",
    ],
)
def test_whose_lease_is_no_obstacle(held: Holder, run_id: str, takeover: str | None, free: bool) -> None:
    found = upload_problems(target(live(files(), lease=held)), SERVICE, 0, 64, run_id, takeover)
    assert (found == []) is free


@pytest.fixture
def local(tmp_path: Path) -> dict[str, LocalProgram]:
    (tmp_path / "hello").write_bytes(b"binary" * 1000)
    (tmp_path / "agent").write_bytes(b"agent")
    return {
        "binary": LocalProgram(tmp_path / "hello", SHA, 6000),
        "agent": LocalProgram(tmp_path / "agent", AGENT_SHA, 5),
    }


def planned(state: TargetState, of: ReleaseFiles, local: dict[str, LocalProgram]) -> Upload | None:
    return upload_for(
        state,
        SERVICE,
        of,
        manifest=b'{"m": 1}',
        binary=local["binary"],
        agent=local["agent"],
        run_id="r1",
        minimum_free_mb=64,
        metadata={"provenance.json": b"{}", "sbom.json": b"[]"},
    )


def sent(upload: Upload) -> dict[str, tuple[bytes, int]]:
    """The members that tar(1) on the target unpacks from the stream."""
    stream = io.BytesIO(b"".join(archive(upload)))
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        found = {}
        for member in tar:
            reader = tar.extractfile(member)
            found[member.name] = (reader.read() if reader else b"", member.mode)
        return found


def test_an_upload_holds_the_whole_release_with_its_modes(local: dict[str, LocalProgram]) -> None:
    of = files()
    upload = planned(target(ServiceState("hello", "/opt/hello")), of, local)
    assert upload is not None and not upload.replace
    content = sent(upload)
    assert content["bin/hello"] == (b"binary" * 1000, 0o755) and content[AGENT] == (b"agent", 0o755)
    assert content["manifest.json"] == (b'{"m": 1}', 0o644)
    assert content["provenance.json"] == (b"{}", 0o644) and content["sbom.json"] == (b"[]", 0o644)
    assert {path: content[path] for path in of.files} == {
        path: (file.content, file.mode) for path, file in of.files.items()
    }
    assert all(content[folder][1] == 0o755 for folder in ("bin", "lib", "conf"))


def test_a_program_that_the_target_has_is_not_sent_again(local: dict[str, LocalProgram]) -> None:
    old = live(files("v1"))
    upload = planned(target(old, agents=frozenset({AGENT_SHA})), files("v2"), local)
    assert upload is not None
    assert {"bin/hello", AGENT}.isdisjoint(sent(upload))
    script = upload_script.receive_script(upload)
    assert f"{old.home}/releases/{old.current}/bin/hello" in script and f"/opt/gofallback/agent/{AGENT_SHA}" in script
    assert f'[ "$sum" = {SHA} ]' in script, "what is linked is hashed as well"


def test_a_release_that_is_there_is_not_sent_unless_it_is_damaged(local: dict[str, LocalProgram]) -> None:
    of = files()
    assert planned(target(live(of)), of, local) is None
    assert planned(target(live(of, current=None)), of, local) is None
    damaged = planned(target(live(of, hashes={"bin/hello": "9" * 64, AGENT: AGENT_SHA})), of, local)
    assert damaged is not None and damaged.replace and "bin/hello" in sent(damaged)


def test_units_are_verified_with_programs_that_exist_while_they_are_verified(local: dict[str, LocalProgram]) -> None:
    upload = planned(target(ServiceState("hello", "/opt/hello")), files(), local)
    assert upload is not None
    unit = units_to_verify(upload)["hello.service"].decode()
    assert f"ExecStart={upload.temporary}/bin/hello" in unit and "/current/" not in unit


@pytest.mark.parametrize(
    "line",
    [
        "/o/.tmp-x/.verify/hello.service:12: Unknown key name 'Restrat' in section 'Service', ignoring.",
        "/opt/hello/releases/.tmp-x/.verify/hello.service:12: Failed to parse memory limit, ignoring: much",
        "hello.service: Command /opt/hello/bin/hello is not executable: No such file or directory",
        "Unit hello.service has a bad unit file setting.",
        "\x1b[0;1;31m/x/.verify/hello.service:9: Unknown key name 'Restrat' in section 'Service', ignoring.\x1b[0m",
    ],
)
def test_what_systemd_says_about_our_units_is_a_problem(line: str) -> None:
    (problem,) = upload_script.unit_problems([line], ["hello.service"], ["ProtectClock"])
    assert problem.isprintable() and problem.startswith(("hello.service", "Unit hello.service"))


@pytest.mark.parametrize(
    "line",
    [
        "/lib/systemd/system/plymouth-start.service:16: Unit uses KillMode=none.",
        "/x/.verify/hello.service:30: Unknown key name 'ProtectClock' in section 'Service', ignoring.",
        "/x/.verify/hello.service:30: Unknown lvalue 'ProtectClock' in section 'Service'",
        "othello.service: Command /bin/x is not executable",
    ],
)
def test_what_is_about_others_or_about_the_profile_on_an_old_systemd_is_not(line: str) -> None:
    assert upload_script.unit_problems([line], ["hello.service"], ["ProtectClock"]) == []


def test_a_diff_of_a_new_file_starts_from_nothing() -> None:
    assert unified_diff({}, {"a": b"1\n"}, "/etc/") == "--- /dev/null\n+++ /etc/a\n@@ -0,0 +1 @@\n+1"
    assert unified_diff({"a": b"1\n"}, {"a": b"1\n"}) == ""
