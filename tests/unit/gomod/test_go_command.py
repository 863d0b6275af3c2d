"""Which go the controller uses: its own if it is new enough, else a pinned one, unpacked once."""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
import time
from pathlib import Path

import pytest

from gofallback.gomod import go_command
from gofallback.model import ToolchainPin

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def script(version: str) -> bytes:
    return f"#!/bin/sh\necho go version go{version} linux/{ARCH}\n".encode()


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(folder: Path, version: str) -> None:
    program = folder / "go"
    program.write_bytes(script(version).replace(b"echo", b"builtin=1; echo"))
    program.chmod(0o755)


def pin(folder: Path, version: str, *, os: str = "linux", arch: str = ARCH) -> ToolchainPin:
    """A pin of an archive that is there."""
    archive = folder / f"go{version}.{os}-{arch}.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        entry = tarfile.TarInfo("go/bin/go")
        entry.size, entry.mode = len(script(version)), 0o755
        packed.addfile(entry, io.BytesIO(script(version)))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return ToolchainPin.model_validate(
        {
            "tool": "go",
            "version": version,
            "os": os,
            "kind": "tar" if os == "linux" else "zip",
            "arch": arch,
            "url": archive.as_uri(),
            "sha256": digest,
        }
    )


def find(tmp_path: Path, needed: str, *pins: ToolchainPin) -> go_command.Go:
    folders = {"downloads": tmp_path / "downloads", "toolchains": tmp_path / "toolchains"}
    return go_command.find_go(pins, needed, report=lambda _: None, **folders)


def test_the_go_on_path_is_used_when_it_is_new_enough(tmp_path: Path, on_path: Path) -> None:
    install(on_path, "1.26.6")
    assert find(tmp_path, "1.26").program == on_path / "go"
    assert find(tmp_path, "1.26.6").version == "1.26.6"


def test_else_the_newest_pin_for_this_machine_is_unpacked_once(tmp_path: Path, on_path: Path) -> None:
    install(on_path, "1.21.0")
    pins = [
        pin(tmp_path, "1.25.0"),
        pin(tmp_path, "1.27.1"),
        pin(tmp_path, "1.9.9"),
        pin(tmp_path, "1.30.0", os="windows"),
    ]
    found = find(tmp_path, "1.24", *pins)
    assert found.version == "1.27.1"
    assert found.program.stat().st_mode & 0o111
    (tmp_path / "go1.27.1.linux-amd64.tar.gz").unlink(missing_ok=True)
    assert find(tmp_path, "1.24", *pins) == found
    assert [path.name for path in (tmp_path / "toolchains").iterdir()] == [found.program.parents[2].name]


def test_without_any_go_the_line_names_every_way_out(tmp_path: Path, on_path: Path) -> None:
    with pytest.raises(go_command.GoError, match=r"no Go 1\.30 \(there is no go on PATH\).*os: linux.*build\.modules"):
        find(tmp_path, "1.30", pin(tmp_path, "1.27.1"))
    assert not go_command.is_available([pin(tmp_path, "1.27.1")], "1.30")
    assert go_command.is_available([pin(tmp_path, "1.27.1")], "1.27")


def test_a_go_that_is_too_old_is_named(tmp_path: Path, on_path: Path) -> None:
    install(on_path, "1.21.0")
    with pytest.raises(go_command.GoError, match=r"go 1\.21\.0 on PATH is older"):
        find(tmp_path, "1.24")


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    line = f"sleep 60 & echo $! > {pid}; wait"
    done = go_command.run(
        ["/bin/sh", "-c", line], directory=tmp_path, environment={"PATH": "/usr/bin:/bin"}, timeout=0.5
    )
    assert done.timed_out
    child = Path("/proc") / pid.read_text().strip() / "stat"
    deadline = time.monotonic() + 10  # a busy kernel may let a killed process stand there for a moment

    def gone() -> bool:
        try:
            return ") Z " in child.read_text()
        except OSError:
            return True

    while not gone():
        assert time.monotonic() < deadline, "the child was not ended"
        time.sleep(0.02)
