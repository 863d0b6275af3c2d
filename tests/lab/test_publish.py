"""Publishing to servers on loopback and to folders, and every way in which a store says no; S3 has its own file."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cutting import cutting
from tests.lab.publisher import FILES, LARGE, MIB, SMALL, Publisher, controller, last_line, states
from tests.lab.registry import registry
from tests.lab.stores import TOKEN, USER, Nginx, free_port, nginx

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return controller(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def web() -> Iterator[Nginx]:
    yield from nginx()


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Publisher:
    return Publisher(home, tmp_path)


def bearer(url: str, **more: Any) -> dict[str, Any]:
    return {"stores": {"s": {"url": url, "token": {"env": "LAB_TOKEN"}, **more}}}


# nginx


def test_puts_every_file_with_a_bearer_token_and_reads_each_back(run: Publisher, web: Nginx) -> None:
    result = run("v1.1.0", data=bearer(f"{web.url}/bearer/first/{{service}}/{{version}}/{{file}}"))
    assert result.returncode == 0, result.stderr
    there = web.files / "bearer" / "first" / "hello" / "v1.1.0"
    assert sorted(path.name for path in there.iterdir()) == sorted(FILES)
    assert (there / "hello-windows-amd64.exe").read_bytes() == SMALL[::-1]
    assert (
        subprocess.run(["sha256sum", "-c", "checksums.txt"], cwd=there, capture_output=True, check=False).returncode
        == 0
    )
    assert "read back, SHA-256" in result.stdout


def test_a_second_time_sends_nothing(run: Publisher, web: Nginx) -> None:
    data = bearer(f"{web.url}/bearer/twice")
    assert run("v1.0.0", data=data).returncode == 0
    before = web.log().count(" PUT ")
    result = run("v1.0.0", "--json")
    assert result.returncode == 0
    assert set(states(result).values()) == {"there already"}
    assert web.log().count(" PUT ") == before


def test_other_content_is_refused_in_one_line_before_anything_is_sent_and_replaced_with_the_option(
    run: Publisher, web: Nginx
) -> None:
    there = web.files / "bearer" / "other" / "hello" / "v1.0.0"
    there.mkdir(parents=True)
    (there / "checksums.txt").write_text("somebody else's")
    subprocess.run(["chown", "-R", "nobody", str(web.files)], check=True)
    result = run("v1.0.0", data=bearer(f"{web.url}/bearer/other"))
    assert result.returncode == 1
    assert "is there with other content" in last_line(result) and "nothing was sent" in last_line(result)
    assert [path.name for path in there.iterdir()] == ["checksums.txt"]
    assert run("v1.0.0", "--overwrite").returncode == 0
    assert "hello-linux-amd64" in (there / "checksums.txt").read_text()


def test_a_header_takes_the_token_from_a_file_and_netrc_is_left_alone(
    run: Publisher, web: Nginx, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password wr0ng\n")
    (tmp_path / ".netrc").chmod(0o600)
    to = ("--to", f"{web.url}/named/file", "--header", "JOB-TOKEN", "--token", f"file:{tmp_path}/token")
    result = run("v1.0.0", *to)
    assert result.returncode == 0, result.stderr
    assert "/named/file/" in web.log()
    assert all("auth=- " in line for line in web.log().splitlines() if "/named/file/" in line)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("bearer/wrong", "401 Unauthorized: the store refuses the token of $WRONG"),
        ("named/wrong", "403 Forbidden: the store refuses the token of $WRONG"),
    ],
)
def test_a_wrong_token_is_one_line_that_names_its_place(run: Publisher, web: Nginx, path: str, said: str) -> None:
    result = run("v1.0.0", "--to", f"{web.url}/{path}", "--token", "env:WRONG", WRONG="wr0ng-t0ken")
    assert result.returncode == 1
    assert said in last_line(result)
    assert "wr0ng-t0ken" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nothing", "404 Not Found: no such repository or project"),
        ("quota", "507 Insufficient Storage: the store is full"),
        ("small", "413 Request Entity Too Large: larger than the server takes"),
    ],
)
def test_what_a_server_refuses_is_said_in_words(run: Publisher, web: Nginx, path: str, said: str) -> None:
    result = run("v1.0.0", "--to", f"{web.url}/{path}/x")
    assert result.returncode == 1
    assert said in last_line(result)


def test_a_server_that_is_down_is_tried_again_and_then_named(run: Publisher) -> None:
    port = free_port()
    store = {"url": f"http://127.0.0.1:{port}/x", "attempts": 3}
    result = run("v1.0.0", data={"stores": {"s": store}})
    assert result.returncode == 1
    assert result.stderr.count("again in") == 2
    assert f"127.0.0.1:{port}: " in last_line(result) and "Connection refused; tried 3 times" in last_line(result)


def test_a_server_that_takes_connections_and_never_answers_is_not_waited_for_without_end(run: Publisher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = {"url": f"http://127.0.0.1:{port}/x", "attempts": 2, "timeout": 1}
        began = time.monotonic()
        result = run("v1.0.0", data={"stores": {"s": store}})
    assert result.returncode == 1 and time.monotonic() - began < 60
    assert "timed out" in last_line(result) and "tried 2 times" in last_line(result)


def test_a_disk_of_the_server_that_is_full_fails_and_leaves_no_file_under_its_name(run: Publisher, web: Nginx) -> None:
    there = web.files / "open" / "brim"
    there.mkdir(parents=True)
    shutil.chown(there.parent, USER)  # the server's, as if it had made it: others publish below it
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k,uid=nobody", "tmpfs", str(there)], check=True)
    try:
        store = {"url": f"{web.url}/open/brim", "attempts": 2}
        result = run("v1.0.0", data={"stores": {"s": store}})
        assert result.returncode == 1, result.stdout
        assert "500 Internal Server Error" in last_line(result) or "507" in last_line(result)
        assert not (there / "hello" / "v1.0.0" / "hello-linux-amd64").exists()
    finally:
        subprocess.run(["umount", "-l", str(there)], check=True)


def test_a_host_that_does_not_exist_is_named(run: Publisher) -> None:
    store = {"url": "http://store.invalid/x", "attempts": 1}
    assert "store.invalid: " in last_line(run("v1.0.0", data={"stores": {"s": store}}))


def test_a_rate_limit_is_waited_out(run: Publisher, web: Nginx) -> None:
    result = run("v1.0.0", data={"stores": {"s": {"url": f"{web.url}/limited/x", "attempts": 12}}})
    assert result.returncode == 0, result.stderr
    assert "429 Too Many Requests" in result.stderr


def test_an_upload_whose_connection_breaks_starts_anew(run: Publisher, web: Nginx) -> None:
    with cutting(web.port, [2 * MIB, 5 * MIB]) as port:
        result = run("v2.0.0", "--to", f"http://127.0.0.1:{port}/open/cut")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("again in") >= 2
    assert (web.files / "open" / "cut" / "hello" / "v2.0.0" / "hello-linux-amd64").read_bytes() == LARGE


def test_a_store_that_changes_files_is_found_out(run: Publisher, web: Nginx) -> None:
    result = run("v1.0.0", "--to", f"{web.url}/twisted/x")
    assert result.returncode == 1
    assert "hash mismatch after the upload" in last_line(result)


def test_a_redirect_on_the_same_host_keeps_the_token(run: Publisher, web: Nginx) -> None:
    to = ("--to", f"{web.url}/moved/x", "--header", "JOB-TOKEN", "--token", "env:LAB_TOKEN")
    result = run("v1.0.0", *to)
    assert result.returncode == 0, result.stderr
    assert (web.files / "named" / "x" / "hello" / "v1.0.0" / "checksums.txt").exists()
    assert "PUT /moved/x/hello/v1.0.0/checksums.txt 307" in web.log()


def test_an_upload_is_not_led_to_another_host(run: Publisher, web: Nginx) -> None:
    result = run("v1.0.0", "--to", f"{web.url}/elsewhere/x", "--token", "env:LAB_TOKEN")
    assert result.returncode == 1
    assert f"redirect to another host refused (http://127.0.0.1:{web.other})" in last_line(result)
    assert f"{web.other} PUT" not in web.log()


def test_reading_back_from_another_host_goes_without_the_token(run: Publisher, web: Nginx) -> None:
    run("v1.0.0", "--to", f"{web.url}/away/x", "--token", "env:LAB_TOKEN")
    asked = [line for line in web.log().splitlines() if line.startswith(f"{web.other} GET")]
    assert asked and all("auth=- named=-" in line for line in asked)


def test_tls_by_an_unknown_authority_is_refused_and_by_a_named_one_taken(run: Publisher, web: Nginx) -> None:
    url = f"https://127.0.0.1:{web.tls}/tls"
    result = run("v1.0.0", data=bearer(url))
    assert result.returncode == 1
    assert "TLS: " in last_line(result) and "self-signed" in last_line(result)
    assert run("v1.0.0", data=bearer(url, ca=str(web.root / "cert.pem"))).returncode == 0


def test_the_token_stands_in_no_process_argument(run: Publisher, web: Nginx) -> None:
    seen: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if "gofallback.cli.main" in line:
                    seen.append(line)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        assert run("v2.0.0", data=bearer(f"{web.url}/bearer/arguments")).returncode == 0
    finally:
        stop.set()
        thread.join()
    assert seen and not any(TOKEN in line for line in seen)


# Registries


@pytest.mark.parametrize(
    ("preset", "path", "more", "folder"),
    [
        ("gitlab", "/api/v4/projects/42", {}, "/api/v4/projects/42/packages/generic/hello/v1.1.0/"),
        ("gitea", "/api/packages/ci", {}, "/api/packages/ci/generic/hello/v1.1.0/"),
        ("nexus", "/repository/raw", {"user": "ci"}, "/repository/raw/hello/v1.1.0/"),
        ("nexus-components", "/repository/raw/go", {"user": "ci"}, "/repository/raw/go/hello/v1.1.0/"),
        ("artifactory", "/artifactory/generic", {}, "/artifactory/generic/hello/v1.1.0/"),
    ],
)
def test_a_registry_gets_what_it_wants_and_gives_it_back(
    run: Publisher, preset: str, path: str, more: dict[str, Any], folder: str
) -> None:
    with registry(TOKEN) as there:
        data = bearer(f"{there.url}{path}", preset=preset, **more)
        result = run("v1.1.0", "--json", data=data)
        assert result.returncode == 0, result.stderr
        assert sorted(there.files) == sorted(folder + name for name in FILES)
        assert there.files[f"{folder}hello-windows-amd64.exe"] == SMALL[::-1]
        checked = "store's SHA-256" if preset == "artifactory" else "read back, SHA-256"
        assert {row["checked"] for row in json.loads(result.stdout)["files"]} == {checked}
        there.files[f"{folder}hello-linux-amd64"] = b"somebody else's"
        assert run("v1.1.0").returncode == 1
        assert run("v1.1.0", "--overwrite").returncode == 0
        assert there.files[f"{folder}hello-linux-amd64"] == SMALL
        assert {method for method, _, _ in there.seen if method == "DELETE"} == (
            {"DELETE"} if preset == "gitea" else set()
        )


# Folders


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB, with a little room left."""
    place = tmp_path / "tiny"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_one_line_and_leaves_nothing_half(run: Publisher, tiny: Path) -> None:
    result = run("v2.0.0", "--to", f"file://{tiny}")
    assert result.returncode == 1
    assert "the store is full (No space left on device)" in last_line(result)
    assert [path.name for path in tiny.rglob("*") if path.is_file()] == []


