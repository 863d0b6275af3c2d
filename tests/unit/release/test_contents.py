"""Extra binaries and extra files of a release: its name, the upload, and the differences that are shown."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gofallback.model import DataError
from gofallback.release import templates, upload_script
from gofallback.release.agent_config import AGENT
from gofallback.release.archive import archive
from gofallback.release.contents import contents
from gofallback.release.drift import manual_changes
from gofallback.release.extra_file import ExtraFile, diffable, manifest_contents
from gofallback.release.plan import plan_steps
from gofallback.release.render import ReleaseFiles, render
from gofallback.release.state import HealthResult, ReleaseState, ServiceState, TargetFile, TargetState, UnitState
from gofallback.release.upload import Upload
from gofallback.release.upload_plan import LocalProgram, upload_for
from tests.unit.services import service

TEMPLATES = templates.load()
SERVICE = service(build={"binaries": {"worker": {"package": "./cmd/worker"}}})
MAIN, WORKER, AGENT_SHA = "5" * 64, "6" * 64, "7" * 64
LOGO = b"\0logo"


def extra(content: bytes, mode: int = 0o644) -> ExtraFile:
    digest = hashlib.sha256(content).hexdigest()
    return ExtraFile(digest, len(content), Path("/cache") / digest, mode, diffable(content))


def release(config: str = "level: info\n", **changes: Any) -> ReleaseFiles:
    extras = {"conf/app.yml": extra(config.encode()), "lib/logo": extra(LOGO), "lib/run": extra(b"#!/bin/sh\n", 0o755)}
    given: dict[str, Any] = {"version": "v1", "artifact_key": "main", "agent_key": "agent", "templates": TEMPLATES}
    given |= {"extra_binaries": {"worker": "key"}, "extra_files": extras} | changes
    return render(SERVICE, **given)


def live(of: ReleaseFiles, **changes: Any) -> ServiceState:
    """A target on which a release is live, healthy and undamaged."""
    active = UnitState(active="active", sub="running", enabled="enabled", since=60.0)
    base = "/opt/hello/current"
    texts = {path: TargetFile(file.content, file.mode) for path, file in of.files.items()}
    texts |= {path: TargetFile(one.text, one.mode) for path, one in of.extra_files.items() if one.text is not None}
    found = ReleaseState(of.id, b"{}", MAIN, of.version, None, "hello", contents(of, {"worker": WORKER}))
    state = ServiceState(
        name="hello",
        home="/opt/hello",
        user_exists=True,
        current=of.id,
        releases={of.id: found},
        files=texts,
        installed={name: TargetFile(file.content, 0o644) for name, file in of.units.items()},
        hashes={"bin/hello": MAIN, AGENT: AGENT_SHA, **found.contents},
        modes={f"{base}/{path}": f"{one.mode:o} root:root" for path, one in of.extra_files.items()}
        | {"/var/log/hello": "750 hello:hello"},
        units={name: active for name in of.units if name != "hello-health.service"},
        last_good=of.id,
        health=HealthResult(True, "healthy"),
    )
    return dataclasses.replace(state, **changes)


def upload(state: ServiceState, of: ReleaseFiles, tmp_path: Path) -> Upload | None:
    local = {name: tmp_path / name for name in ("hello", "worker", "agent")}
    for name, path in local.items():
        path.write_bytes(name.encode())
    made = {
        name: LocalProgram(local[name], sum_, len(name))
        for name, sum_ in (("hello", MAIN), ("worker", WORKER), ("agent", AGENT_SHA))
    }
    return upload_for(
        TargetState(systemd=252, services={"hello": state}, agents=frozenset({AGENT_SHA})),
        SERVICE,
        of,
        manifest=b"{}",
        binary=made["hello"],
        agent=made["agent"],
        extra_binaries={"worker": made["worker"]},
        run_id="run",
        minimum_free_mb=1,
    )


def test_every_binary_and_every_file_with_its_mode_is_in_the_name_of_a_release() -> None:
    ids = {
        release().id,
        release("level: debug\n").id,
        release(extra_binaries={"worker": "other key"}).id,
        release(extra_binaries={"runner": "key"}).id,
        release(extra_binaries={}).id,
        release(extra_files={}).id,
        release(extra_files={"lib/logo": extra(LOGO)}).id,
        release(extra_files={"lib/logo": extra(LOGO, 0o755)}).id,
        release(extra_files={"lib/logo2": extra(LOGO)}).id,
    }
    assert len(ids) == 9


def test_a_release_without_any_has_the_name_it_always_had() -> None:
    plain = render(service(), version="v1", artifact_key="a", agent_key="b", templates=TEMPLATES)
    digest = hashlib.sha256(b"a\nb\n")
    for path, file in plain.files.items():
        digest.update(f"{path}\0{len(file.content)}\0".encode() + file.content)
    assert plain.id == f"v1-{digest.hexdigest()[:8]}"


@pytest.mark.parametrize(
    "path", ["conf/hello.service", "conf/environment", "conf/health.json", "lib/gofallback-agent", "conf/environment/x"]
)
def test_a_file_in_the_place_of_one_of_ours_is_refused(path: str) -> None:
    with pytest.raises(DataError, match="which gofallback uses; choose another name"):
        release(extra_files={path: extra(b"x")})


def test_a_file_in_the_place_of_a_folder_is_refused() -> None:
    with pytest.raises(DataError, match="lib/a/b is in the way of lib/a"):
        release(extra_files={"lib/a": extra(b"x"), "lib/a/b": extra(b"x")})


def test_a_target_that_has_it_all_needs_nothing(tmp_path: Path) -> None:
    of = release()
    assert plan_steps(live(of), of, SERVICE, MAIN, {"worker": WORKER}) == []
    assert plan_steps(live(of), of, SERVICE, None) == []
    assert upload(live(of), of, tmp_path) is None


def test_another_configuration_alone_sends_the_configuration_alone(tmp_path: Path) -> None:
    old, new = release(), release("level: debug\n")
    steps = plan_steps(live(old), new, SERVICE, MAIN, {"worker": WORKER})
    assert [step.kind for step in steps] == ["upload", "switch"]
    assert "the binary is there already and 1 of 4 extra files" in steps[0].text
    assert {"-level: info", "+level: debug"} <= set(steps[0].diff.splitlines())
    assert "logo" not in steps[0].diff
    sent = upload(live(old), new, tmp_path)
    assert sent is not None
    assert [one.path for one in (*sent.programs, *sent.extra_files) if not one.copies] == ["conf/app.yml"]
    linked = {one.path: one.copies for one in (*sent.programs, *sent.extra_files)}
    assert linked["bin/worker"] == (f"/opt/hello/releases/{old.id}/bin/worker",)
    assert linked["lib/logo"] == (f"/opt/hello/releases/{old.id}/lib/logo",)


def test_a_binary_file_is_shown_by_size_and_hash() -> None:
    old = release()
    new = release(extra_files=dict(old.extra_files) | {"lib/logo": extra(b"\0other"), "lib/new.bin": extra(b"\0\0")})
    text = plan_steps(live(old), new, SERVICE, MAIN)[0].diff
    assert f"lib/logo: sha256 {hashlib.sha256(LOGO).hexdigest()[:12]} -> 6 bytes, sha256" in text
    assert "lib/new.bin: nothing -> 2 bytes" in text
    gone = plan_steps(live(new), old, SERVICE, MAIN)[0].diff
    assert "lib/new.bin: sha256" in gone and "-> nothing" in gone


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ({"bin/worker": None}, "bin/worker is missing"),
        ({"bin/worker": "9" * 64}, "bin/worker has sha256 999999999999, not 666666666666"),
        ({"lib/logo": None}, "lib/logo is missing"),
        ({"lib/logo": "9" * 64}, "lib/logo has sha256 999999999999, not "),
    ],
)
@pytest.mark.parametrize("known", [MAIN, None])
def test_what_is_damaged_on_the_target_is_sent_again(
    damage: dict[str, str | None], problem: str, known: str | None, tmp_path: Path
) -> None:
    of = release()
    hashes = {path: sum_ for path, sum_ in {**live(of).hashes, **damage}.items() if sum_ is not None}
    state = live(of, hashes=hashes)
    steps = plan_steps(state, of, SERVICE, known, {"worker": WORKER} if known else {})
    assert [step.kind for step in steps] == ["repair", "restart"] and problem in steps[0].text
    sent = upload(state, of, tmp_path)
    assert sent is not None and sent.replace
    assert manual_changes(state)[0].startswith(problem[:20])


def test_another_mode_is_damage_too() -> None:
    of = release()
    state = live(of, modes={**live(of).modes, "/opt/hello/current/lib/run": "644 root:root"})
    assert "lib/run is 644 root:root, not 755 root:root" in plan_steps(state, of, SERVICE, MAIN)[0].text


def test_a_release_that_is_there_with_another_extra_binary_is_uploaded_again(tmp_path: Path) -> None:
    of, other = release(), release("level: debug\n")
    found = dataclasses.replace(
        live(of).releases[of.id], contents={**live(of).releases[of.id].contents, "bin/worker": "9" * 64}
    )
    state = live(other, releases={**live(other).releases, of.id: found})
    steps = plan_steps(state, of, SERVICE, MAIN, {"worker": WORKER})
    assert steps[0].kind == "repair" and "its bin/worker has sha256 999999999999" in steps[0].text
    assert upload(state, of, tmp_path) is not None


def test_the_archive_holds_what_is_sent_and_the_lists_of_the_rest(tmp_path: Path) -> None:
    old, new = release(), release("level: debug\n")
    sent = upload(live(old), new, tmp_path)
    assert sent is not None
    config = tmp_path / "config"
    config.write_text("level: debug\n")
    extras = tuple(dataclasses.replace(one, local=config) if not one.copies else one for one in sent.extra_files)
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive(dataclasses.replace(sent, extra_files=extras))))) as tar:
        names = {member.name: member.mode for member in tar if member.isfile()}
        have = tar.extractfile(".extras/have")
        assert have is not None
        lists = have.read().decode()
    assert names["conf/app.yml"] == 0o644 and "lib/logo" not in names and "bin/worker" not in names
    assert f"755\tlib/run\t/opt/hello/releases/{old.id}/lib/run\n" in lists
    assert "lib/logo" not in upload_script.receive_script(sent)  # thousands of names do not fit into a command


def test_a_file_of_a_damaged_manifest_is_skipped() -> None:
    good = "1" * 64
    strange = {
        "../x": good,
        "bin": good,
        "/bin/x": good,
        "bin/a\nb": good,
        "lib/x": "zz",
        "etc/x": good,
        "lib/ok": good,
    }
    assert manifest_contents({"contents": strange, "spec": [], "sha256": good}) == {"lib/ok": good}
    assert manifest_contents({"contents": 7, "spec": {"binary": "a b"}, "sha256": None}) == {}
