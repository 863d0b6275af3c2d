"""The source of a service's modules, and the private ones among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gofallback.model.base import Line, Strict
from gofallback.model.publish import Credential
from gofallback.redact import secrets_in

ModuleSetting = Literal["auto", "vendor", "controller", "download"]

#: Fields of `PrivateModules` and their variables of go.
VARIABLES = {
    "patterns": "GOPRIVATE",
    "no_proxy": "GONOPROXY",
    "no_sumdb": "GONOSUMDB",
    "insecure": "GOINSECURE",
    "proxy": "GOPROXY",
    "sumdb": "GOSUMDB",
    "vcs": "GOVCS",
}


def _pattern(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9*?\[\]._~/-]+", value) or value.startswith(("-", "/")):
        raise ValueError("should be a pattern of module paths such as git.example.com/team/*")
    return value


def _no_secret(value: str) -> str:
    if any(secrets_in(value)):
        raise ValueError("holds a password; remove it and name its place in `logins`")
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]
Setting = Annotated[Line, AfterValidator(_no_secret)]


class ModuleLogin(Strict):
    """The controller's login for a server of modules, where it has no credential helper, key or netrc for it."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$")] = Field(
        description="server, with its port where it is not 443"
    )
    user: Annotated[str, Field(pattern=r"^[^\s:]+$")] = Field(
        default="git", description="user name; most servers accept any with a token"
    )
    token: Credential = Field(description="place of the token or password on the controller")


class PrivateModules(Strict):
    """go's settings for private modules; each field is the variable of go in its description."""

    patterns: list[Pattern] = Field(
        default_factory=list,
        description="GOPRIVATE: modules that are not requested from a public proxy or checksum database",
    )
    no_proxy: list[Pattern] | None = Field(default=None, description="GONOPROXY; default: patterns")
    no_sumdb: list[Pattern] | None = Field(
        default=None, description="GONOSUMDB; default: patterns. go.sum is still verified"
    )
    insecure: list[Pattern] = Field(
        default_factory=list,
        description="GOINSECURE: modules that may be downloaded over http; go.sum is still verified",
    )
    proxy: Setting | None = Field(
        default=None, description="GOPROXY of the machine that downloads; default: as set there, or go's own"
    )
    sumdb: Setting | None = Field(
        default=None,
        description="GOSUMDB; `off` is possible, since a module that is not in go.sum is refused",
    )
    vcs: Annotated[str, Field(pattern=r"^[\w.*?/,:|-]+$")] | None = Field(
        default=None, description="GOVCS: version control programs that may be used, such as private:git,public:off"
    )
    logins: list[ModuleLogin] = Field(
        default_factory=list,
        description="credentials of the controller, one for each server; only with modules: controller",
    )

    @model_validator(mode="after")
    def _once(self) -> PrivateModules:
        hosts = [login.host.lower() for login in self.logins]
        twice = next((host for host in hosts if hosts.count(host) > 1), None)
        if twice:
            raise ValueError(f"logins: {twice} has two entries; remove one")
        return self

    @property
    def secret_variables(self) -> set[str]:
        """Variables of the controller that hold a secret."""
        return {login.token.env for login in self.logins if login.token.env}

    def variables(self) -> dict[str, str]:
        """The variables of go that these settings set."""
        found = {}
        for name, variable in VARIABLES.items():
            value = getattr(self, name)
            if value:
                found[variable] = ",".join(value) if isinstance(value, list) else value
            elif value == [] and name in ("no_proxy", "no_sumdb"):
                found[variable] = "none"  # overrides `patterns`
        return found


def go_sum_problem(environment: Mapping[str, str]) -> str | None:
    """The clause about a flag that would let a build change go.sum, or None."""
    for word in environment.get("GOFLAGS", "").split():
        if re.fullmatch(r"--?mod=mod", word):
            return (
                "GOFLAGS should not hold -mod=mod: go would add missing lines to go.sum, so that nothing is verified; "
                "run `go mod tidy` in the source and commit go.sum"
            )
    return None


def _sets_modfile(environment: Mapping[str, str]) -> bool:
    return any(re.match(r"--?modfile(=|$)", word) for word in environment.get("GOFLAGS", "").split())


def modules_problem(modules: ModuleSetting, private: PrivateModules, environment: Mapping[str, str]) -> str | None:
    """A conflict between ``build.modules``, ``build.private`` and ``build.environment``, or None."""
    twice = sorted(set(private.variables()) & set(environment))
    if twice:
        return f"{twice[0]} is set in build.private and in build.environment; remove one of them"
    if (modules == "controller" or private.logins) and _sets_modfile(environment):
        what = "modules: controller" if modules == "controller" else "private.logins"
        return (
            f"{what} does not work with -modfile in GOFLAGS: the controller sends the modules of the commit's go.mod "
            "and go.sum; put that file in their place, or set modules: vendor or download"
        )
    if private.logins and modules in ("vendor", "download"):
        return (
            f"private.logins do not work with modules: {modules}: a credential never gets to a builder; "
            "set modules: controller, which sends the modules without any"
        )
    return None
