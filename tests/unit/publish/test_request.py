"""The exact request of every registry, the addresses of stores, redirects, and what answers mean."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from gofallback.model.publish import PublishStore
from gofallback.publish.address import S3Address, file_root, filled, s3_address
from gofallback.publish.body import Body, form
from gofallback.publish.errors import PublishError, TransientError
from gofallback.publish.files import Item
from gofallback.publish.request import credential_header, origin, upload
from gofallback.publish.s3_errors import error_of
from gofallback.publish.web import followed, refusal
from tests.paths import PROJECT

PAGE = PROJECT / "docs" / "publishing.md"
ITEM = Item("hello-linux-amd64", Path("/nowhere"), 5, "ab" * 32)
OWN = ("https", "x.example.com", 443)
URLS = {
    None: "https://files.example.com/{service}/{version}/{file}",
    "gitlab": "https://gitlab.example.com/api/v4/projects/42",
    "gitea": "https://gitea.example.com/api/packages/OWNER",
    "nexus": "https://nexus.example.com/repository/raw-releases",
    "nexus-components": "https://nexus.example.com/repository/raw-releases/",
    "artifactory": "https://artifactory.example.com/artifactory/generic-local",
}


def store(preset: str | None, **more: Any) -> PublishStore:
    data = {"url": URLS[preset], "preset": preset, "token": {"env": "T"}, **more}
    return PublishStore.model_validate(data)


def lines(data: PublishStore) -> list[str]:
    """The request as the page shows it."""
    sent = upload(data, "hello", "v1.2.0", ITEM)
    name, value = credential_header(data, "TOKEN")
    value = "Basic BASE64" if value.startswith("Basic") else value
    found = [f"{sent.method} {sent.url}", f"{name}: {value}"]
    found += [f"{key}: {text.replace(ITEM.sha256, 'SHA256')}" for key, text in sent.headers.items()]
    found += [f"{key}={text}" for key, text in sent.form]
    return found + ([f"{sent.file_field}=V"] if sent.file_field else [])


@pytest.mark.parametrize("preset", list(URLS))
def test_each_preset_makes_the_request_that_the_page_shows(preset: str | None) -> None:
    block = [
        part for part in PAGE.read_text().split("```") if URLS[preset].partition("/{")[0].split("/repo")[0] in part
    ]
    data = store(preset, user="ci") if preset and preset.startswith("nexus") else store(preset)
    expected = lines(data)
    shown = [[line.split("   ")[0] for line in part.strip().splitlines()] for part in block]
    assert any(all(line in part for line in expected) for part in shown), expected


def test_gitlab_takes_the_token_in_its_own_header_or_in_the_named_one() -> None:
    assert credential_header(store("gitlab"), "abc") == ("PRIVATE-TOKEN", "abc")
    assert credential_header(store("gitlab", header="JOB-TOKEN"), "abc") == ("JOB-TOKEN", "abc")


def test_basic_authentication_is_user_and_token() -> None:
    name, value = credential_header(store("nexus", user="ci"), "pässword")
    assert (name, base64.b64decode(value.removeprefix("Basic ")).decode()) == ("Authorization", "ci:pässword")


def test_nexus_by_its_components_api_is_read_back_from_the_repository() -> None:
    sent = upload(store("nexus-components"), "hello", "v1.2.0", ITEM)
    assert sent.read_url == "https://nexus.example.com/repository/raw-releases/hello/v1.2.0/hello-linux-amd64"


def test_nexus_below_a_prefix_puts_it_into_the_directory() -> None:
    data = store("nexus-components", url="https://nexus.example.com/repository/raw/a/b")
    assert upload(data, "hello", "v1", ITEM).form[0] == ("raw.directory", "/a/b/hello/v1")


def test_a_plain_form_goes_to_the_url_and_is_read_back_elsewhere() -> None:
    data = store(
        None,
        url="https://x.example.com/upload",
        method="post",
        form={"path": "/{service}/{version}"},
        read_url="https://x.example.com/files",
    )
    sent = upload(data, "hello", "v1", ITEM)
    assert (sent.method, sent.url, sent.form) == ("POST", "https://x.example.com/upload", (("path", "/hello/v1"),))
    assert sent.read_url == "https://x.example.com/files/hello/v1/hello-linux-amd64"


def test_placeholders_are_encoded_and_replaced_once() -> None:
    assert filled("https://x/{service}?v={version}", "a", "v1+{file}", "f") == "https://x/a?v=v1%2B%7Bfile%7D"
    assert filled("https://x/a/?k=v", "s", "v", "f") == "https://x/a/s/v/f?k=v"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://releases", S3Address("releases")),
        ("s3://releases/go/x/?region=eu-central-1", S3Address("releases", "go/x", None, "eu-central-1")),
        ("s3://b.c-d?endpoint=http://127.0.0.1:9000", S3Address("b.c-d", "", "http://127.0.0.1:9000")),
    ],
)
def test_s3_addresses(url: str, address: S3Address) -> None:
    assert s3_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "s3:///key",
        "s3://b?endpoint=minio",
        "s3://bucket?endpoint=https://u:p@x",
        "s3://bucket?x=y",
        "s3://bucket?region=",
    ],
)
def test_wrong_s3_addresses_are_refused(url: str) -> None:
    with pytest.raises(PublishError, match="should be"):
        s3_address(url)


def test_a_key_has_prefix_service_version_and_file() -> None:
    assert s3_address("s3://rel/go").key("hello", "v1", "f") == "go/hello/v1/f"
    assert s3_address("s3://rel").key("hello", "v1", "f") == "hello/v1/f"


def test_folders() -> None:
    assert file_root("file:///srv/a%20b") == Path("/srv/a b")
    for wrong in ("file://host/srv", "file:///", "file:///srv/../etc", "file://srv"):
        with pytest.raises(PublishError, match="should be file:// and an absolute path"):
            file_root(wrong)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://x.example.com/a") == origin("https://x.example.com:443/b") == OWN
    assert origin("http://x.example.com/") != OWN


def test_reading_follows_anywhere_but_off_tls() -> None:
    assert (
        followed("GET", 302, "https://x.example.com/a", "https://cdn.example.net/b", OWN) == "https://cdn.example.net/b"
    )
    with pytest.raises(PublishError, match="leaves TLS"):
        followed("GET", 302, "https://x.example.com/a", "http://x.example.com/b", OWN)


@pytest.mark.parametrize(
    ("status", "target", "message"),
    [
        (307, "https://evil.example.net/a", "redirect to another host refused"),
        (308, "https://x.example.com:8443/a", "redirect to another host refused"),
        (302, "https://x.example.com/login", "not a place to publish to"),
        (307, "http://x.example.com/a", "leaves TLS"),
    ],
)
def test_an_upload_goes_nowhere_else(status: int, target: str, message: str) -> None:
    with pytest.raises(PublishError, match=message):
        followed("PUT", status, "https://x.example.com/a", target, OWN)
    assert followed("PUT", 307, "https://x.example.com/a", "https://x.example.com/b", OWN) == "https://x.example.com/b"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "refuses the token of $T"),
        (403, "refuses the token of $T"),
        (404, "no such repository or project"),
        (507, "the store is full"),
        (413, "larger than the server takes"),
        (409, "a name that is taken, or a sum that differs"),
        (405, "is that the right url and preset?"),
    ],
)
def test_what_a_status_means(status: int, message: str) -> None:
    assert message in str(refusal(status, "", "", "https://x/y", "the token of $T"))


def test_a_stores_own_words_are_shown_on_one_line_without_secrets() -> None:
    line = str(refusal(400, "Bad Request", "duplicate\npackage\x1b[31m token=glpat-abcdefgh12345", "https://x/y", "z"))
    assert line.endswith("; it says: duplicate package [31m token=***")
    assert "glpat" not in line and "\n" not in line and "\x1b" not in line


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("NoSuchBucket", 404, "no such bucket"),
        ("AccessDenied", 403, "refuses the credentials"),
        ("InvalidAccessKeyId", 403, "refuses the credentials"),
        ("SignatureDoesNotMatch", 403, "refuses the credentials"),
        ("QuotaExceeded", 403, "the store is full"),
        ("XMinioStorageFull", 507, "the store is full"),
        ("XMinioAdminBucketQuotaExceeded", 400, "the store is full"),
        ("Whatever", 507, "the store is full"),
        ("BadDigest", 400, "hash mismatch: what arrived is not what was sent"),
        ("XAmzContentChecksumMismatch", 400, "hash mismatch: what arrived is not what was sent"),
        ("PermanentRedirect", 301, "the bucket is in another region"),
        ("RequestTimeTooSkewed", 403, "the clock of this machine is wrong"),
    ],
)
def test_what_an_error_of_s3_means(code: str, status: int, message: str) -> None:
    error = error_of("s3://b", "PutObject", {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}})
    assert isinstance(error, PublishError)
    assert message in str(error)


@pytest.mark.parametrize(
    ("code", "status"), [("SlowDown", 503), ("InternalError", 500), ("RequestTimeout", 400), ("SlowDown", 400)]
)
def test_what_s3_asks_to_try_again(code: str, status: int) -> None:
    meta = {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "7"}}
    error = error_of("s3://b", "UploadPart", {"Error": {"Code": code}, "ResponseMetadata": meta})
    assert isinstance(error, TransientError) and error.after == 7


def test_a_form_ends_with_the_file_and_its_length_is_known(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    moved: list[int] = []
    body, kind = form(path, 5, "hello", [("raw.directory", "/a")], "raw.asset1", moved.append)
    with body as opened:
        content = b"".join(opened)
    boundary = kind.partition("boundary=")[2]
    assert len(body) == len(content)
    assert content.decode() == (
        f'--{boundary}\r\nContent-Disposition: form-data; name="raw.directory"\r\n\r\n/a\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="raw.asset1"; filename="hello"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n12345\r\n--{boundary}--\r\n"
    )
    assert moved == [5]


def test_a_file_that_changes_while_it_is_sent_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"1234")
    with Body(path, 5) as body, pytest.raises(PublishError, match="changed while it was sent"):
        list(body)
