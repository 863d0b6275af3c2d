"""The main job on real hosts: built by Windows, live on Linux, and nothing to do the second time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.fleet import Fleet

pytestmark = pytest.mark.lab


def test_one_command_builds_on_windows_and_puts_it_live_on_every_target(targets_anew: Fleet) -> None:
    fleet = targets_anew
    result = fleet.run("fallback")
    assert result.code == 0, result.output
    assert "done: every target runs the wanted release and is healthy" in result.output
    for target in ("t1", "t2"):
        assert fleet.answer(target) == "ok v1.1.0"
        assert "healthy" in result.line(rf"^{target} .*confirmed")


def test_the_bytes_are_equal_on_builder_controller_and_targets(running: Fleet) -> None:
    manifest = json.loads(next((running.home / "artifacts/hello/v1.0.0").glob("*/*/manifest.json")).read_text())
    digest = manifest["sha256"]
    remote = f"C:\\gofallback\\out\\hello\\{manifest['key']}\\hello"
    on_windows = running.lab.host("w1").run(f"certutil -hashfile {remote} SHA256").stdout
    assert digest in on_windows.replace(" ", "")
    for target in running.lab.targets:
        assert target.run("sha256sum /opt/hello/current/bin/hello").stdout.split()[0] == digest


def test_a_second_run_changes_nothing_and_says_so(running: Fleet) -> None:
    before = [target.run("find /opt /etc/systemd/system -newermt 1970-01-01 -printf '%p %T@\\n' | sort").stdout
              for target in running.lab.targets]  # fmt: skip
    pid = running.lab.host("t1").run("systemctl show -p MainPID --value hello").stdout
    result = running.run("fallback", "--data", "ref=v1.0.0")
    assert result.code == 0, result.output
    assert "nothing was changed" in result.output
    assert "built in" not in result.output and "uploaded" not in result.output
    after = [target.run("find /opt /etc/systemd/system -newermt 1970-01-01 -printf '%p %T@\\n' | sort").stdout
             for target in running.lab.targets]  # fmt: skip
    assert after == before
    assert running.lab.host("t1").run("systemctl show -p MainPID --value hello").stdout == pid


def test_the_plan_names_every_change_per_host_before_an_artifact_exists(running: Fleet, tmp_path: Path) -> None:
    """A controller with an empty store: nothing is built, so the plan speaks of what the run would build."""
    lab_home = Fleet(running.lab, tmp_path / "home")
    result = lab_home.run("fallback", "--dry", "--diff", data={"hello": {"unit": {"memory_max": "99M"}}})
    assert result.code == 0, result.output
    for target in ("t1", "t2"):
        assert "with the binary that this run builds" in result.line(rf"\[{target}\] hello: upload release v1.1.0-")
        assert "switch v1.0.0-" in result.line(rf"\[{target}\] hello: switch")
    assert "+MemoryMax=99M" in result.output
    result.line(r"\[w1\] hello v1.1.0 linux/amd64: to be built")
    assert running.live("t1") == running.live("t2")
    assert running.answer("t1") == "ok v1.0.0"


def test_an_upgrade_goes_to_the_canary_first_and_rollback_needs_no_argument(running: Fleet) -> None:
    old = running.live("t1")
    result = running.rollout("v1.1.0")
    assert result.code == 0, result.output
    assert result.output.index("canary: hello") < result.output.index("wave 1: hello")
    assert running.answer("t1") == running.answer("t2") == "ok v1.1.0"
    back = running.run("rollback")
    assert back.code == 0, back.output
    assert (running.live("t1"), running.live("t2")) == (old, old)
    assert running.answer("t2") == "ok v1.0.0"


def test_rollback_goes_to_a_named_release_and_refuses_an_unknown_one(running: Fleet) -> None:
    first = running.live("t1")
    assert running.rollout("v1.1.0").code == 0
    second = running.live("t1")
    unknown = running.run("rollback", "--data", "release=v9-nowhere")
    assert unknown.code != 0
    assert "release v9-nowhere is not on t1, t2" in unknown.output and "Traceback" not in unknown.output
    assert running.live("t1") == second
    assert running.run("rollback", "--data", f"release={first}").code == 0
    assert running.live("t2") == first


def test_rollout_of_an_unknown_version_lists_the_known_ones(running: Fleet) -> None:
    result = running.rollout("v9.9.9")
    assert result.code != 0
    line = result.line("v9.9.9")
    assert "v1.1.0" in line and "v1.0.0" in line
    assert running.answer("t1") == "ok v1.0.0"


def test_status_shows_what_runs_and_where_unit_files_drifted(running: Fleet) -> None:
    fine = running.run("status")
    assert fine.code == 0, fine.output
    assert "healthy" in fine.line("│ t1 ")
    running.lab.host("t2").run("echo '# by hand' >> /etc/systemd/system/hello.service")
    drifted = running.run("status")
    assert "hello.service was changed" in drifted.line("│ t2 ")
    running.lab.host("t1").run("systemctl stop hello")
    down = running.run("status")
    assert down.code == 1
    assert "down" in down.line("│ t1 ")


def test_status_prints_one_json_document(running: Fleet) -> None:
    result = running.run("status", "--json")
    text = result.output[result.output.index("{") : result.output.rindex("}") + 1]
    rows = json.loads(text)["status"]
    assert {row["host"]: row["condition"] for row in rows} == {"t1": "healthy", "t2": "healthy"}
    assert all(row["version"] == "v1.0.0" and row["since"] for row in rows)


def test_a_unit_file_edited_by_hand_is_put_back_by_the_next_run(running: Fleet) -> None:
    running.lab.host("t2").run("sed -i 's/^MemoryMax=.*/MemoryMax=1G/' /etc/systemd/system/hello.service")
    result = running.rollout("v1.0.0")
    assert result.code == 0, result.output
    assert "MemoryMax=128M" in running.lab.host("t2").run("cat /etc/systemd/system/hello.service").stdout


@pytest.mark.parametrize(
    ("hello", "line"),
    [
        ({"prot": 80}, r"service_overrides\.hello\.prot"),
        ({"port": "eighty"}, r"service_overrides\.hello\.port"),
        ({"unit": {"description": "a\nExecStartPre=/bin/evil"}}, r"service_overrides\.hello\.unit\.description"),
        ({"build": {"platforms": ["linux/armageddon"]}}, r"service_overrides\.hello\.build\.platforms"),
        ({"build": {"package": "../../etc"}}, r"service_overrides\.hello\.build\.package"),
    ],
)
def test_bad_data_is_one_line_and_changes_nothing(running: Fleet, hello: dict[str, object], line: str) -> None:
    result = running.run("rollout", "--data", "version=v1.1.0", data={"hello": hello})
    assert result.code != 0
    assert "Traceback" not in result.output
    result.line(line)
    assert running.answer("t1") == "ok v1.0.0"


def test_an_unknown_data_key_is_refused(running: Fleet) -> None:
    result = running.run("rollback", "--data", "relase=x")
    assert result.code != 0
    assert "did you mean release" in result.line("relase")


def test_the_report_is_kept_as_json_html_and_markdown(running: Fleet) -> None:
    result = running.rollout("v1.1.0", "--data", "reason=drill at noon")
    report = running.report()
    assert report["verdict"] == "done"
    assert [(row["host"], row["outcome"]) for row in report["targets"]] == [("t1", "confirmed"), ("t2", "confirmed")]
    html = Path(result.line("report:").partition("report: ")[2])
    page = html.read_text()
    assert "<svg" in page and "http://" not in page and "https://" not in page  # opens offline
    assert "drill at noon" in html.with_suffix(".md").read_text()


def test_modes_and_owners_are_as_documented(running: Fleet) -> None:
    look = "stat -L -c '%a %U' /opt/hello/current/bin/hello /opt/hello/current/lib /opt/hello/current/conf/health.json"
    target = running.lab.host("t1")
    assert target.run(look).stdout.split("\n")[:3] == ["755 root", "755 root", "600 root"]
    assert target.run("stat -c '%a %U' /var/log/hello").stdout.strip() == "750 hello"
    assert target.run("systemctl is-active hello-health.timer").stdout.strip() == "active"


def test_targets_alone_are_enough_to_roll_out(running: Fleet) -> None:
    result = running.run("rollout", "--data", "version=v1.1.0", "--limit", "targets")
    assert result.code == 0, result.output
    assert running.answer("t1") == "ok v1.1.0"
