"""The stores that artifacts of a version are published to."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, model_validator

from gofallback.model.base import AbsolutePath, EnvName, Line, Name, Strict
from gofallback.redact import names_secret

Preset = Literal["gitlab", "gitea", "nexus", "nexus-components", "artifactory"]
#: Placeholders in the path of an http store.
PLACEHOLDERS = ("service", "version", "file")
#: Form of the repository address of each preset, and an example for the error.
_SHAPES: dict[str, tuple[str, str]] = {
    "gitlab": (r"/api/v4/projects/[^/]+$", "https://gitlab.example.com/api/v4/projects/42"),
    "gitea": (r"/api/packages/[^/]+$", "https://gitea.example.com/api/packages/OWNER"),
    "nexus": (r"/repository/[^/]+(/.+)?$", "https://nexus.example.com/repository/raw-releases"),
    "nexus-components": (r"/repository/[^/]+(/.+)?$", "https://nexus.example.com/repository/raw-releases"),
    "artifactory": (r"://[^/]+/.*[^/]$", "https://artifactory.example.com/artifactory/generic-local"),
}
#: Headers that decide how a request is read; they never carry a credential (RFC 9110, 5.1 and 7).
_FRAMING = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        user, _ = parts.username, parts.port
    except ValueError:
        raise ValueError("is no address: its host or port cannot be read") from None
    if user is not None or parts.password is not None:
        raise ValueError("holds a user or a password; remove it and name its place with `user` and `token`")
    if any(names_secret(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError("holds a credential after the '?'; remove it and name its place with `token`")
    if parts.scheme in ("http", "https"):
        if re.search(r"[{}]", re.sub(rf"\{{({'|'.join(PLACEHOLDERS)})\}}", "", value)):
            raise ValueError("should have no placeholders but {service}, {version} and {file}")
        if parts.fragment or not parts.hostname:
            raise ValueError("should be an address with a host and without '#'")
    return value


def _header(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value) or value.lower() in _FRAMING:
        raise ValueError("should be the name of a header such as PRIVATE-TOKEN")
    return value


Address = Annotated[str, Field(pattern=r"^(file|s3|https?)://\S+$"), AfterValidator(_address)]


class Credential(Strict):
    """The place of a secret, never the secret itself. One of the two."""

    env: EnvName | None = Field(default=None, description="name of an environment variable of the controller")
    file: Line | None = Field(default=None, description="path of a file on the controller; the line end is removed")

    @model_validator(mode="after")
    def _one(self) -> Credential:
        if (self.env is None) == (self.file is None):
            raise ValueError("should have one of env and file")
        return self


class PublishStore(Strict):
    """A store that artifacts are published to. docs/publishing.md has an example of each kind."""

    url: Address = Field(
        description="`file:///folder`, `s3://bucket/prefix?endpoint=...&region=...`, or `https://` with {service}, "
        "{version} and {file} in its path (default: at its end); with a preset: the repository's address"
    )
    preset: Preset | None = Field(default=None, description="kind of registry; default: plain http")
    method: Literal["put", "post"] = Field(
        default="put",
        description="plain http: the file is the body (put), or a part of a form (post; multipart/form-data)",
    )
    file_field: Line = Field(default="file", description="method post: name of the form field with the file")
    form: dict[Line, Line] = Field(
        default_factory=dict, description="method post: more fields; {service}, {version} and {file} are replaced"
    )
    read_url: Address | None = Field(
        default=None, description="method post: address to read the file back from; required there, same placeholders"
    )
    token: Credential | None = Field(
        default=None, description="place of the token or password; not for s3, which uses the usual chain of AWS"
    )
    user: Line | None = Field(
        default=None, description="basic authentication with this name; the token is the password"
    )
    header: Annotated[str, AfterValidator(_header)] | None = Field(
        default=None,
        description="header for the token, such as JOB-TOKEN; default: the preset's, or `Authorization: Bearer`",
    )
    read_token: Credential | None = Field(
        default=None,
        description="place of the token for targets that pull; default: they pull without one. It may be the place of "
        "`token`, but a token that can only read is better",
    )
    read_user: Line | None = Field(
        default=None, description="targets that pull: basic authentication with this name and the read_token"
    )
    read_header: Annotated[str, AfterValidator(_header)] | None = Field(
        default=None, description="targets that pull: header for the read_token; default: as for `token`"
    )
    plain_http: bool = Field(
        default=False,
        description="send tokens, and let targets pull with signed addresses, over http://, where everybody on the "
        "network path can read them",
    )
    ca: AbsolutePath | None = Field(default=None, description="PEM file with the certificate authority of the store")
    overwrite: bool = Field(default=False, description="replace a published file that has other content")
    read_back: bool = Field(
        default=False, description="read every file back, also from a store that reports the SHA-256 it has checked"
    )
    archives: bool = Field(default=False, description="also publish a tar.gz (windows: zip) of each platform")
    attempts: Annotated[int, Field(ge=1, le=20)] = Field(default=5, description="attempts for each request")
    timeout: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=60, description="seconds without a byte after which the store counts as unreachable"
    )

    @model_validator(mode="after")
    def _fits(self) -> PublishStore:
        scheme = self.url.split("://")[0]
        if scheme in ("file", "s3"):
            only: tuple[str, ...] = ("preset", "token", "user", "header", "read_url", "form")
            only += ("read_token", "read_user", "read_header") + (("ca",) if scheme == "file" else ())
            given = [name for name in only if getattr(self, name)] + (["method"] if self.method != "put" else [])
            if given:
                how = "; its credentials come from the usual chain of AWS" if scheme == "s3" else ""
                raise ValueError(f"{', '.join(given)}: not for {scheme}://{how}")
            return self
        self._http()
        return self

    def _http(self) -> None:
        if (self.user or self.header) and self.token is None:
            raise ValueError("user and header need a token")
        if self.user and self.header:
            raise ValueError("should have one of user and header")
        if (self.read_user or self.read_header) and self.read_token is None:
            raise ValueError("read_user and read_header need a read_token")
        if self.read_user and self.read_header:
            raise ValueError("should have one of read_user and read_header")
        if self.preset:
            shape, example = _SHAPES[self.preset]
            if "{" in self.url or "?" in self.url or not re.search(shape, self.url.rstrip("/")):
                raise ValueError(f"url: for {self.preset} an address such as {example}")
            if self.method != "put" or self.form or self.read_url:
                raise ValueError("method, form and read_url are set by the preset; remove them")
        if ":" in (self.user or "") + (self.read_user or ""):
            raise ValueError("user: basic authentication cannot send a ':' in a name")
        if self.method == "post" and not (self.read_url or "").startswith("http"):
            raise ValueError("method post needs read_url, an http address that the file is read back from")
        if self.method == "put" and (self.form or self.read_url):
            raise ValueError("form and read_url are for method post")


class Publish(Strict):
    """The stores that `gofallback publish` can name. The command belongs to no host and reads group_data/all.py."""

    stores: Annotated[dict[Name, PublishStore], Field(min_length=1)] = Field(description="the stores, by name")
    default: Name | None = Field(default=None, description="the store without `--to`; default: the only one")

    def store_name(self, name: str | None) -> str | None:
        """The store of this name, the default or the only one; None: several stores, and no default."""
        return name or self.default or (next(iter(self.stores)) if len(self.stores) == 1 else None)

    @model_validator(mode="after")
    def _known(self) -> Publish:
        if self.default is not None and self.default not in self.stores:
            raise ValueError(f"default: no such store; known: {', '.join(self.stores)}")
        return self
