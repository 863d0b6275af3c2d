"""The controller's archive cache, and pins from what a vendor publishes; over file:// and a server on loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gofallback.controller.downloads import DownloadError, fetch
from gofallback.controller.pins import as_python, published_sha256, read_sha256
from gofallback.model import ToolchainPin

BODY = b"archive" * 1000
SHA = hashlib.sha256(BODY).hexdigest()


def pin(url: str, sha256: str = SHA) -> ToolchainPin:
    """A pin; http:// on loopback stands in for https:// here."""
    return ToolchainPin.model_construct(tool="go", version="1.27.0", kind="zip", arch="amd64", url=url, sha256=sha256)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "vendor" / "go1.27.0.windows-amd64.zip"
    path.parent.mkdir()
    path.write_bytes(BODY)
    return path


class _Vendor(BaseHTTPRequestHandler):
    served: list[str]

    def do_GET(self) -> None:
        self.served.append(self.path)
        body, length = BODY, len(BODY)
        if self.path == "/cut.zip":
            length += 100
        elif self.path == "/go.zip.sha256":
            body = SHA.upper().encode() + b"\n"
            length = len(body)
        elif self.path == "/sum.zip.sha256":
            body = f"{SHA}  sum.zip\n".encode()
            length = len(body)
        elif self.path == "/page.zip.sha256":
            body = b"<html>not found</html>"
            length = len(body)
        elif self.path not in ("/go.zip",):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def vendor() -> Iterator[tuple[str, list[str]]]:
    served: list[str] = []
    handler = type("Vendor", (_Vendor,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", served
    server.shutdown()
    server.server_close()


def left(cache: Path) -> list[str]:
    """Names of all files in the cache."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_an_archive_is_fetched_once_and_then_comes_from_the_cache(archive: Path, tmp_path: Path) -> None:
    said: list[str] = []
    first = fetch(pin(archive.as_uri()), tmp_path / "cache", said.append)
    archive.unlink()
    second = fetch(pin(archive.as_uri()), tmp_path / "cache", said.append)

    assert first == second
    assert first.read_bytes() == BODY
    assert first.name == "go1.27.0.windows-amd64.zip"
    assert any("fetched" in line for line in said)


def test_a_wrong_hash_names_both_and_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as error:
        fetch(pin(archive.as_uri(), "0" * 64), tmp_path / "cache", lambda _: None)
    assert SHA in str(error.value)
    assert "0" * 64 in str(error.value)
    assert "\n" not in str(error.value)
    assert left(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written_is_one_line(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DownloadError, match="free space or permission of the folder") as error:
        fetch(pin(archive.as_uri()), tmp_path / "cache", lambda _: None)
    assert "\n" not in str(error.value)


def test_a_damaged_cached_file_is_fetched_again(archive: Path, tmp_path: Path) -> None:
    path = fetch(pin(archive.as_uri()), tmp_path / "cache", lambda _: None)
    path.write_bytes(b"rotten")
    said: list[str] = []
    assert fetch(pin(archive.as_uri()), tmp_path / "cache", said.append).read_bytes() == BODY
    assert any("damaged" in line and SHA in line for line in said)


def test_two_versions_of_one_file_name_do_not_share_a_place(archive: Path, tmp_path: Path) -> None:
    first = fetch(pin(archive.as_uri()), tmp_path / "cache", lambda _: None)
    archive.write_bytes(b"other")
    other = pin(archive.as_uri(), hashlib.sha256(b"other").hexdigest())
    assert fetch(other, tmp_path / "cache", lambda _: None) != first
    assert first.read_bytes() == BODY


def test_over_http_too(vendor: tuple[str, list[str]], tmp_path: Path) -> None:
    assert fetch(pin(vendor[0] + "/go.zip"), tmp_path, lambda _: None).read_bytes() == BODY


def test_many_hosts_at_once_make_one_download(vendor: tuple[str, list[str]], tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=fetch, args=(pin(vendor[0] + "/go.zip"), tmp_path, lambda _: None)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vendor[1] == ["/go.zip"]


@pytest.mark.parametrize(("path", "says"), [("/cut.zip", "ended after|broke"), ("/none.zip", "404")])
def test_a_server_that_fails_is_one_line_with_the_url(
    vendor: tuple[str, list[str]], tmp_path: Path, path: str, says: str
) -> None:
    with pytest.raises(DownloadError, match=says) as error:
        fetch(pin(vendor[0] + path), tmp_path, lambda _: None)
    assert vendor[0] + path in str(error.value)
    assert left(tmp_path) == []


def test_a_missing_file_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"none\.zip: No such file or directory; put the archive there"):
        fetch(pin((tmp_path / "none.zip").as_uri()), tmp_path / "cache", lambda _: None)


@pytest.mark.parametrize("path", ["/go.zip", "/sum.zip"])
def test_a_published_hash_is_read_bare_or_as_sha256sum_writes_it(vendor: tuple[str, list[str]], path: str) -> None:
    assert read_sha256(f"{vendor[0]}{path}.sha256") == SHA


def test_a_web_page_is_no_hash(vendor: tuple[str, list[str]]) -> None:
    with pytest.raises(DownloadError, match="64 hex digits"):
        read_sha256(vendor[0] + "/page.zip.sha256")


@pytest.mark.parametrize("url", ["http://example.com/go.zip", "file:///etc/passwd", "http://127.0.0.1.example.com/x"])
def test_pins_are_looked_up_over_https_only(url: str) -> None:
    with pytest.raises(DownloadError, match="https"):
        published_sha256(url)


def test_pins_are_not_looked_up_over_http_on_this_machine_either(vendor: tuple[str, list[str]]) -> None:
    with pytest.raises(DownloadError, match="https"):
        published_sha256(vendor[0] + "/go.zip")


def test_printed_pins_can_be_pasted(archive: Path) -> None:
    made = ToolchainPin(tool="go", version="1.27.0", arch="arm64", url="https://example.com/go.zip", sha256=SHA)
    pasted = eval(f"[{as_python([made])}]")
    assert [ToolchainPin(**fields) for fields in pasted] == [made]
