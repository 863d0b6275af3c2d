"""A service: source, build, unit, health."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, field_validator, model_validator

from gofallback.model.base import AbsolutePath, Line, Name, RelativePath, Strict
from gofallback.model.binaries import Archives, ReleaseFile, ReleasePath, secret_values
from gofallback.model.build import Build
from gofallback.model.health import Health, Port
from gofallback.model.source import Source
from gofallback.model.unit import Unit


class Service(Strict):
    """A service; one file in ``group_data/services/``."""

    name: Name = Field(description="also the name of the unit; default: the name of the YAML file")
    source: Source = Field(description="the commit to build")
    build: Build = Field(default_factory=Build, description="how its binaries are built")
    unit: Unit = Field(default_factory=Unit, description="how it runs")
    health: Health = Field(description="its health check")
    port: Port | None = Field(default=None, description="TCP port it listens on; unique among the services")
    socket_activation: bool = Field(
        default=False,
        description="systemd listens on `port` and passes the socket on, so that a restart refuses no connection",
    )
    smoke: list[Line] = Field(
        default_factory=list,
        description="arguments for the binary; the command has to succeed on the first target before the switch",
    )
    smoke_expect: Line | None = Field(
        default=None, description="RE2/Python pattern in the output of the smoke command; {version} is replaced"
    )
    extra_files: dict[RelativePath, str] = Field(
        default_factory=dict, description="text files of conf/ (name: content)"
    )
    files: dict[ReleasePath, ReleaseFile] = Field(
        default_factory=dict,
        description="files of a release, by their path in it: lib/..., conf/...; a path with `/` at its end is a "
        "folder, whose files keep their names (docs/binaries-and-files.md)",
    )
    values: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="`values` in templates of `files`; service_overrides change single ones. No secrets",
    )
    archives: Archives = Field(
        default_factory=Archives, description="archives of a version for download (`gofallback archive`)"
    )
    keep_releases: Annotated[int, Field(ge=2, le=100)] = Field(
        default=5, description="releases to keep on a target, besides current, previous and last-known-good"
    )
    root: AbsolutePath | None = Field(default=None, description="folder on a target; default: /opt/<name>")

    @model_validator(mode="after")
    def _consistent(self) -> Service:
        if self.socket_activation and self.port is None:
            raise ValueError("socket_activation needs `port`")
        names = [self.binary, *self.build.binaries]
        if len({name.lower() for name in names}) < len(names):
            raise ValueError(f"build.binaries: every binary needs a name of its own, got {', '.join(names)}")
        return self

    @field_validator("values")
    @classmethod
    def _no_secrets(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        found = next(iter(secret_values(value)), None)
        if found is not None:
            raise ValueError(
                f"{found} looks like a secret, and everybody on a target can read a file of a release: put it into "
                "unit.environment"
            )
        return value

    @property
    def binary(self) -> str:
        """File name of the binary."""
        return self.build.binary or self.name

    @property
    def home(self) -> str:
        """Root folder on a target."""
        return self.root or f"/opt/{self.name}"

    @property
    def user(self) -> str:
        """System user the service runs as."""
        return self.unit.user or self.name
