"""`publish` in the group data: what is taken, and the one line for what is not."""

from __future__ import annotations

from typing import Any

import pytest

from gofallback.model.base import DataError
from gofallback.model.fleet import parse_publish
from gofallback.model.publish import PublishStore


def parsed(**store: Any) -> PublishStore:
    return parse_publish({"stores": {"s": store}}, "group_data/all.py").stores["s"]


@pytest.mark.parametrize(
    "store",
    [
        {"url": "file:///srv/releases"},
        {"url": "s3://releases/go?endpoint=https://minio.example.com&region=x"},
        {"url": "https://x.example.com/a", "token": {"env": "T"}},
        {"url": "https://x.example.com/{service}/{version}/{file}", "token": {"file": "~/t"}, "user": "ci"},
        {"url": "https://x.example.com/up", "method": "post", "read_url": "https://x.example.com/down"},
        {"url": "https://gitlab.example.com/api/v4/projects/a%2Fb", "preset": "gitlab", "token": {"env": "T"}},
    ],
)
def test_each_kind_of_store_is_taken(store: dict[str, Any]) -> None:
    assert parsed(**store).url == store["url"]


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ({"url": "ftp://x/y"}, "publish.stores.s.url: should be a file://, s3://, http:// or https:// address"),
        ({"url": "https://x.example.com:port/"}, "is no address"),
        ({"url": "https:///path"}, "should be an address with a host"),
        ({"url": "https://x.example.com/{name}"}, "no placeholders but {service}, {version} and {file}"),
        ({"url": "https://x.example.com/{file"}, "no placeholders but {service}, {version} and {file}"),
        ({"url": "file:///srv", "token": {"env": "T"}}, "token: not for file://"),
        (
            {"url": "s3://b", "token": {"env": "T"}},
            "token: not for s3://; its credentials come from the usual chain of AWS",
        ),
        ({"url": "https://x/y", "token": {}}, "should have one of env and file"),
        ({"url": "https://x/y", "token": {"env": "A", "file": "b"}}, "should have one of env and file"),
        ({"url": "https://x/y", "user": "ci"}, "user and header need a token"),
        ({"url": "https://x/y", "token": {"env": "T"}, "user": "a", "header": "B"}, "one of user and header"),
        ({"url": "https://x/y", "token": {"env": "T"}, "header": "A: b"}, "should be the name of a header"),
        ({"url": "https://x/y", "token": {"env": "T"}, "header": "Host"}, "should be the name of a header"),
        ({"url": "https://x/y", "preset": "gitlab"}, "for gitlab an address such as https://gitlab.example.com/api/v4"),
        ({"url": "https://x/y", "preset": "github"}, "publish.stores.s.preset: should be 'gitlab'"),
        ({"url": "https://x/y", "method": "post"}, "method post needs read_url"),
        ({"url": "https://x/y", "form": {"a": "b"}}, "form and read_url are for method post"),
        ({"url": "https://x/y", "attempts": 0}, "publish.stores.s.attempts: should be at least 1"),
        ({"url": "https://x/y", "overwite": True}, "unknown key (did you mean 'overwrite'?)"),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_key(store: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as refused:
        parsed(**store)
    assert said in str(refused.value)
    assert "group_data/all.py" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "store",
    [
        {"url": "https://ci:s3cr3t-w0rd@x.example.com/y"},
        {"url": "https://s3cr3t-w0rd@x.example.com/y"},
        {"url": "https://x.example.com/y?private_token=s3cr3t-w0rd"},
        {"url": "https://x.example.com/y", "token": "s3cr3t-w0rd"},
        {"url": "https://x.example.com/y", "token": {"value": "s3cr3t-w0rd"}},
    ],
)
def test_a_secret_in_the_data_is_refused_and_not_shown(store: dict[str, Any]) -> None:
    with pytest.raises(DataError) as refused:
        parsed(**store)
    assert "s3cr3t-w0rd" not in str(refused.value)


def test_the_default_has_to_be_known() -> None:
    with pytest.raises(DataError, match="default: no such store; known: s"):
        parse_publish({"default": "t", "stores": {"s": {"url": "file:///srv"}}}, "group_data/all.py")
