"""Group data about modules that contradicts itself is refused."""

from __future__ import annotations

from typing import Any

import pytest

from gofallback.model import DataError, parse_fleet
from tests.unit.services import MINIMAL


def refused(**build: Any) -> str:
    with pytest.raises(DataError) as error:
        parse_fleet({"services": [MINIMAL | {"build": build}]})
    assert "\n" not in str(error.value)
    return str(error.value)


def refused_not(**build: Any) -> bool:
    return bool(parse_fleet({"services": [MINIMAL | {"build": build}]}))


def test_mod_mod_is_refused_as_nothing_would_be_verified() -> None:
    text = refused(environment={"GOFLAGS": "-trimpath -mod=mod"})
    assert "go.sum" in text
    assert "go mod tidy" in text


@pytest.mark.parametrize(
    "way", [{"modules": "controller"}, {"private": {"logins": [{"host": "git.example.com", "token": {"env": "T"}}]}}]
)
def test_another_go_mod_is_refused_where_the_controller_brings_what_the_usual_one_names(way: dict[str, Any]) -> None:
    for flag in ("-modfile=other.mod", "-trimpath --modfile=x.mod"):
        assert "does not work with -modfile in GOFLAGS" in refused(environment={"GOFLAGS": flag}, **way)
    assert refused_not(environment={"GOFLAGS": "-modfile=other.mod"}, modules="download")


def test_a_credential_never_goes_with_a_way_that_runs_on_the_builder() -> None:
    login = {"host": "git.example.test", "token": {"env": "TOKEN"}}
    text = refused(modules="download", private={"logins": [login]})
    assert "a credential never gets to a builder" in text
    assert "controller" in text


def test_what_is_said_twice_is_refused() -> None:
    text = refused(private={"patterns": ["a.test"]}, environment={"GOPRIVATE": "b.test"})
    assert "GOPRIVATE is set in build.private and in build.environment" in text
    login = {"host": "git.example.test", "token": {"env": "TOKEN"}}
    assert "git.example.test has two entries; remove one" in refused(private={"logins": [login, login]})


def test_a_password_in_an_address_is_refused() -> None:
    text = refused(private={"proxy": "https://me:hunter2222@proxy.example.test"})
    assert "logins" in text
    assert "hunter2222" not in text
