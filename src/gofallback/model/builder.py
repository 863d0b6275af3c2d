"""A host that can build, and the pinned toolchains it gets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gofallback.model.base import EnvName, Line, Sha256, Strict, WindowsPath


class ToolchainPin(Strict):
    """One archive: version, where it is, and the SHA-256 it must have."""

    tool: Literal["go", "git"] = Field(description="which toolchain")
    version: Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")] = Field(description="exact version of the archive")
    kind: Literal["zip", "msi"] = Field(default="zip", description="archive, or installer for msiexec /qn")
    arch: Literal["amd64", "arm64"] = Field(default="amd64", description="architecture of the builder")
    url: Annotated[str, Field(pattern=r"^(https|file)://\S+$")] = Field(description="where the archive is")
    sha256: Sha256 = Field(description="what the vendor publishes; a wrong one stops before anything is unpacked")

    @property
    def file_name(self) -> str:
        """Name of the archive in the caches."""
        return self.url.rsplit("/", 1)[-1]


class Toolchain(Strict):
    """Which versions a builder has to have, and the table of pins they come from."""

    go: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] = Field(description="Go of services that name none")
    git: Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")] = Field(description="Git for Windows")
    pins: list[ToolchainPin] = Field(description="the archives; every version in use has to be here")

    def pin(self, tool: str, version: str, arch: str = "amd64") -> ToolchainPin | None:
        """The pin of one tool, or None."""
        found = (p for p in self.pins if (p.tool, p.version, p.arch) == (tool, version, arch))
        return next(found, None)

    @model_validator(mode="after")
    def _pinned(self) -> Toolchain:
        for tool, version in (("go", self.go), ("git", self.git)):
            if not any((p.tool, p.version) == (tool, version) for p in self.pins):
                have = ", ".join(sorted(p.version for p in self.pins if p.tool == tool)) or "none"
                raise ValueError(f"{tool} {version} has no pin (pinned: {have}); add version, url and sha256 to pins")
        return self


class Builder(Strict):
    """A standby builder."""

    os: Literal["windows"] = Field(default="windows", description="operating system of the builder")
    root: WindowsPath = Field(default="C:\\gofallback", description="everything of ours lies below it; short is better")
    delivery: Literal["push", "pull"] = Field(
        default="push",
        description="push: the controller downloads once and uploads; pull: the builder downloads with curl.exe",
    )
    use_installed: bool = Field(default=True, description="use a machine-wide Go or Git whose version matches")
    minimum_free_mb: Annotated[int, Field(ge=0)] = Field(
        default=2048, description="MB that have to be free on its disk before the run begins"
    )
    environment: dict[EnvName, Line] = Field(
        default_factory=dict, description="environment of every command there, such as HTTPS_PROXY"
    )
    parallel_platforms: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="platforms that are built at the same time"
    )
