"""``gofallback pins``: what it prints is pasted into group data."""

from __future__ import annotations

import pytest

from gofallback.cli.main import main
from gofallback.model import ToolchainPin

SHA = "a" * 64


def test_a_failed_look_up_is_an_error_line_and_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gofallback.controller.pins.GO_URL", "ftp://example.com/go{version}-{os}-{arch}.{ending}")
    assert main(["pins", "go", "1.27.0", "--os", "windows"]) == 1
    assert capsys.readouterr().out.startswith("error: ftp://")


def test_pins_of_linux_builders_name_the_archive_that_they_can_unpack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    urls: list[str] = []
    monkeypatch.setattr("gofallback.controller.pins.published_sha256", lambda url: urls.append(url) or SHA)
    assert main(["pins", "go", "1.27.0", "--arch", "arm64"]) == 0
    assert [url.rpartition("/")[2] for url in urls] == ["go1.27.0.windows-arm64.zip", "go1.27.0.linux-arm64.tar.gz"]
    comment, _, printed = capsys.readouterr().out.partition("\n")
    assert comment == "# review, then paste into toolchain.pins of group_data/builders.py"
    windows, linux = (ToolchainPin(**fields) for fields in eval(f"[{printed}]"))
    assert (windows.os, windows.kind, linux.os, linux.kind) == ("windows", "zip", "linux", "tar")
