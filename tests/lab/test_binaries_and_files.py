"""A service with two programs for four platforms, generated code, further files and a configuration per environment."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gofallback.artifact.binary import inspect
from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.gobuild import generated, plan
from lab import Lab
from lab.cache import cache_dir, print_progress
from lab.windows.trees import ensure
from tests.lab.conftest import fresh_name
from tests.lab.ledger import Ledger

pytestmark = pytest.mark.lab

PLATFORMS = ["darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64"]
RELEASE = "/opt/ledger/current"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """v1.0.0 built on the Windows host and live on the target."""
    with Lab.up(fresh_name(), targets=1, builders=1) as lab:
        made = Ledger.of(lab, tmp_path_factory.mktemp("ledger"))
        result = made.run("fallback", "--data", "ref=v1.0.0")
        assert result.code == 0, result.output
        result.line(r"ledger v1.0.0 go generate: passed in .*: internal/codes/made.txt, internal/codes/zz_names.go")
        yield made


def live(ledger: Ledger) -> str:
    return ledger.there(f"readlink {RELEASE}").rpartition("/")[2]


def specs(ledger: Ledger) -> list[BuildSpec]:
    found = ledger.home.glob("artifacts/ledger/v1.0.0/*/*/manifest.json")
    return [Manifest.model_validate_json(path.read_bytes()).spec for path in found]


def test_every_binary_of_every_platform_is_built_verified_and_attested(released: Ledger) -> None:
    built = sorted((one.platform, one.binary) for one in specs(released))
    assert built == [(platform, binary) for platform in PLATFORMS for binary in ("ledger", "ledger-ctl")]
    for path in released.home.glob("artifacts/ledger/v1.0.0/*/*/ledger*"):
        info = inspect(path)
        assert info.build is not None and info.build.settings["vcs.modified"] == "false"
    shown = released.command("verify", str(released.home / "artifacts" / "ledger"))
    assert shown.code == 0 and "8 artifacts, all verified" in shown.output
    rows = {(row["platform"], row["binary"]) for row in released.report()["artifacts"] if row["service"] == "ledger"}
    assert rows == set(built)


def test_the_target_runs_the_main_one_and_has_the_other_and_the_files(released: Ledger) -> None:
    first, *config = released.answer().splitlines()
    assert first == "ledger v1.0.0 embedded booked generated"
    assert config == [
        "environment = lab",
        "release = v1.0.0",
        "level = info",
        "peer = a.example.test",
        "peer = b.example.test",
    ]
    assert released.there(f"{RELEASE}/bin/ledger-ctl") == (
        "ledger-ctl v1.0.0 embedded booked generated control of v1.0.0"
    )
    listed = released.there(f"cd {RELEASE} && stat -c '%a %U %n' lib/web/* lib/web/img/* lib/notes.txt conf/motd.txt")
    assert listed.splitlines() == [
        "755 root lib/web/check.sh",
        "755 root lib/web/img",
        "644 root lib/web/index.html",
        "644 root lib/web/img/logo.bin",
        "644 root lib/notes.txt",
        "644 root conf/motd.txt",
    ]
    logo = hashlib.sha256(bytes(range(256)) * 16).hexdigest()
    assert released.there(f"sha256sum {RELEASE}/lib/web/img/logo.bin").startswith(logo)
    assert released.there(f"cat {RELEASE}/lib/notes.txt") == "kept as it is: {{ values.level }}"


def test_the_bytes_are_those_of_linux_generated_code_and_all(released: Ledger, tmp_path: Path) -> None:
    """The same overlay over a plain clone; what Go stamps of the tree is the commit, unmodified."""
    goroot, repository = ensure(cache_dir(), print_progress).go_linux, released.root.parent / "repository"
    clone, made = tmp_path / "clone", tmp_path / "made"
    for folder in (clone, made):
        subprocess.run(["git", "clone", "--quiet", "--branch=v1.0.0", str(repository), str(folder)], check=True)
    chosen = [one for one in specs(released) if one.platform == "linux/amd64"]
    root = goroot[chosen[0].go_version]
    environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "HOME": str(tmp_path), "GOROOT": str(root)}
    environment |= {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOCACHE": str(cache_dir() / "trees" / "gocache-linux")}
    subprocess.run([f"{root}/bin/go", "generate", "./..."], cwd=made, env=environment, check=True)
    names = ("internal/codes/zz_names.go", "internal/codes/made.txt")
    overlay = tmp_path / "overlay.json"
    overlay.write_text(generated.overlay({str(clone / name): str(made / name) for name in names}))
    for spec in chosen:
        output = tmp_path / spec.binary
        argv = plan.build_argv(spec, f"{root}/bin/go", str(output), overlay=str(overlay))
        subprocess.run(argv, cwd=clone, env=environment, check=True)
        (there,) = released.home.glob(f"artifacts/ledger/v1.0.0/linux-amd64/{spec.key[:16]}/{spec.binary}")
        assert output.read_bytes() == there.read_bytes()


def test_a_second_run_changes_nothing_and_a_damaged_file_is_mended(released: Ledger) -> None:
    again = released.run("rollout", "--data", "version=v1.0.0")
    assert again.code == 0 and released.report()["targets"][0]["outcome"] == "unchanged", again.output
    before = live(released)
    released.there(f"echo changed > {RELEASE}/lib/web/index.html")
    status = released.run("status")
    assert "lib/web/index.html has sha256" in status.output.replace("\n", " ") or "lib/web/index.html" in status.output
    mended = released.run("rollout", "--data", "version=v1.0.0")
    assert mended.code == 0, mended.output
    mended.line(r"lib/web/index.html has sha256")
    assert live(released) == before and "Ledger" in released.there(f"cat {RELEASE}/lib/web/index.html")


def test_another_configuration_alone_is_a_release_of_its_own_and_sends_no_binary(released: Ledger) -> None:
    before, inode = live(released), released.there(f"stat -c %i {RELEASE}/bin/ledger {RELEASE}/bin/ledger-ctl")
    plain = released.run("rollout", "--data", "version=v1.0.0", "--dry", "--diff", values={"level": "debug"})
    assert {"-level = info", "+level = debug"} <= {line.strip() for line in plain.output.splitlines()}, plain.output
    assert "logo.bin" not in plain.output
    result = released.run("rollout", "--data", "version=v1.0.0", values={"level": "debug"})
    assert result.code == 0, result.output
    result.line(r"the binary is there already and 1 of \d extra files")
    result.line(r"release v1.0.0-\w+ uploaded: 0.0 MB")
    assert live(released) != before and "level = debug" in released.answer()
    assert released.there(f"stat -c %i {RELEASE}/bin/ledger {RELEASE}/bin/ledger-ctl") == inode

    back = released.run("rollback", values={"level": "debug"})
    assert back.code == 0, back.output
    assert live(released) == before and "level = info" in released.answer()


def test_status_and_a_copy_of_the_release_list_every_binary(released: Ledger, tmp_path: Path) -> None:
    told = released.run("status", "--json").output
    (row,) = json.JSONDecoder().raw_decode(told[told.index("{\n") :])[0]["status"]
    assert list(row["further"]) == ["ledger-ctl"] and row["drift"] == []
    host = released.lab.host("t1")
    archive = tmp_path / "release.tar"
    archive.write_bytes(base64.b64decode(host.run(f"tar -C {RELEASE}/ -cf - . | base64 -w 0").stdout))
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "copy", filter="data")
    shown = released.command("verify", str(tmp_path / "copy"))
    assert shown.code == 0 and "2 artifacts, all verified" in shown.output, shown.output
    (tmp_path / "copy" / "bin" / "ledger-ctl").write_bytes(b"other")
    changed = released.command("verify", str(tmp_path / "copy"))
    assert changed.code == 1 and "bin/ledger-ctl: has sha256" in changed.output


def test_people_who_want_only_files_get_an_archive_a_platform_and_sums(released: Ledger, tmp_path: Path) -> None:
    result = released.command("archive", "v1.0.0", "--to", str(tmp_path / "dist"))
    assert result.code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "dist").iterdir())
    assert names == [
        "checksums.txt",
        "ledger_v1.0.0_darwin_arm64.tar.gz",
        "ledger_v1.0.0_linux_amd64.tar.gz",
        "ledger_v1.0.0_linux_arm64.tar.gz",
        "ledger_v1.0.0_windows_amd64.zip",
    ]
    subprocess.run(["sha256sum", "--strict", "-c", "checksums.txt"], cwd=tmp_path / "dist", check=True)
    with zipfile.ZipFile(tmp_path / "dist" / names[4]) as zipped:
        top = "ledger_v1.0.0_windows_amd64"
        assert sorted(zipped.namelist()) == sorted(
            f"{top}/{name}" for name in ("LICENSE", "README.md", "ledger-ctl.exe", "ledger.exe")
        )
    with tarfile.open(tmp_path / "dist" / names[2]) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    program = tmp_path / "unpacked" / "ledger_v1.0.0_linux_amd64" / "ledger-ctl"
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert said == "ledger-ctl v1.0.0 embedded booked generated control of v1.0.0\n"


def test_a_version_that_lacks_a_binary_is_not_rolled_out(released: Ledger) -> None:
    more = {"build": {"binaries": {"ledger-fsck": {"package": "./cmd/ledger"}}}}
    result = released.run("rollout", "--data", "version=v1.0.0", **more)
    assert result.code == 2, result.output
    result.line(r"ledger v1.0.0: ledger-fsck was not built for linux/amd64; build every binary with")


def test_a_generator_that_is_not_there_is_named_and_the_tree_is_put_back(released: Ledger) -> None:
    result = released.run("drill", "--data", "ref=no-generator")
    assert result.code != 0
    result.line(r"go generate: the generator absent-tool is not on the builder \(internal/page/tool.go:3\)")
    result.line(r"to do: .*go run <package>")
    drive = released.lab.host("w1").drive_c / "gofallback"  # type: ignore[attr-defined]
    assert not list((drive / "work" / "ledger").glob("*/internal/codes/zz_names.go"))
    assert not list((drive / "tmp").glob("generated-*"))
