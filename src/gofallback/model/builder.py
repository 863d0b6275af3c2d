"""A host that builds, and its pinned toolchains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gofallback.model.base import BuilderRoot, EnvName, Line, Sha256, Strict
from gofallback.model.variables import builder_problem
from gofallback.model.wipe import Wipe

WINDOWS_ROOT = "C:\\gofallback"


class ToolchainPin(Strict):
    """One archive: version, address, and the SHA-256 it must have."""

    tool: Literal["go", "git", "zig"] = Field(description="which toolchain")
    version: Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")] = Field(description="exact version of the archive")
    os: Literal["windows", "linux"] = Field(default="windows", description="operating system of the builder")
    kind: Literal["zip", "msi", "tar"] = Field(
        default="zip",
        description="zip (also a wheel of PyPI), tar (.tar.gz, .tar.xz; Linux), or msi for msiexec /qn (Windows)",
    )
    arch: Literal["amd64", "arm64"] = Field(default="amd64", description="architecture of the builder")
    url: Annotated[str, Field(pattern=r"^(https|file)://\S+$")] = Field(description="address of the archive")
    sha256: Sha256 = Field(description="as the vendor publishes it; an archive with another one is never unpacked")

    @property
    def file_name(self) -> str:
        """Name of the archive in the caches."""
        return self.url.rsplit("/", 1)[-1]

    @model_validator(mode="after")
    def _fits(self) -> ToolchainPin:
        if self.kind == {"windows": "tar", "linux": "msi"}[self.os]:
            expected = "zip or msi" if self.os == "windows" else "tar or zip"
            raise ValueError(f"{self.tool} {self.version}: kind {self.kind} with os {self.os}; expected {expected}")
        return self


class Toolchain(Strict):
    """The versions that a builder has to have, and their pins."""

    go: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] = Field(
        description="Go of services without a version of their own"
    )
    git: Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")] = Field(
        description="Git for Windows; also of Linux builders without linux_git"
    )
    linux_git: Annotated[str, Field(pattern=r"^\d+(\.\d+)+$")] | None = Field(
        default=None, description="Git of Linux builders (its releases differ from those of Git for Windows)"
    )
    zig: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] | None = Field(
        default=None, description="Zig, the C compiler of services with cgo"
    )
    pins: list[ToolchainPin] = Field(description="the archives; every version in use needs one")

    def pin(self, tool: str, version: str, arch: str = "amd64", os: str = "windows") -> ToolchainPin | None:
        """The pin of a tool, or None."""
        found = (p for p in self.pins if (p.tool, p.version, p.arch, p.os) == (tool, version, arch, os))
        return next(found, None)

    def git_of(self, os: str) -> str:
        """Git's version on builders with that operating system."""
        return self.linux_git if os == "linux" and self.linux_git else self.git

    @model_validator(mode="after")
    def _pinned(self) -> Toolchain:
        in_use = [("go", self.go, ""), ("git", self.git, ""), ("git", self.linux_git, "linux"), ("zig", self.zig, "")]
        for tool, version, os in in_use:
            if version and not any((p.tool, p.version) == (tool, version) and os in ("", p.os) for p in self.pins):
                pinned = ", ".join(sorted({p.version for p in self.pins if p.tool == tool})) or "none"
                raise ValueError(f"{tool} {version} has no pin (pinned: {pinned}); add version, url and sha256 to pins")
        return self


class Builder(Strict):
    """A standby builder."""

    os: Literal["windows", "linux"] = Field(default="windows", description="operating system of the builder")
    root: BuilderRoot = Field(
        default=WINDOWS_ROOT,
        description="folder for everything of gofallback; short is better; required for Linux: a folder that the login "
        "may create and only the login may write to, such as /home/builder/gofallback",
    )
    delivery: Literal["push", "pull"] = Field(
        default="push",
        description="toolchains: push: the controller downloads once and uploads; pull: the builder downloads (curl, "
        "wget)",
    )
    use_installed: bool = Field(default=True, description="use a machine-wide Go or Git whose version matches")
    minimum_free_mb: Annotated[int, Field(ge=0)] = Field(
        default=2048, description="MB that have to be free on its disk when the run begins"
    )
    environment: dict[EnvName, Line] = Field(
        default_factory=dict,
        description="environment of every command there, for its network: HTTPS_PROXY, GOPROXY, ... No password, as it "
        "is part of command lines there, and nothing that changes the binary (GOFLAGS, GOAMD64, CGO_*, ...): that "
        "belongs in the service's `build`, which is part of the artifact's key",
    )
    parallel_platforms: Annotated[int, Field(ge=1, le=64)] | None = Field(
        default=None,
        description="binaries and platforms built at the same time, each with its share of the cores; default: the "
        "number of cores of the builder, at most 4",
    )
    detached: bool = Field(
        default=True,
        description="a build survives a lost connection and is followed again (docs/detached-builds.md); false: it "
        "ends with the connection",
    )
    wipe: Wipe = Field(default=Wipe(), description="the data that stays on it after its work (docs/wipe.md)")

    @field_validator("environment")
    @classmethod
    def _fits(cls, value: dict[str, str]) -> dict[str, str]:
        if problem := builder_problem(value):
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _rooted(self) -> Builder:
        if self.os == "linux" and self.root == WINDOWS_ROOT:
            raise ValueError(
                "root is missing: os is linux, where it has no default; name a folder that the login may create, such "
                "as /home/builder/gofallback,"
            )
        if self.root.startswith("/") != (self.os == "linux"):
            raise ValueError(f"root {self.root} is no path of os {self.os}; correct one of them")
        return self
