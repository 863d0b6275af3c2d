"""Publishing to real stores on loopback: nginx, an S3 endpoint, folders; and every way in which a store says no."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gofallback.artifact.manifest import Manifest
from gofallback.build.spec import BuildSpec
from gofallback.controller.store import ArtifactStore
from tests.lab.stores import TOKEN, Nginx, cutting, free_port, nginx, s3_endpoint

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
SMALL = b"\x7fELF a program " * 20_000
MIB = 1 << 20
LARGE = random.Random(4).randbytes(40 * MIB)
"""More than two parts of a multipart upload."""
FILES = ["hello-linux-amd64", "hello-linux-amd64.manifest.json", "hello-windows-amd64.exe"]
FILES += ["hello-windows-amd64.manifest.json", "checksums.txt"]

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]


def store_of(home: Path, version: str, content: dict[str, bytes]) -> None:
    """An artifact store with one version: content by platform."""
    store = ArtifactStore(home / "artifacts")
    for platform, data in content.items():
        spec = BuildSpec(
            service="hello",
            platform=platform,
            go_version="1.27.0",
            commit="c" * 40,
            version=version,
            package=".",
            directory=".",
            binary="hello",
        )
        manifest = Manifest(
            spec=spec,
            key=spec.key,
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            builder="w1",
            built_at="2026-11-22T03:00:00Z",
            seconds=1.0,
        )
        file = home / "binary"
        file.write_bytes(data)
        store.add(manifest, file)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A controller with v1.0.0 (small), v1.1.0 (the same for two platforms) and v2.0.0 (large)."""
    made = tmp_path_factory.mktemp("home")
    store_of(made, "v1.0.0", {"linux/amd64": SMALL})
    store_of(made, "v1.1.0", {"linux/amd64": SMALL, "windows/amd64": SMALL[::-1]})
    store_of(made, "v2.0.0", {"linux/amd64": LARGE})
    return made


@pytest.fixture(scope="module")
def web() -> Iterator[Nginx]:
    yield from nginx()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from s3_endpoint(tmp_path_factory.mktemp("s3"))


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Run:
    """`gofallback publish` in a project of its own."""

    def call(*arguments: str, data: dict[str, Any] | None = None, **environment: str) -> Result:
        (tmp_path / "group_data").mkdir(exist_ok=True)
        if data is not None:
            (tmp_path / "group_data" / "all.py").write_text(f"publish = {data!r}\n")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        full = clean | {"GOFALLBACK_HOME": str(home), "HOME": str(tmp_path), "LAB_TOKEN": TOKEN} | environment
        command = [sys.executable, "-m", "gofallback.cli", "publish", *arguments]
        result = subprocess.run(
            command, cwd=tmp_path, env=full, capture_output=True, text=True, timeout=180, check=False
        )
        assert TOKEN not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result

    return call


def states(result: Result) -> dict[str, str]:
    return {row["file"]: row["state"] for row in json.loads(result.stdout)["files"]}


