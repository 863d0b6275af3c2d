"""What sounds like a secret, what is known to be one, and that neither is written down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gofallback import redact as module
from gofallback.deploys.run.options import parse_options
from gofallback.operations.command import Command
from gofallback.operations.gocmd import append_log
from gofallback.redact import hide, names_secret, redact, redacted, secrets_in
from tests.unit.services import service


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_known", set())
    yield


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Authorization: Digest abc def", "Authorization: ***"),
        ("authorization=Token 0123456789", "authorization=***"),
        ("Cookie: a=b; c=d", "Cookie: ***"),
        ("GET https://deploy-token@git.example.com/x", "GET https://***@git.example.com/x"),
        ("ssh://git@git.example.com/x", "ssh://git@git.example.com/x"),
        ("etcd://root:hunter2@10.0.0.1:2379", "etcd://root:***@10.0.0.1:2379"),
        ("aws_access_key=abc db_pwd: xyz dsn=postgres", "aws_access_key=*** db_pwd: *** dsn=***"),
        ("tokens=abc", "tokens=***"),
        ("the key is: unknown; should be key, see author: bob", "the key is: unknown; should be key, see author: bob"),
        ("it passed: 3 of 3, by pass: none", "it passed: 3 of 3, by pass: none"),
    ],
)
def test_secrets_in_text_are_found_by_their_form_and_sentences_are_left_alone(written: str, kept: str) -> None:
    assert redact(written) == kept


@pytest.mark.parametrize(
    "name", ["DB_PASSWORD", "apiKey", "SESSION_SALT", "PGPASS", "X-Auth", "SENTRY_DSN", "SIGNATURE"]
)
def test_names_of_variables_and_headers_that_sound_like_a_secret(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize("name", ["HELLO_ADDR", "PORT", "LANG", "Host"])
def test_names_that_do_not(name: str) -> None:
    assert not names_secret(name)


def test_names_that_mean_other_things_in_our_own_data_do_not_count_there() -> None:
    row = {"key": "SHA256:abc", "signature": "x.sig", "auth": "ssh", "ssh_password": "hunter2hunter2", "token": ""}
    assert redacted(row) == {**row, "ssh_password": "***"}


DATA = {
    "ssh_user": "deploy",
    "ssh_key": "/home/alice/.ssh/id_ed25519",
    "ssh_password": "canary-ssh-1",
    "_sudo_password": "canary-sudo-1",
    "rollout": {"lease": "etcd://root:canary-etcd-1@10.0.0.1:2379"},
    "services": [
        {
            "name": "hello",
            "source": {"repository": "https://bob:canary%2Furl-1@git.example.com/x"},
            "unit": {"environment": {"HELLO_ADDR": ":8080", "LICENSE_KEY": "canary-env-1"}},
            "health": {"check": {"headers": {"X-Auth": "Bearer canary-header-1", "Host": "hello.example.com"}}},
        }
    ],
}


def test_every_secret_of_the_data_is_known_and_then_found_in_whatever_a_host_says() -> None:
    hide(secrets_in(DATA))
    secrets = ["ssh-1", "sudo-1", "etcd-1", "url-1", "env-1", "header-1"]
    said = " ".join(f"panic: 'canary-{name}'" for name in secrets) + " canary/url-1 canary%2Furl-1"
    assert "canary-" not in redact(said).replace("canary-url-1", "")
    assert "canary/" not in redact(said)
    assert "canary%" not in redact(said)
    for plain in ("deploy", ":8080", "hello.example.com", "/home/alice/.ssh/id_ed25519"):
        assert redact(plain) == plain


def test_short_values_are_not_cut_out_of_every_line() -> None:
    hide(secrets_in({"environment": {"TOKEN": "abc"}}))
    assert redact("abc abcdef") == "abc abcdef"


def test_a_reason_is_clean_before_it_goes_anywhere() -> None:
    said = {
        "reason": "see https://bob:canary-1@x/y",
        "override_freeze": "token=canary-2",
        "break_glass": "pwd: canary-3",
    }
    options = parse_options(said, frozenset())
    assert "canary" not in f"{options.reason} {options.override_freeze} {options.break_glass}"
    assert options.reason == "see https://bob:***@x/y"


def test_what_pyinfra_or_a_traceback_prints_of_the_data_holds_no_secret() -> None:
    given = service(
        source={"repository": "https://canary-url-1@git.example.com/x"},
        extra_files={"app.toml": "canary-file-1"},
        unit={"environment": {"HELLO_ADDR": ":8080", "LICENSE_KEY": "canary-env-1"}},
        health={
            "check": {"type": "http", "url": "http://127.0.0.1:8080/", "headers": {"Authorization": "Bearer canary-1"}}
        },
    )
    assert given.unit.environment["LICENSE_KEY"] == "canary-env-1"
    for shown in (repr(given), str(given), f"{[given]}"):
        assert "canary" not in shown
        assert "'HELLO_ADDR': ':8080'" in shown


@pytest.mark.parametrize(
    "environment", [{"GOPROXY": "https://bob:canary-1@proxy.example.com"}, {"NPM_TOKEN": "canary-1"}]
)
def test_a_password_for_go_is_sent_where_no_manifest_holds_it(environment: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="should not hold a password") as refused:
        service(build={"environment": environment})
    assert "canary" not in str(refused.value).partition("[type=")[0]
    assert service(build={"environment": {"GOPROXY": "https://proxy.example.com,direct", "GOPRIVATE": "x.com"}})


def test_what_a_build_says_is_kept_without_its_secrets(tmp_path: Path) -> None:
    hide(secrets_in({"builder": {"environment": {"GOPROXY": "https://bob:canary-1@proxy.example.com"}}}))
    command = Command("hello", "go build .", {}, 60, tmp_path / "build.log", "/home/b/g")
    append_log(command, "GET https://proxy.example.com: 403 for bob canary-1", 1.0, None)
    assert command.log.read_text() == ("$ go build .\nGET https://proxy.example.com: 403 for bob ***\n# ok, 1.0 s\n\n")


def test_a_long_line_does_not_take_long() -> None:
    began = time.monotonic()
    redact("a" * 1_000_000 + " https://" + "b" * 1_000_000 + "token" * 100_000)
    assert time.monotonic() - began < 5
