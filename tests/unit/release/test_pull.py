"""The request to a target that pulls, and the group data for it."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gofallback.model import DataError, parse_fleet
from gofallback.model.publish import PublishStore
from gofallback.model.target import Target
from gofallback.publish import pull as publishing
from gofallback.publish.errors import PublishError
from gofallback.publish.files import Item
from gofallback.release import upload_script
from gofallback.release.agent_config import AGENT
from gofallback.release.archive import archive
from gofallback.release.pull import STORE_FAILURES, PullSource, failure_message, request_line
from gofallback.release.state import ServiceState
from gofallback.release.upload import Upload
from tests.unit.release.test_plan import files, local, planned, target

__all__ = ["local"]

SOURCE = PullSource(
    "depot", "files.example.com", "https://files.example.com/x?sig=canary", {"Authorization": "Bearer canary"}
)


def pulled(local: dict[str, Any], copies: tuple[str, ...] = ()) -> Upload:
    upload = planned(target(ServiceState("hello", "/opt/hello")), files(), local)
    assert upload is not None
    programs = [replace(one, source=None if one.path == AGENT else SOURCE, copies=copies) for one in upload.programs]
    return replace(upload, programs=tuple(programs))


def test_only_the_agent_is_sent_and_it_is_hashed_before_it_runs(local: dict[str, Any]) -> None:
    upload = pulled(local)
    content = b"".join(archive(upload))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert AGENT in tar.getnames() and "bin/hello" not in tar.getnames()
    assert f"head -c {len(content)} | tar" in upload_script.receive_script(upload)
    script = upload_script.receive_script(upload).splitlines()
    at = {word: next(number for number, line in enumerate(script) if word in line) for word in ("fetch ||", "received")}
    sums = [number for number, line in enumerate(script) if '[ "$sum" = ' in line]
    assert len(sums) == 2 and sums[0] < at["fetch ||"] < sums[1] < at["received"]
    assert upload.needed == upload.sent + 6000


def test_nothing_secret_stands_in_the_script_or_in_what_is_printed(local: dict[str, Any]) -> None:
    upload = pulled(local)
    assert "canary" not in upload_script.receive_script(upload) + repr(upload) + upload_script.install_script(upload)
    request = json.loads(request_line(upload.fetched))
    assert request["files"][0]["headers"] == {"Authorization": "Bearer canary"} and request["files"][0]["size"] == 6000
    assert request_line(upload.fetched).count(b"\n") == 1


def test_what_the_target_has_is_linked_and_not_fetched(local: dict[str, Any]) -> None:
    upload = pulled(local, copies=("/opt/hello/releases/v0/bin/hello",))
    assert upload.fetched == () and " fetch ||" not in upload_script.receive_script(upload)


@pytest.mark.parametrize("kind", sorted(STORE_FAILURES))
def test_every_failure_names_the_store_in_one_line(kind: str) -> None:
    line = failure_message(kind, "files.example.com: 401 Unauthorized", SOURCE)
    assert (
        line.startswith("cannot be pulled from depot: files.example.com") and "\n" not in line and "canary" not in line
    )


def fleet(**given: Any) -> Any:
    return parse_fleet({"services": [], **given})


STORE = {"url": "https://files.example.com/x"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"target": {"delivery": "pull"}}, "target.delivery: pull needs a store"),
        (
            {"target": {"delivery": "pull"}, "publish": {"stores": {"a": STORE, "b": STORE}}},
            "target.pull_from: is missing, and publish has several stores and no default; name one of them: a, b",
        ),
        (
            {"target": {"delivery": "pull", "pull_from": "depto"}, "publish": {"stores": {"depot": STORE}}},
            "target.pull_from: no such store 'depto'",
        ),
        (
            {"target": {"delivery": "pull"}, "publish": {"stores": {"a": {"url": "file:///srv/x"}}}},
            "file:///srv/x is a folder of the controller",
        ),
        ({"target": {"pull_proxy": "http://bob:secret@proxy:3128"}}, "without a user"),
        ({"publish": {"stores": {"a": {**STORE, "read_user": "bob"}}}}, "need a read_token"),
        (
            {"publish": {"stores": {"a": {"url": "s3://bucket", "read_token": {"env": "A"}}}}},
            "read_token: not for s3://",
        ),
    ],
)
def test_data_that_cannot_be_pulled_with_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        fleet(**data)
    assert message in str(error.value) and "secret@" not in str(error.value)


def test_pulling_is_allowed_from_a_store_that_targets_reach() -> None:
    found = fleet(target={"delivery": "pull"}, publish={"stores": {"depot": STORE}})
    assert found.publish.store_name(found.target.pull_from) == "depot" and found.target.pull_fallback == "push"


def item(tmp_path: Path) -> Item:
    (tmp_path / "hello").write_bytes(b"x")
    return Item.of(tmp_path / "hello", "hello-linux-amd64")


def source(tmp_path: Path, **more: Any) -> PullSource:
    given = {"url": "https://files.example.com/x", "token": {"env": "WRITE"}, **more}
    data = PublishStore.model_validate(given)
    return publishing.source("depot", data, "hello", "v1", item(tmp_path), Target(pull_deadline=30))


@pytest.mark.parametrize(
    ("more", "headers"),
    [
        ({}, {}),
        ({"read_token": {"env": "READ"}}, {"Authorization": "Bearer r-secret"}),
        ({"read_token": {"env": "READ"}, "read_header": "Deploy-Token", "user": "up"}, {"Deploy-Token": "r-secret"}),
        ({"read_token": {"env": "READ"}, "header": "JOB-TOKEN"}, {"Authorization": "Bearer r-secret"}),
        (
            {"read_token": {"env": "READ"}, "url": "https://git.example.com/api/v4/projects/4", "preset": "gitlab"},
            {"PRIVATE-TOKEN": "r-secret"},
        ),
    ],
)
def test_targets_authenticate_with_the_token_for_reading_and_never_with_the_one_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], headers: dict[str, str]
) -> None:
    monkeypatch.setenv("WRITE", "w-secret")
    monkeypatch.setenv("READ", "r-secret")
    assert source(tmp_path, **more).headers == headers


def test_a_token_does_not_go_over_http_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READ", "r-secret")
    plain = {"url": "http://files.example.com/x", "token": None, "read_token": {"env": "READ"}}
    with pytest.raises(PublishError, match="for everybody to read"):
        source(tmp_path, **plain)
    assert source(tmp_path, **plain, plain_http=True).headers
    form = {"method": "post", "url": "https://files.example.com/upload", "read_url": "http://files.example.com/{file}"}
    with pytest.raises(PublishError, match=r"^http://files\.example\.com/\{file\}: .* for everybody to read"):
        source(tmp_path, token=None, read_token={"env": "READ"}, **form)
    assert source(tmp_path, token=None, **form).headers == {}  # nothing to hide


def test_a_token_for_reading_that_is_not_there_is_named_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("READ", raising=False)
    monkeypatch.setenv("WRITE", "w-secret")
    with pytest.raises(PublishError, match="environment variable READ, which `read_token` names, is not set"):
        source(tmp_path, read_token={"env": "READ"})


def test_an_s3_address_is_signed_and_holds_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-key-of-the-test")
    found = source(tmp_path, url="s3://bucket/pre?endpoint=https://s3.example.com", token=None)
    assert found.url.startswith("https://s3.example.com/bucket/pre/hello/v1/hello-linux-amd64?X-Amz-Algorithm=AWS4")
    assert "X-Amz-Expires=930" in found.url and "s3cret" not in found.url and found.headers == {} and found.signed


def test_a_signed_address_does_not_go_over_http_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-key-of-the-test")
    plain = {"url": "s3://bucket/pre?endpoint=http://s3.example.com:9000", "token": None}
    message = r"^http://s3\.example\.com:9000: the signed address would go .* or set plain_http: true$"
    with pytest.raises(PublishError, match=message):
        source(tmp_path, **plain)
    with pytest.raises(PublishError, match=message):  # while planning, too
        publishing.check(PublishStore.model_validate({"url": plain["url"]}), "hello", "v1")
    assert source(tmp_path, **plain, plain_http=True).signed
    assert source(tmp_path, url="s3://bucket?endpoint=http://127.0.0.1:9000", token=None).signed
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example.com:9000")  # group data names no endpoint
    with pytest.raises(PublishError, match=message):
        source(tmp_path, url="s3://bucket", token=None)
