"""A host that can build, and the pinned toolchains it gets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gofallback.model.base import BuilderRoot, EnvName, Line, Sha256, Strict
from gofallback.model.variables import unfit_for_builder
from gofallback.model.wipe import Wipe

WINDOWS_ROOT = "C:\\gofallback"


class ToolchainPin(Strict):
    """One archive: version, where it is, and the SHA-256 it must have."""

    tool: Literal["go", "git", "zig"] = Field(description="which toolchain")
    version: Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")] = Field(description="exact version of the archive")
    os: Literal["windows", "linux"] = Field(default="windows", description="operating system of the builder")
    kind: Literal["zip", "msi", "tar"] = Field(
        default="zip",
        description="zip (a wheel of PyPI is one), tar (.tar.gz, .tar.xz; Linux), or msi for msiexec /qn (Windows)",
    )
    arch: Literal["amd64", "arm64"] = Field(default="amd64", description="architecture of the builder")
    url: Annotated[str, Field(pattern=r"^(https|file)://\S+$")] = Field(description="where the archive is")
    sha256: Sha256 = Field(description="what the vendor publishes; a wrong one stops before anything is unpacked")

    @property
    def file_name(self) -> str:
        """Name of the archive in the caches."""
        return self.url.rsplit("/", 1)[-1]

    @model_validator(mode="after")
    def _fits(self) -> ToolchainPin:
        wrong = {"windows": "tar", "linux": "msi"}[self.os]
        if self.kind == wrong:
            fitting = "zip or msi" if self.os == "windows" else "tar or zip"
            raise ValueError(f"{self.tool} {self.version}: kind {self.kind} with os {self.os}; expected {fitting}")
        return self


class Toolchain(Strict):
    """Which versions a builder has to have, and the table of pins they come from."""

    go: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] = Field(description="Go of services that name none")
    git: Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")] = Field(
        description="Git for Windows; on a Linux builder too, unless linux_git says otherwise"
    )
    linux_git: Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")] | None = Field(
        default=None, description="Git of Linux builders (its releases are not those of Git for Windows)"
    )
    zig: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] | None = Field(
        default=None, description="Zig, as C compiler of services with cgo"
    )
    pins: list[ToolchainPin] = Field(description="the archives; every version in use has to be here")

    def pin(self, tool: str, version: str, arch: str = "amd64", os: str = "windows") -> ToolchainPin | None:
        """The pin of one tool, or None."""
        found = (p for p in self.pins if (p.tool, p.version, p.arch, p.os) == (tool, version, arch, os))
        return next(found, None)

    def git_of(self, os: str) -> str:
        """Git's version on builders with that operating system."""
        return self.linux_git if os == "linux" and self.linux_git else self.git

    @model_validator(mode="after")
    def _pinned(self) -> Toolchain:
        wanted = [("go", self.go, ""), ("git", self.git, ""), ("git", self.linux_git, "linux"), ("zig", self.zig, "")]
        for tool, version, os in wanted:
            if version and not any((p.tool, p.version) == (tool, version) and os in ("", p.os) for p in self.pins):
                have = ", ".join(sorted({p.version for p in self.pins if p.tool == tool})) or "none"
                raise ValueError(f"{tool} {version} has no pin (pinned: {have}); add version, url and sha256 to pins")
        return self


class Builder(Strict):
    """A standby builder."""

    os: Literal["windows", "linux"] = Field(default="windows", description="operating system of the builder")
    root: BuilderRoot = Field(
        default=WINDOWS_ROOT,
        description="everything of ours lies below it; short is better; has to be given for Linux: a folder that the "
        "login may make and nobody else may write in, such as /home/builder/gofallback",
    )
    delivery: Literal["push", "pull"] = Field(
        default="push",
        description="push: the controller downloads once and uploads; pull: the builder downloads (curl, wget)",
    )
    use_installed: bool = Field(default=True, description="use a machine-wide Go or Git whose version matches")
    minimum_free_mb: Annotated[int, Field(ge=0)] = Field(
        default=2048, description="MB that have to be free on its disk before the run begins"
    )
    environment: dict[EnvName, Line] = Field(
        default_factory=dict,
        description="environment of every command there: how it reaches others, such as HTTPS_PROXY or GOPROXY. No "
        "password, as it stands in command lines there, and nothing that decides what is built (GOFLAGS, GOAMD64, "
        "CGO_*, ...): that belongs to the service's `build`, whose key it is part of",
    )
    parallel_platforms: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None,
        description="binaries and platforms that are built at the same time, each with its share of the cores; "
        "default: as many as the builder has cores, at most 4",
    )
    detached: bool = Field(
        default=True,
        description="a build outlives its connection and is taken up again (docs/detached-builds.md); "
        "false: it ends with it",
    )
    wipe: Wipe = Field(default=Wipe(), description="what stays there when the work is done (docs/wipe.md)")

    @field_validator("environment")
    @classmethod
    def _fits(cls, value: dict[str, str]) -> dict[str, str]:
        if trouble := unfit_for_builder(value):
            raise ValueError(trouble)
        return value

    @model_validator(mode="after")
    def _rooted(self) -> Builder:
        if self.os == "linux" and self.root == WINDOWS_ROOT:
            raise ValueError(
                "root is missing: os is linux, where it has no default; give a folder that the login may make, such as "
                "/home/builder/gofallback,"
            )
        if self.root.startswith("/") != (self.os == "linux"):
            raise ValueError(f"root {self.root} is no path of os {self.os}; correct one of them")
        return self
