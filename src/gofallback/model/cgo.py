"""Services with C in them: which compiler, which libc, which libraries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from gofallback.model.base import Line, Strict, one_line

#: What a path in group data may name: the compiler's triple and the platform, so that one line serves them all.
PLACES = ("{triple}", "{platform}", "{sysroot}")


def _flag(value: str) -> str:
    one_line(value)
    if not value.strip():
        raise ValueError("should be one flag, such as -DNAME=1")
    if '"' in value and "'" in value:
        raise ValueError("should not hold both kinds of quotes: go has no way to pass that on (go help environment)")
    return value


def _program(value: str) -> str:
    one_line(value)
    if not value.strip() or '"' in value or "'" in value:
        raise ValueError("should be a program (its name or its path on the builder), without quotes")
    return value


Flag = Annotated[str, AfterValidator(_flag)]
Program = Annotated[str, AfterValidator(_program)]
GLIBC = r"^(auto|\d+\.\d+)$"


class Cgo(Strict):
    """cgo: the C compiler and what it is told. ``cgo: {}`` is Zig with its defaults (docs/cgo.md)."""

    compiler: Literal["zig", "gcc"] = Field(
        default="zig",
        description="zig: Zig's C compiler, pinned by toolchain.zig, for Linux on all common processors; gcc: a cross "
        "GCC that is on the builder, named by `cc`",
    )
    libc: Literal["gnu", "musl"] | None = Field(
        default=None, description="C library (zig only); default: musl for linkage static, gnu for linkage dynamic"
    )
    glibc: Annotated[str, Field(pattern=GLIBC)] = Field(
        default="auto",
        description='glibc a dynamic program may need at most, such as "2.31" (zig only); auto: the oldest of the '
        "targets that get the service",
    )
    cc: Program | None = Field(
        default=None,
        description="CC (gcc only): C compiler on the builder, a name or a path; {triple} is replaced, by "
        "x86_64-linux-gnu and the like",
    )
    cxx: Program | None = Field(default=None, description="CXX (gcc only): C++ compiler; {triple} is replaced")
    ar: Program | None = Field(default=None, description="AR (gcc only): archiver; {triple} is replaced")
    strip: Program | None = Field(
        default=None,
        description="STRIP (gcc only), for code that asks for it; what is built is stripped by build.strip",
    )
    version: Annotated[str, Field(pattern=r"^\d+(\.\d+)*$")] | None = Field(
        default=None,
        description="what `CC -dumpfullversion` has to answer, such as 12.2.0 (gcc only); part of the artifact's key",
    )
    cflags: list[Flag] = Field(
        default_factory=list,
        description="CFLAGS (CGO_CFLAGS), one flag each; {sysroot} is replaced; -O2 comes before them",
    )
    cppflags: list[Flag] = Field(
        default_factory=list, description="CPPFLAGS (CGO_CPPFLAGS): for C and C++ alike; {sysroot} is replaced"
    )
    cxxflags: list[Flag] = Field(
        default_factory=list, description="CXXFLAGS (CGO_CXXFLAGS), one flag each; {sysroot} is replaced"
    )
    ldflags: list[Flag] = Field(
        default_factory=list,
        description="LDFLAGS (CGO_LDFLAGS), one flag each, such as -lsqlite3; {sysroot} is replaced",
    )
    pkg_config: Program | None = Field(
        default=None, description="PKG_CONFIG: program on the builder, for `#cgo pkg-config:`; default: pkg-config"
    )
    pkg_config_path: list[Line] = Field(
        default_factory=list,
        description="PKG_CONFIG_PATH: folders of .pc files on the builder; {sysroot} is replaced; a sysroot's usual "
        "ones need not be named",
    )
    sysroot: Line | None = Field(
        default=None,
        description="SYSROOT: folder or archive (.tar, .tar.gz, .tar.xz, .zip) on the controller with headers and "
        "libraries below usr/, sent to the builder once; {platform} is replaced, by linux-amd64 and the like",
    )

    @field_validator("sysroot")
    @classmethod
    def _local(cls, value: str | None) -> str | None:
        if value is not None and ("://" in value or not value.strip()):
            raise ValueError("should be a path on the controller, absolute or relative to the project's folder")
        return value

    @model_validator(mode="after")
    def _one_compiler(self) -> Cgo:
        if self.compiler == "zig":
            given = [name for name in ("cc", "cxx", "ar", "strip", "version") if getattr(self, name) is not None]
            if given:
                raise ValueError(
                    f"{given[0]} is for a cross GCC, compiler is zig; set compiler: gcc, or remove {', '.join(given)}"
                )
            if self.libc == "musl" and self.glibc != "auto":
                raise ValueError(f'glibc "{self.glibc}" with libc musl: remove one of them')
            return self
        if self.cc is None:
            raise ValueError(
                'compiler gcc needs cc, such as cc: "{triple}-gcc": its name in PATH or its path on the builder'
            )
        if self.libc is not None or self.glibc != "auto":
            name = "libc" if self.libc is not None else "glibc"
            raise ValueError(f"{name} is for zig: a GCC links the C library of its sysroot; remove {name}")
        return self

    def libc_for(self, linkage: str) -> Literal["gnu", "musl"] | None:
        """The C library of a product; None: the one the named GCC has."""
        if self.compiler == "gcc":
            return None
        return self.libc or ("musl" if linkage == "static" else "gnu")
