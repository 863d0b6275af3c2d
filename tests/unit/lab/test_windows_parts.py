"""The Windows lab's pure parts: the noise filter, SFTP paths, the environment's pins."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.windows import pins
from lab.windows.debs import deb_name
from lab.windows.noise import NoiseFilter
from lab.windows.sftp import local_path

NOISE = b"wine client error:2b8: sendmsg: Bad file descriptor\n"


def filtered(pieces: list[bytes]) -> bytes:
    noise = NoiseFilter()
    return b"".join(noise.feed(piece) for piece in pieces) + noise.end()


@given(st.lists(st.sampled_from([b"a", b"\n", b"wine ", b"wine client error:", b"x: y", NOISE[:9]]), max_size=12))
def test_text_that_is_no_noise_passes_unchanged_however_it_is_cut(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert filtered(pieces) == filtered([whole]) == whole


@given(st.integers(1, 40))
def test_wines_teardown_line_is_taken_out_however_it_is_cut(size: int) -> None:
    text = b"main.go:1: bad\n" + NOISE + b"exit status 1\n"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert filtered(pieces) == b"main.go:1: bad\nexit status 1\n"


def test_a_prompt_without_line_end_passes_at_once() -> None:
    assert NoiseFilter().feed(b"Continue? ") == b"Continue? "


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    (tmp_path / "users/builder").mkdir(parents=True)
    (tmp_path / "ProgramData/Thing").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("remote", "local"),
    [
        ("/C:/programdata/THING", "ProgramData/Thing"),
        ("c:\\ProgramData\\thing\\New.txt", "ProgramData/Thing/New.txt"),
        ("/ProgramData", "ProgramData"),
        ("file.txt", "users/builder/file.txt"),
        ("..\\..\\ProgramData", "ProgramData"),
        ("/C:/../../../etc/passwd", "etc/passwd"),
        ("/", "."),
    ],
)
def test_sftp_path_is_a_file_of_drive_c_in_any_case_and_never_outside(drive: Path, remote: str, local: str) -> None:
    assert local_path(drive, "users/builder", remote.encode()) == drive / local


@pytest.mark.parametrize("remote", ["/D:/x", "Z:\\etc", "/C:/a:b", "what?", 'quo"te'])
def test_sftp_path_of_another_drive_or_no_windows_name_is_not_found(drive: Path, remote: str) -> None:
    with pytest.raises(asyncssh.SFTPNoSuchFile):
        local_path(drive, "users/builder", remote.encode())


def test_an_epochs_colon_is_written_as_apt_writes_it() -> None:
    assert deb_name("zlib1g", pins.DEBIAN_PACKAGES["zlib1g"][0]).startswith("zlib1g_1%3a1.3")