def last_line(result: Result) -> str:
    """The one line of an error."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("gofallback: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def bearer(url: str, **more: Any) -> dict[str, Any]:
    return {"stores": {"s": {"url": url, "token": {"env": "LAB_TOKEN"}, **more}}}


# nginx


def test_puts_every_file_with_a_bearer_token_and_reads_each_back(run: Run, web: Nginx) -> None:
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


def test_a_second_time_sends_nothing(run: Run, web: Nginx) -> None:
    data = bearer(f"{web.url}/bearer/twice")
    assert run("v1.0.0", data=data).returncode == 0
    before = web.log().count(" PUT ")
    result = run("v1.0.0", "--json")
    assert result.returncode == 0
    assert set(states(result).values()) == {"there already"}
    assert web.log().count(" PUT ") == before


def test_other_content_is_refused_in_one_line_before_anything_is_sent_and_replaced_when_told(
    run: Run, web: Nginx
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


def test_a_header_takes_the_token_from_a_file_and_netrc_is_left_alone(run: Run, web: Nginx, tmp_path: Path) -> None:
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
def test_a_wrong_token_is_one_line_that_names_its_place(run: Run, web: Nginx, path: str, said: str) -> None:
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
def test_what_a_server_refuses_is_said_in_words(run: Run, web: Nginx, path: str, said: str) -> None:
    result = run("v1.0.0", "--to", f"{web.url}/{path}/x")
    assert result.returncode == 1
    assert said in last_line(result)


def test_a_server_that_is_down_is_tried_again_and_then_named(run: Run) -> None:
    port = free_port()
    store = {"url": f"http://127.0.0.1:{port}/x", "attempts": 3}
    result = run("v1.0.0", data={"stores": {"s": store}})
    assert result.returncode == 1
    assert result.stderr.count("again in") == 2
    assert f"127.0.0.1:{port}: " in last_line(result) and "Connection refused; tried 3 times" in last_line(result)


def test_a_host_that_does_not_exist_is_named(run: Run) -> None:
    store = {"url": "http://store.invalid/x", "attempts": 1}
    assert "store.invalid: " in last_line(run("v1.0.0", data={"stores": {"s": store}}))


def test_a_rate_limit_is_waited_out(run: Run, web: Nginx) -> None:
    result = run("v1.0.0", data={"stores": {"s": {"url": f"{web.url}/limited/x", "attempts": 12}}})
    assert result.returncode == 0, result.stderr
    assert "429 Too Many Requests" in result.stderr


def test_a_connection_that_breaks_in_mid_upload_is_begun_anew(run: Run, web: Nginx) -> None:
    with cutting(web.port, [2 * MIB, 5 * MIB]) as port:
        result = run("v2.0.0", "--to", f"http://127.0.0.1:{port}/open/cut")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("again in") >= 2
    assert (web.files / "open" / "cut" / "hello" / "v2.0.0" / "hello-linux-amd64").read_bytes() == LARGE


def test_a_store_that_changes_files_is_found_out(run: Run, web: Nginx) -> None:
    result = run("v1.0.0", "--to", f"{web.url}/twisted/x")
    assert result.returncode == 1
    assert "hash mismatch after the upload" in last_line(result)


def test_a_redirect_on_the_same_host_keeps_the_token(run: Run, web: Nginx) -> None:
    to = ("--to", f"{web.url}/moved/x", "--header", "JOB-TOKEN", "--token", "env:LAB_TOKEN")
    result = run("v1.0.0", *to)
    assert result.returncode == 0, result.stderr
    assert (web.files / "named" / "x" / "hello" / "v1.0.0" / "checksums.txt").exists()
    assert "PUT /moved/x/hello/v1.0.0/checksums.txt 307" in web.log()


def test_an_upload_is_not_led_to_another_host(run: Run, web: Nginx) -> None:
    result = run("v1.0.0", "--to", f"{web.url}/elsewhere/x", "--token", "env:LAB_TOKEN")
    assert result.returncode == 1
    assert f"redirect to another host refused (http://127.0.0.1:{web.other})" in last_line(result)
    assert f"{web.other} PUT" not in web.log()


def test_reading_back_from_another_host_goes_without_the_token(run: Run, web: Nginx) -> None:
    run("v1.0.0", "--to", f"{web.url}/away/x", "--token", "env:LAB_TOKEN")
    asked = [line for line in web.log().splitlines() if line.startswith(f"{web.other} GET")]
    assert asked and all("auth=- named=-" in line for line in asked)


def test_tls_by_an_unknown_authority_is_refused_and_by_a_named_one_taken(run: Run, web: Nginx) -> None:
    url = f"https://127.0.0.1:{web.tls}/tls"
    result = run("v1.0.0", data=bearer(url))
    assert result.returncode == 1
    assert "TLS: " in last_line(result) and "self-signed" in last_line(result)
    assert run("v1.0.0", data=bearer(url, ca=str(web.root / "cert.pem"))).returncode == 0


def test_the_token_stands_in_no_process_argument(run: Run, web: Nginx) -> None:
    seen: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if "gofallback.cli" in line:
                    seen.append(line)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        assert run("v2.0.0", data=bearer(f"{web.url}/bearer/arguments")).returncode == 0
    finally:
        stop.set()
        thread.join()
    assert seen and not any(TOKEN in line for line in seen)


# S3


KEYS = {"AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": "lab-s3cret-key", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture
def bucket(s3: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of the endpoint and a fresh bucket's URL."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3,
        region_name="us-east-1",
        aws_access_key_id="lab",
        aws_secret_access_key="lab-s3cret-key",
    )
    name = f"releases-{abs(hash(request.node.name)) % 10**8}"
    client.create_bucket(Bucket=name)
    yield client, name, f"s3://{name}/pre/fix?endpoint={s3}"


def test_s3_objects_are_checked_by_the_sum_the_store_made(run: Run, bucket: Any) -> None:
    client, name, url = bucket
    result = run("v1.1.0", "--to", url, "--json", **KEYS)
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)["files"]
    assert {row["checked"] for row in rows} == {"store's SHA-256"}
    keys = [one["Key"] for one in client.list_objects_v2(Bucket=name)["Contents"]]
    assert sorted(keys) == sorted(f"pre/fix/hello/v1.1.0/{file}" for file in FILES)
    got = client.get_object(Bucket=name, Key="pre/fix/hello/v1.1.0/hello-linux-amd64")["Body"].read()
    assert got == SMALL
    assert set(states(run("v1.1.0", "--to", url, "--json", **KEYS)).values()) == {"there already"}


def test_s3_other_content_is_refused_and_replaced_when_told(run: Run, bucket: Any) -> None:
    client, name, url = bucket
    key = "pre/fix/hello/v1.0.0/hello-linux-amd64"
    client.put_object(Bucket=name, Key=key, Body=SMALL[::-1])  # same size, no sum that the store would tell
    result = run("v1.0.0", "--to", url, **KEYS)
    assert result.returncode == 1
    assert "is there with other content" in last_line(result)
    assert run("v1.0.0", "--to", url, "--overwrite", **KEYS).returncode == 0
    assert client.get_object(Bucket=name, Key=key)["Body"].read() == SMALL


def test_s3_large_objects_go_in_parts_and_a_broken_upload_goes_on_where_it_ended(
    run: Run, s3: str, bucket: Any
) -> None:
    client, name, _ = bucket
    # The connection breaks in the second part of 16 MiB; there is one attempt only.
    with cutting(int(s3.rpartition(":")[2]), [25 * MIB]) as port:
        store = {"url": f"s3://{name}/pre?endpoint=http://127.0.0.1:{port}", "attempts": 1}
        result = run("v2.0.0", data={"stores": {"s": store}}, **KEYS)
    assert result.returncode == 1, result.stderr
    begun = client.list_multipart_uploads(Bucket=name)["Uploads"]
    assert len(begun) == 1
    parts = client.list_parts(Bucket=name, Key=begun[0]["Key"], UploadId=begun[0]["UploadId"])["Parts"]
    assert [part["PartNumber"] for part in parts] == [1]

    carried: list[int] = []
    with cutting(int(s3.rpartition(":")[2]), [], carried) as port:
        store = {"url": f"s3://{name}/pre?endpoint=http://127.0.0.1:{port}", "attempts": 1}
        result = run("v2.0.0", "--json", data={"stores": {"s": store}}, **KEYS)
    assert result.returncode == 0, result.stderr
    assert sum(carried) < 26 * MIB, "the first part went again"
    assert client.get_object(Bucket=name, Key="pre/hello/v2.0.0/hello-linux-amd64")["Body"].read() == LARGE
    assert not client.list_multipart_uploads(Bucket=name).get("Uploads")
    assert json.loads(result.stdout)["files"][0]["checked"] == "store's SHA-256 of each part"


def test_s3_no_such_bucket_is_one_line(run: Run, s3: str) -> None:
    result = run("v1.0.0", "--to", f"s3://nowhere-4711?endpoint={s3}", **KEYS)
    assert result.returncode == 1
    assert "s3://nowhere-4711: PutObject: NoSuchBucket" in last_line(result)
    assert "no such bucket; make it" in last_line(result)


def test_s3_without_credentials_says_where_they_are_looked_for(run: Run, s3: str) -> None:
    result = run("v1.0.0", "--to", f"s3://nowhere?endpoint={s3}", AWS_EC2_METADATA_DISABLED="true")
    assert result.returncode == 1
    assert "no credentials; set AWS_ACCESS_KEY_ID" in last_line(result)


def test_s3_store_down_is_tried_again_and_then_named(run: Run) -> None:
    port = free_port()
    store = {"url": f"s3://nowhere?endpoint=http://127.0.0.1:{port}", "attempts": 2}
    result = run("v1.0.0", data={"stores": {"s": store}}, **KEYS)
    assert result.returncode == 1
    assert f"http://127.0.0.1:{port}: " in last_line(result) and "Connection refused; tried 2 times" in last_line(result)


def test_s3_wrong_keys_are_refused_by_a_store_that_checks_signatures(run: Run, tmp_path: Path) -> None:
    """A process of its own: moto checks keys and signatures from the first request on when told so."""
    for url in s3_endpoint(tmp_path, INITIAL_NO_AUTH_ACTION_COUNT="0"):
        result = run("v1.0.0", "--to", f"s3://somewhere?endpoint={url}", **KEYS)
        assert result.returncode == 1
        assert "the store refuses the credentials" in last_line(result)
        assert "lab-s3cret-key" not in result.stdout + result.stderr


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


def test_a_full_disk_is_one_line_and_leaves_nothing_half(run: Run, tiny: Path) -> None:
    result = run("v2.0.0", "--to", f"file://{tiny}")
    assert result.returncode == 1
    assert "the store is full (No space left on device)" in last_line(result)
    assert [path.name for path in tiny.rglob("*") if path.is_file()] == []


def test_what_fitted_stays_and_is_not_written_again_when_there_is_room(run: Run, tiny: Path) -> None:
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
