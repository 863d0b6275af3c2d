"""Publishing to S3: OpenStack Swift, which checks signatures and sums, and moto, which tells sums."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cutting import cutting
from tests.lab.publisher import FILES, LARGE, MIB, SMALL, Publisher, controller, last_line, states
from tests.lab.s3_stores import Endpoint, limit_bucket, moto, swift
from tests.lab.stores import free_port

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return controller(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module", params=["swift", "moto"])
def s3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Two stores that speak S3: one that is one, and one that tells sums."""
    yield from swift() if request.param == "swift" else moto(tmp_path_factory.mktemp("s3"))


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Publisher:
    return Publisher(home, tmp_path)


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket, and a client of one's own to look into it."""

    s3: Endpoint
    client: Any
    name: str

    def url(self, port: int | None = None) -> str:
        return f"s3://{self.name}/pre/fix?endpoint=http://127.0.0.1:{port or self.s3.port}"

    def get(self, version: str, file: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=f"pre/fix/hello/{version}/{file}")["Body"].read())


@pytest.fixture
def bucket(s3: Endpoint) -> Bucket:
    client = s3.client()
    name = f"releases-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=name)
    return Bucket(s3, client, name)


def test_s3_objects_arrive_and_are_checked_by_the_stores_sum_or_read_back(run: Publisher, bucket: Bucket) -> None:
    result = run("v1.1.0", "--to", bucket.url(), "--json", **bucket.s3.environment)
    assert result.returncode == 0, result.stderr
    checked = "store's SHA-256" if bucket.s3.sums else "read back, SHA-256"
    assert {row["checked"] for row in json.loads(result.stdout)["files"]} == {checked}
    keys = [one["Key"] for one in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]]
    assert sorted(keys) == sorted(f"pre/fix/hello/v1.1.0/{file}" for file in FILES)
    assert bucket.get("v1.1.0", "hello-linux-amd64") == SMALL
    again = run("v1.1.0", "--to", bucket.url(), "--json", **bucket.s3.environment)
    assert set(states(again).values()) == {"there already"}


def test_s3_other_content_is_refused_and_replaced_with_the_option(run: Publisher, bucket: Bucket) -> None:
    key = "pre/fix/hello/v1.0.0/hello-linux-amd64"
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=SMALL[::-1])  # the same size
    result = run("v1.0.0", "--to", bucket.url(), **bucket.s3.environment)
    assert result.returncode == 1
    assert "is there with other content" in last_line(result)
    assert run("v1.0.0", "--to", bucket.url(), "--overwrite", **bucket.s3.environment).returncode == 0
    assert bucket.get("v1.0.0", "hello-linux-amd64") == SMALL


def test_s3_a_broken_upload_goes_on_where_it_ended(run: Publisher, bucket: Bucket) -> None:
    # Parts have 16 MiB; the connection breaks in the second one, and there is one attempt only.
    with cutting(bucket.s3.port, [25 * MIB]) as port:
        data = {"stores": {"s": {"url": bucket.url(port), "attempts": 1}}}
        result = run("v2.0.0", data=data, **bucket.s3.environment)
    assert result.returncode == 1, result.stderr
    begun = bucket.client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]
    assert len(begun) == 1
    which = {"Bucket": bucket.name, "Key": begun[0]["Key"], "UploadId": begun[0]["UploadId"]}
    assert [part["PartNumber"] for part in bucket.client.list_parts(**which)["Parts"]] == [1]

    carried: list[int] = []
    with cutting(bucket.s3.port, [], carried) as port:
        result = run("v2.0.0", "--to", bucket.url(port), "--json", **bucket.s3.environment)
    assert result.returncode == 0, result.stderr
    assert 24 * MIB <= sum(carried) < 26 * MIB, "parts 2 and 3, and not part 1 again"
    assert bucket.get("v2.0.0", "hello-linux-amd64") == LARGE
    assert not bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads")
    checked = "store's SHA-256 of each part" if bucket.s3.sums else "read back, SHA-256"
    assert json.loads(result.stdout)["files"][0]["checked"] == checked


def test_s3_what_changes_on_the_way_does_not_stay(run: Publisher, bucket: Bucket) -> None:
    with cutting(bucket.s3.port, [], spoil=(b"program", b"pr0gram")) as port:
        data = {"stores": {"s": {"url": bucket.url(port), "read_back": True}}}
        result = run("v1.0.0", data=data, **bucket.s3.environment)
    assert result.returncode == 1
    assert "hash mismatch" in last_line(result)
    if not bucket.s3.sums:  # moto believes the sums that it is told: there only reading back finds it out
        assert "nothing was kept" in last_line(result)
        assert "Contents" not in bucket.client.list_objects_v2(Bucket=bucket.name)


def test_s3_no_such_bucket_is_one_line(run: Publisher, s3: Endpoint) -> None:
    result = run("v1.0.0", "--to", f"s3://nowhere-4711?endpoint={s3.url}", **s3.environment)
    assert result.returncode == 1
    assert "s3://nowhere-4711: PutObject: NoSuchBucket: no such bucket; make it" in last_line(result)


def test_s3_without_credentials_says_where_they_are_looked_for(run: Publisher) -> None:
    result = run("v1.0.0", "--to", "s3://nowhere?endpoint=http://127.0.0.1:1", AWS_EC2_METADATA_DISABLED="true")
    assert result.returncode == 1
    assert "no credentials; set AWS_ACCESS_KEY_ID" in last_line(result)


def test_s3_store_down_is_tried_again_and_then_named(run: Publisher) -> None:
    down = Endpoint(free_port(), "lab", "lab-s3cret-key", sums=False)
    data = {"stores": {"s": {"url": f"s3://nowhere?endpoint={down.url}", "attempts": 2}}}
    result = run("v1.0.0", data=data, **down.environment)
    assert result.returncode == 1
    assert f"{down.url}: " in last_line(result) and "Connection refused; tried 2 times" in last_line(result)


@pytest.mark.parametrize("s3", ["swift"], indirect=True)
def test_s3_wrong_keys_are_refused_by_a_store_that_checks_signatures(run: Publisher, bucket: Bucket) -> None:
    wrong = bucket.s3.environment | {"AWS_SECRET_ACCESS_KEY": "wr0ng-s3cret-key"}
    result = run("v1.0.0", "--to", bucket.url(), **wrong)
    assert result.returncode == 1
    assert "403: the store refuses the credentials" in last_line(result)
    assert "wr0ng-s3cret-key" not in result.stdout + result.stderr


@pytest.mark.parametrize("s3", ["swift"], indirect=True)
def test_s3_a_bucket_whose_quota_is_used_up_is_said_to_be_full(run: Publisher, bucket: Bucket) -> None:
    limit_bucket(bucket.s3, bucket.name, 100_000)
    result = run("v1.0.0", "--to", bucket.url(), **bucket.s3.environment)
    assert result.returncode == 1
    assert "larger than the store takes, or than its quota leaves" in last_line(result), result.stderr
    limit_bucket(bucket.s3, bucket.name, 100 * MIB)
    assert run("v1.0.0", "--to", bucket.url(), **bucket.s3.environment).returncode == 0
