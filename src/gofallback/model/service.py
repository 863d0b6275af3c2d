"""A service: where its source is, how it is built, how it runs, when it is healthy."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, field_validator, model_validator

from gofallback.model.base import AbsolutePath, EnvName, Line, Name, RelativePath, Strict, one_line
from gofallback.model.binaries import (
    Archives,
    Binary,
    BinaryName,
    GoVariable,
    PackagePattern,
    ReleaseFile,
    ReleasePath,
    StampValue,
    every_package,
    secret_values,
)
from gofallback.model.cgo import Cgo
from gofallback.model.health import Health, Port
from gofallback.model.modules import ModuleWay, PrivateModules, clash, weakens
from gofallback.model.platform import Platform
from gofallback.report.redact import names_secret, secrets_in


def _ref(value: str) -> str:
    one_line(value)
    if not value or value.startswith("-") or re.search(r"[\s~^:?*\[\\]|\.\.|@\{", value):
        raise ValueError("should be a branch, a tag or a commit SHA (git-check-ref-format(1))")
    return value


def _repository(value: str) -> str:
    one_line(value)
    if re.match(r"^(https?|ssh|git|file)://", value):
        if re.match(r"^https?://[^/@]*:[^/@]*@", value):
            raise ValueError("should not hold a password; use an ssh key or a git credential helper on the controller")
        return value
    if value.startswith("/") or re.match(r"^[\w.-]+@[\w.-]+:[^:]+$", value):
        return value
    raise ValueError("should be ssh://, https://, file://, user@host:path or an absolute path")


class Source(Strict):
    """Which commit."""

    repository: Annotated[str, AfterValidator(_repository)] = Field(
        description="ssh://, https://, file://, user@host:path or an absolute path; read by the controller"
    )
    ref: Annotated[str, AfterValidator(_ref)] = Field(default="main", description="branch, tag or commit SHA")
    submodules: bool = Field(default=False, description="fetch submodules too, all levels")
    delivery: Literal["bundle", "clone"] = Field(
        default="bundle",
        description="bundle: the builder needs no git server and no credential; clone: the builder clones it itself",
    )


#: Variables that ``build.cgo`` sets.
_CGO_NAMES = frozenset(
    {
        *("CC", "CXX", "AR", "STRIP", "CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_LDFLAGS"),
        *("PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "PKG_CONFIG_SYSROOT_DIR"),
    }
)


class Build(Strict):
    """How the binary is made. The defaults give the same bytes on Windows and on Linux."""

    package: RelativePath = Field(default=".", description="Go package of the main program, such as ./cmd/hello")
    directory: RelativePath = Field(default=".", description="folder of the module inside the repository")
    binary: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = Field(
        default=None, description="file name of the binary; default: the service's name"
    )
    binaries: dict[BinaryName, Binary] = Field(
        default_factory=dict,
        description="further binaries of the same module, by file name; they lie beside the main one in bin/, which is "
        "the one that the unit runs",
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
        default_factory=dict, description="further -X values; {version} and {commit} are replaced"
    )
    strip: bool = Field(default=True, description="-s -w: no symbol table, no DWARF")
    generate: Annotated[list[PackagePattern], BeforeValidator(every_package)] = Field(
        default_factory=list,
        description="run `go generate` on the builder first, over these packages, such as ./internal/schema (true: "
        "./...), in the commit's tree, which is put back (docs/binaries-and-files.md)",
    )
    vet: bool = Field(default=False, description="go vet has to pass before the build")
    test: bool = Field(default=False, description="go test has to pass before the build, on the builder")
    go: Annotated[str, Field(pattern=r"^\d+\.\d+(\.\d+)?$")] | None = Field(
        default=None, description="Go version of this service; default: the builder's"
    )
    modules: ModuleWay = Field(
        default="auto",
        description="vendor: vendor/ of the repository; controller: the controller brings them, the builder asks "
        "nobody; download: the builder downloads; auto: see docs/modules.md",
    )
    private: PrivateModules = Field(
        default_factory=PrivateModules, description="modules that are not public: where they are and who logs in"
    )
    environment: dict[EnvName, Line] = Field(
        default_factory=dict, description="GOPRIVATE, GOPROXY, GONOSUMDB, GOFLAGS, GOEXPERIMENT, GOAMD64, ... for go"
    )
    timeout: Annotated[int, Field(ge=1, le=86400)] = Field(default=1800, description="seconds for one platform")
    linkage: Literal["static", "dynamic"] = Field(
        default="static", description="static: a binary that needs any shared library is refused"
    )
    cgo: Cgo | None = Field(default=None, description="compile C (CGO_ENABLED=1); default: no C, the binary is pure Go")

    @field_validator("environment")
    @classmethod
    def _not_ours(cls, value: dict[str, str]) -> dict[str, str]:
        ours = {
            "CGO_ENABLED",
            "GOOS",
            "GOARCH",
            "GOROOT",
            "GOTOOLCHAIN",
            "GOCACHE",
            "GOMODCACHE",
            "GOTMPDIR",
            "GOPATH",
            "PATH",
        }
        for key in value:
            if key.upper() in ours:
                raise ValueError(f"{key} is set by gofallback; remove it")
            if names_secret(key, sure=True) or any(secrets_in(value[key])):
                raise ValueError(
                    f"{key} should not hold a password: it becomes part of the artifact's manifest, which every target "
                    "gets; a login for modules belongs in build.private.logins (docs/modules.md)"
                )
        if trouble := weakens(value):
            raise ValueError(trouble)
        return value

    @model_validator(mode="after")
    def _modules_fit(self) -> Build:
        if trouble := clash(self.modules, self.private, self.environment):
            raise ValueError(trouble)
        return self

    @model_validator(mode="after")
    def _cgo_fits(self) -> Build:
        if self.cgo is None:
            return self
        for name in self.environment:
            if name in _CGO_NAMES:
                raise ValueError(f"environment {name}: belongs into build.cgo (docs/cgo.md); move it there")
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


#: Directives of the hardening profile and their values (systemd.exec(5)); a service relaxes one by naming it.
HARDENING: dict[str, str] = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectProc": "invisible",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "CapabilityBoundingSet": "",
    "UMask": "0077",
}

Size = Annotated[str, Field(pattern=r"^(\d+[KMGT]?|infinity)$")]


class Unit(Strict):
    """The systemd unit. Values only: the template decides nothing."""

    description: Line | None = Field(default=None, description="Description=; default: the service's name")
    type: Literal["simple", "exec", "notify"] = Field(default="exec", description="Type= (systemd.service(5))")
    user: Name | None = Field(default=None, description="system user; default: the service's name")
    arguments: list[Line] = Field(default_factory=list, description="arguments of the binary")
    environment: dict[EnvName, Line] = Field(default_factory=dict, description="written to the environment file")
    working_directory: AbsolutePath | None = Field(default=None, description="WorkingDirectory=")
    after: list[Line] = Field(
        default_factory=lambda: ["network-online.target"], description="units that are started before it (After=)"
    )
    restart: Literal["no", "on-failure", "always"] = Field(default="on-failure", description="Restart=")
    restart_seconds: Annotated[float, Field(ge=0.1, le=600)] = Field(
        default=1.0, description="seconds between its end and the next start (RestartSec=)"
    )
    stop_timeout: Annotated[int, Field(ge=1, le=3600)] = Field(default=20, description="seconds until SIGKILL")
    memory_max: Size | None = Field(default=None, description="MemoryMax=")
    tasks_max: Annotated[int, Field(ge=1)] | None = Field(default=None, description="TasksMax=: processes and threads")
    cpu_quota: Annotated[str, Field(pattern=r"^\d+%$")] | None = Field(
        default=None, description="CPUQuota=: 100% is one core"
    )
    open_files: Annotated[int, Field(ge=16)] | None = Field(default=None, description="LimitNOFILE=")
    relax: list[str] = Field(default_factory=list, description="directives of the hardening profile to leave out")
    directives: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+$")], Line] = Field(
        default_factory=dict, description="further [Service] directives; these win over the profile"
    )

    @field_validator("relax")
    @classmethod
    def _known_directive(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in HARDENING:
                raise ValueError(
                    f"should name directives of the hardening profile ({', '.join(HARDENING)}), not {name!r}"
                )
        return value


class Service(Strict):
    """One service, one file in ``group_data/services/``."""

    name: Name = Field(description="also the name of the unit; default: the name of the YAML file")
    source: Source = Field(description="which commit")
    build: Build = Field(default_factory=Build, description="how the binary is made")
    unit: Unit = Field(default_factory=Unit, description="how it runs")
    health: Health = Field(description="when it is well")
    port: Port | None = Field(default=None, description="TCP port it listens on: unique among the services")
    socket_activation: bool = Field(
        default=False,
        description="systemd listens on `port` and hands it over, so that a restart refuses no connection",
    )
    smoke: list[Line] = Field(
        default_factory=list,
        description="arguments for the binary that must succeed on the first target before the switch",
    )
    smoke_expect: Line | None = Field(
        default=None, description="RE2/Python pattern the smoke command must print; {version} is replaced"
    )
    extra_files: dict[RelativePath, str] = Field(
        default_factory=dict, description="text files put into conf/ (name: content)"
    )
    files: dict[ReleasePath, ReleaseFile] = Field(
        default_factory=dict,
        description="files of a release, by where they go: lib/..., conf/...; with `/` at its end a folder that keeps "
        "names (docs/binaries-and-files.md)",
    )
    values: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="what templates of `files` know as `values`; service_overrides change single ones. No secrets",
    )
    archives: Archives = Field(
        default_factory=Archives, description="what `gofallback archive` makes of a version for download"
    )
    keep_releases: Annotated[int, Field(ge=2, le=100)] = Field(
        default=5, description="releases that stay on a target, besides current, previous and last-known-good"
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
                f"{found} sounds like a secret, and everybody on a target can read a file of a release: put it into "
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
