"""How the binaries of a service are built."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gofallback.model.base import EnvName, Line, RelativePath, Strict
from gofallback.model.binaries import Binary, BinaryName, GoVariable, PackagePattern, StampValue, every_package
from gofallback.model.cgo import Cgo
from gofallback.model.modules import ModuleSetting, PrivateModules, go_sum_problem, modules_problem
from gofallback.model.platform import Platform
from gofallback.model.variables import CGO, reserved_problem, secret_in


class Build(Strict):
    """How the binary is built. The defaults give the same bytes on Windows and on Linux."""

    package: RelativePath = Field(default=".", description="Go package of the main program, such as ./cmd/hello")
    directory: RelativePath = Field(default=".", description="folder of the module inside the repository")
    binary: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = Field(
        default=None, description="file name of the binary; default: the service's name"
    )
    binaries: dict[BinaryName, Binary] = Field(
        default_factory=dict,
        description="more binaries of the same module, by file name; they are beside the main binary in bin/, which "
        "the unit runs",
    )
    platforms: list[Platform] = Field(
        default_factory=list, description="platforms to build besides those of the targets"
    )
    tags: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]] = Field(
        default_factory=list, description="build tags (-tags)"
    )
    version_variable: Annotated[str, Field(pattern=r"^[\w./-]+\.\w+$")] | None = Field(
        default=None, description="Go variable stamped with the version by -X, such as main.version"
    )
    stamp: dict[GoVariable, StampValue] = Field(
        default_factory=dict, description="more -X values; {version} and {commit} are replaced"
    )
    strip: bool = Field(default=True, description="-s -w: no symbol table, no DWARF")
    generate: Annotated[list[PackagePattern], BeforeValidator(every_package)] = Field(
        default_factory=list,
        description="run `go generate` on the builder first, for these packages, such as ./internal/schema (true: "
        "./...), in the commit's tree, which is restored afterwards (docs/binaries-and-files.md)",
    )
    vet: bool = Field(default=False, description="go vet has to pass before the build")
    test: bool = Field(default=False, description="go test has to pass before the build, on the builder")
    go: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] | None = Field(
        default=None, description="Go version of this service; default: the builder's"
    )
    modules: ModuleSetting = Field(
        default="auto",
        description="vendor: vendor/ of the repository; controller: the controller sends them, the builder needs no "
        "network; download: the builder downloads; auto: see docs/modules.md",
    )
    private: PrivateModules = Field(
        default_factory=PrivateModules, description="modules that are not public: their servers and logins"
    )
    environment: dict[EnvName, Line] = Field(
        default_factory=dict, description="GOPRIVATE, GOPROXY, GONOSUMDB, GOFLAGS, GOEXPERIMENT, GOAMD64, ... for go"
    )
    timeout: Annotated[int, Field(ge=1, le=86400)] = Field(default=1800, description="seconds for one platform")
    linkage: Literal["static", "dynamic"] = Field(
        default="static", description="static: a binary that needs a shared library is refused"
    )
    cgo: Cgo | None = Field(default=None, description="compile C (CGO_ENABLED=1); default: no C, the binary is pure Go")

    @field_validator("environment")
    @classmethod
    def _not_ours(cls, value: dict[str, str]) -> dict[str, str]:
        if problem := reserved_problem(value):
            raise ValueError(problem)
        if secret := secret_in(value):
            raise ValueError(
                f"{secret} should not hold a password: it becomes part of the artifact's manifest, which goes to every "
                "target; a login for modules belongs in build.private.logins (docs/modules.md)"
            )
        if problem := go_sum_problem(value):
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _modules_fit(self) -> Build:
        if problem := modules_problem(self.modules, self.private, self.environment):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _cgo_fits(self) -> Build:
        if self.cgo is None:
            return self
        for name in self.environment:
            if name.upper() in CGO:
                raise ValueError(f"environment {name}: belongs in build.cgo (docs/cgo.md); move it there")
        libc = self.cgo.libc_for(self.linkage)
        if self.linkage == "static" and libc == "gnu":
            raise ValueError(
                "cgo.libc gnu with linkage static: Zig links glibc only dynamically; set linkage: dynamic, or "
                "cgo.libc: musl"
            )
        if libc == "musl" and self.cgo.glibc != "auto":
            raise ValueError(
                f'cgo.glibc "{self.cgo.glibc}" with linkage static, which is musl; set linkage: dynamic, or remove it'
            )
        if self.cgo.compiler == "gcc" and self.test:
            raise ValueError(
                "test: true with cgo.compiler gcc: tests run on the builder itself, which a cross compiler does not "
                "build for; set test: false, or compiler: zig"
            )
        return self
