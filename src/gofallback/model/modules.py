"""Where a service's modules come from, and what is private among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gofallback.model.base import Line, Strict
from gofallback.model.publish import Credential
from gofallback.redact import secrets_in

ModuleWay = Literal["auto", "vendor", "controller", "download"]

#: Fields of `PrivateModules` and the variables of go they become.
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
        raise ValueError("holds a password; take it out and name its place in `logins`")
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]
Setting = Annotated[Line, AfterValidator(_no_secret)]


class ModuleLogin(Strict):
    """How the controller logs in to one server of modules, where it has no credential helper, key or netrc for it."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$")] = Field(
        description="server, with its port where it is not 443"
    )
    user: Annotated[str, Field(pattern=r"^[^\s:]+$")] = Field(
        default="git", description="user name; most servers take any beside a token"
    )
    token: Credential = Field(description="where the token or password is, on the controller")


class PrivateModules(Strict):
    """What go is told about private modules; each field is the variable of go it names."""

    patterns: list[Pattern] = Field(
        default_factory=list,
        description="GOPRIVATE: modules that no public proxy and no checksum database is asked for",
    )
    no_proxy: list[Pattern] | None = Field(default=None, description="GONOPROXY; default: patterns")
    no_sumdb: list[Pattern] | None = Field(
        default=None, description="GONOSUMDB; default: patterns. go.sum is verified all the same"
    )
    insecure: list[Pattern] = Field(
        default_factory=list, description="GOINSECURE: modules that may come over http; go.sum is verified all the same"
    )
    proxy: Setting | None = Field(
        default=None, description="GOPROXY of the machine that downloads; default: as set there, else go's own"
    )
    sumdb: Setting | None = Field(
        default=None,
        description="GOSUMDB; `off` is possible, since a module that go.sum does not name is refused anyway",
    )
    vcs: Annotated[str, Field(pattern=r"^[\w.*?/,:|-]+$")] | None = Field(
        default=None, description="GOVCS: version control programs that may be used, such as private:git,public:off"
    )
    logins: list[ModuleLogin] = Field(
        default_factory=list, description="credentials of the controller, one a server; modules: controller only"
    )

    @model_validator(mode="after")
    def _once(self) -> PrivateModules:
        hosts = [login.host.lower() for login in self.logins]
        twice = next((host for host in hosts if hosts.count(host) > 1), None)
        if twice:
            raise ValueError(f"logins: {twice} is there twice")
        return self

    @property
    def variables_named(self) -> set[str]:
        """Variables of the controller that hold a secret."""
        return {login.token.env for login in self.logins if login.token.env}

    def variables(self) -> dict[str, str]:
        """Go's variables that are said here; what is not said is left out."""
        found = {}
        for name, variable in VARIABLES.items():
            value = getattr(self, name)
            if value:
                found[variable] = ",".join(value) if isinstance(value, list) else value
            elif value == [] and name in ("no_proxy", "no_sumdb"):
                found[variable] = "none"  # whatever `patterns` says
        return found


def weakens(environment: Mapping[str, str]) -> str | None:
    """What in an environment for go would let a build change go.sum; one clause, or None."""
    for word in environment.get("GOFLAGS", "").split():
        if re.fullmatch(r"--?mod=mod", word):
            return (
                "GOFLAGS should not hold -mod=mod: go would add to go.sum what it lacks, so that nothing is verified; "
                "run `go mod tidy` in the source and commit go.sum"
            )
    return None


def _modfile(environment: Mapping[str, str]) -> bool:
    return any(re.match(r"--?modfile(=|$)", word) for word in environment.get("GOFLAGS", "").split())


def clash(modules: ModuleWay, private: PrivateModules, environment: Mapping[str, str]) -> str | None:
    """What of ``build.modules``, ``build.private`` and ``build.environment`` does not fit together, or None."""
    twice = sorted(set(private.variables()) & set(environment))
    if twice:
        return f"{twice[0]} is said in build.private and in build.environment; remove one of them"
    if (modules == "controller" or private.logins) and _modfile(environment):
        what = "modules: controller" if modules == "controller" else "private.logins"
        return (
            f"{what} does not go with -modfile in GOFLAGS: the controller brings what go.mod and go.sum of the commit "
            "name; put that file in their place, or set modules: vendor or download"
        )
    if private.logins and modules in ("vendor", "download"):
        return (
            f"private.logins do not go with modules: {modules}: a credential never gets to a builder; "
            "set modules: controller, which brings the modules without any"
        )
    return None