def test_what_a_killed_run_left_is_removed(run: Publisher, tiny: Path) -> None:
    there = tiny / "hello" / "v1.0.0"
    there.mkdir(parents=True)
    for name, age in (("old", 7200), ("new", 0)):
        part = there / f".hello-linux-amd64.{name}.part"
        part.write_bytes(bytes(100_000))
        os.utime(part, (time.time() - age,) * 2)
    assert run("v1.0.0", "--to", f"file://{tiny}").returncode == 0
    assert [path.name for path in there.glob(".*")] == [".hello-linux-amd64.new.part"]


def test_what_fitted_stays_and_is_not_written_again_when_there_is_room(run: Publisher, tiny: Path) -> None:
    (tiny / "ballast").write_bytes(bytes(600_000))
    result = run("v1.1.0", "--to", f"file://{tiny}", "--json")
    assert result.returncode == 1
    assert states(result)["hello-linux-amd64"] == "sent"
    assert states(result)["hello-windows-amd64.exe"] == "failed"
    assert states(result)["checksums.txt"] == "not sent"
    (tiny / "ballast").unlink()
    result = run("v1.1.0", "--to", f"file://{tiny}", "--json")
    assert result.returncode == 0, result.stderr
    assert states(result)["hello-linux-amd64"] == "there already"
    assert states(result)["checksums.txt"] == "sent"
