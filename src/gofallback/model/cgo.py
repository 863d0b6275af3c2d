"""Services with C code: compiler, libc, libraries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from gofallback.model.base import Line, Strict, one_line


def _flag(value: str) -> str:
    one_line(value)
    if not value.strip():
        raise ValueError("should be one flag, such as -DNAME=1")
    if '"' in value and "'" in value:
        raise ValueError("should not hold both kinds of quotes: go cannot pass that on (go help environment)")
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
    """cgo: the C compiler and its flags. ``cgo: {}`` is Zig with its defaults (docs/cgo.md)."""

    compiler: Literal["zig", "gcc"] = Field(
        default="zig",
        description="zig: Zig's C compiler, pinned by toolchain.zig, for Linux on all common processors; gcc: the "
        "cross GCC `cc`, which is installed on the builder",
    )
    libc: Literal["gnu", "musl"] | None = Field(
        default=None, description="C library (zig only); default: musl for linkage static, gnu for linkage dynamic"
    )
    glibc: Annotated[str, Field(pattern=GLIBC)] = Field(
        default="auto",
        description='the newest glibc that a dynamic program may need, such as "2.31" (zig only); auto: the oldest of '
        "the service's targets",
    )
    cc: Program | None = Field(
        default=None,
        description="CC (gcc only): C compiler on the builder, a name or a path; {triple} is replaced, such as by "
        "x86_64-linux-gnu",
    )
    cxx: Program | None = Field(default=None, description="CXX (gcc only): C++ compiler; {triple} is replaced")
    ar: Program | None = Field(default=None, description="AR (gcc only): archiver; {triple} is replaced")
    strip: Program | None = Field(
        default=None,
        description="STRIP (gcc only), for code that uses it; the binary itself is stripped by build.strip",
    )
    version: Annotated[str, Field(pattern=r"^\d+(\.\d+)*$")] | None = Field(
        default=None,
        description="version that `CC -dumpfullversion` has to print, such as 12.2.0 (gcc only); part of the "
        "artifact's key",
    )
    cflags: list[Flag] = Field(
        default_factory=list,
        description="CFLAGS (CGO_CFLAGS), one flag per entry, after -O2; {sysroot} is replaced",
    )
    cppflags: list[Flag] = Field(
        default_factory=list, description="CPPFLAGS (CGO_CPPFLAGS): for C and C++; {sysroot} is replaced"
    )
    cxxflags: list[Flag] = Field(
        default_factory=list, description="CXXFLAGS (CGO_CXXFLAGS), one flag per entry; {sysroot} is replaced"
    )
    ldflags: list[Flag] = Field(
        default_factory=list,
        description="LDFLAGS (CGO_LDFLAGS), one flag per entry, such as -lsqlite3; {sysroot} is replaced",
    )
    pkg_config: Program | None = Field(
        default=None, description="PKG_CONFIG: program on the builder, for `#cgo pkg-config:`; default: pkg-config"
    )
    pkg_config_path: list[Line] = Field(
        default_factory=list,
        description="PKG_CONFIG_PATH: folders of .pc files on the builder, besides the usual ones of a sysroot; "
        "{sysroot} is replaced",
    )
    sysroot: Line | None = Field(
        default=None,
        description="SYSROOT: folder or archive (.tar, .tar.gz, .tar.xz, .zip) on the controller with headers and "
        "libraries below usr/, sent to the builder once; {platform} is replaced, such as by linux-amd64",
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
        """The C library of a product; None: that of the GCC."""
        if self.compiler == "gcc":
            return None
        return self.libc or ("musl" if linkage == "static" else "gnu")
