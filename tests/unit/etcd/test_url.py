"""The address of an etcd in group data: read, refused, and never shown with its password."""

from __future__ import annotations

from pathlib import Path

import pytest

from gofallback.etcd.lease import EtcdLease
from gofallback.etcd.url import EtcdUrl, EtcdUrlError
from gofallback.model import parse_fleet
from gofallback.model.base import DataError


@pytest.mark.parametrize(
    ("text", "members", "login", "shown"),
    [
        ("etcd://a", (("a", 2379),), ("", ""), "etcd://a:2379"),
        ("etcd://a:1,b.c:2/", (("a", 1), ("b.c", 2)), ("", ""), "etcd://a:1,b.c:2"),
        ("etcd://u:p@a,[::1]:7", (("a", 2379), ("::1", 7)), ("u", "p"), "etcd://u@a:2379,[::1]:7"),
        ("etcds://u%40x:p%3A%40%2F@a", (("a", 2379),), ("u@x", "p:@/"), "etcds://u@x@a:2379"),
        ("etcd://u:p@ss@a", (("a", 2379),), ("u", "p@ss"), "etcd://u@a:2379"),
    ],
)
def test_an_address_is_read_and_shown_without_its_password(
    text: str, members: tuple[tuple[str, int], ...], login: tuple[str, str], shown: str
) -> None:
    found = EtcdUrl.parse(text)
    assert (found.members, (found.user, found.secret()), str(found)) == (members, login, shown)
    assert found.tls is text.startswith("etcds")
    if login[1]:
        assert f"'{login[1]}'" not in repr(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://u:hunter2@a", "expected etcd://"),
        ("etcd://u:hunter2@", "one of its hosts cannot be read"),
        ("etcd://u:hunter2@a:99999", "one of its hosts cannot be read"),
        ("etcd://u:hunter2@a,,b", "one of its hosts cannot be read"),
        ("etcd://u:hunter2@a?retries=3", "unknown option retries"),
        ("etcd://u:hunter2@a?ca=/x", "ca is for etcds"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_in_one_line(text: str, expected: str) -> None:
    with pytest.raises(EtcdUrlError) as refused:
        EtcdUrl.parse(text)
    assert expected in str(refused.value) and "hunter2" not in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["etcd//u:hunter2@h", "etcd://u:hunter2@h h", "etc://u:hunter2@h", "etcd:u:hunter2@h"])
def test_mistyped_group_data_does_not_show_the_password_either(text: str) -> None:
    with pytest.raises(DataError) as refused:
        parse_fleet({"services": [], "rollout": {"lease": text}})
    assert "rollout.lease" in str(refused.value) and "hunter2" not in str(refused.value)


def test_a_password_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret word\n")
    assert EtcdUrl.parse(f"etcd://u@a?password_file={file}").secret() == "s3cret word"
    with pytest.raises(EtcdUrlError, match=r"password_file .*No such file"):
        EtcdUrl.parse(f"etcd://u@a?password_file={tmp_path}/none").secret()


def test_a_lease_in_etcd_is_shown_without_the_password() -> None:
    lease = EtcdLease("etcd://u:hunter2@a", "prod", ["hello"], 30, "r", "w")
    assert "hunter2" not in f"{lease!r} {lease} {lease.where!r}"
