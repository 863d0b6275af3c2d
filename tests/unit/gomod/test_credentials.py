"""Credentials for go on the controller: in memory only."""

from __future__ import annotations

import pytest

from gofallback.gomod.credentials import ModuleSecretError, handles
from gofallback.model.modules import PrivateModules
from gofallback.redact import redact


def login_of(environment: dict[str, str]) -> dict[str, str]:
    private = PrivateModules.model_validate({"logins": [{"host": "git.example.test", "token": {"env": "TOKEN"}}]})
    with handles(private.logins, environment, environment) as given:
        return dict(given.environment)


def test_the_environment_of_a_login_holds_no_secret() -> None:
    environment = login_of({"TOKEN": "glorious-token-1", "GIT_CONFIG_COUNT": "1", "GOAUTH": "git /srv"})
    assert "glorious-token-1" not in str(environment)
    assert environment["GIT_CONFIG_COUNT"] == "3"
    assert (
        environment["GIT_CONFIG_KEY_1"]
        == environment["GIT_CONFIG_KEY_2"]
        == "credential.https://git.example.test.helper"
    )
    assert environment["GIT_CONFIG_VALUE_1"] == ""
    assert environment["GOAUTH"].startswith("git /srv; ")
    assert "glorious-token-1" not in redact("fatal: glorious-token-1")


def test_a_login_without_its_secret_is_an_error_before_anything_runs() -> None:
    with pytest.raises(ModuleSecretError, match=r"git\.example\.test: environment variable TOKEN"):
        login_of({})
