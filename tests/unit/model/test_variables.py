"""Variables in group data: secrets and what decides the bytes have places of their own, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from gofallback.model import DataError, Fleet, parse_fleet

MINIMAL: dict[str, Any] = {
    "name": "hello",
    "source": {"repository": "/srv/hello.git"},
    "health": {"check": {"type": "tcp", "address": "127.0.0.1:8080"}},
}


def builder(**environment: str) -> Fleet:
    return parse_fleet({"services": [MINIMAL], "builder": {"environment": environment}})


def refused(**environment: str) -> str:
    with pytest.raises(DataError) as error:
        builder(**environment)
    text = str(error.value)
    assert text.startswith("builder.environment: ") and "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "http://bob:s3cret-1@proxy.example.com:3128"),
        ("GOPROXY", "https://s3cret-1@goproxy.example.com"),
        ("MODULE_TOKEN", "s3cret-1"),
        ("https_password", "s3cret-1"),
        ("GIT_SSL_KEY_TEXT", "ghp_s3cret1s3cret1s3cret1"),
    ],
)
def test_a_secret_is_refused_for_a_builder_without_being_shown(name: str, value: str) -> None:
    text = refused(**{name: value})
    assert name in text and "every login there may read" in text and "build.private.logins" in text
    assert "s3cret" not in text


@pytest.mark.parametrize("name", ["GOFLAGS", "GOAMD64", "GO386", "GOARM", "GOEXPERIMENT", "GOFIPS140", "goamd64"])
def test_what_decides_the_bytes_is_sent_where_it_is_part_of_the_key(name: str) -> None:
    text = refused(**{name: "v3"})
    assert name in text and "artifact's key" in text and "build.environment" in text
    assert parse_fleet({"services": [MINIMAL | {"build": {"environment": {name: "v3"}}}]})


@pytest.mark.parametrize("name", ["CC", "CGO_LDFLAGS", "CGO_CFLAGS_ALLOW", "PKG_CONFIG"])
def test_a_c_compiler_is_sent_to_cgo(name: str) -> None:
    assert "build.cgo" in refused(**{name: "x"})


@pytest.mark.parametrize("name", ["GOOS", "Path", "CGO_ENABLED", "GOENV", "GIT_DIR", "TEMP"])
def test_what_would_be_ignored_is_refused(name: str) -> None:
    assert f"{name} is set by gofallback; remove it" in refused(**{name: "x"})
    with pytest.raises(DataError, match="is set by gofallback"):
        parse_fleet({"services": [MINIMAL | {"build": {"environment": {name: "x"}}}]})


def test_how_a_builder_reaches_others_is_its_own_business() -> None:
    given = {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost", "GOPROXY": "https://goproxy.example.com"}
    assert builder(**given).builder.environment == given
