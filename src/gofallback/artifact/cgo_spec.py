"""The C compiler's part of a build spec: fields that decide the bytes, and the link flags made of them. Pure."""

from __future__ import annotations

import re
from typing import Literal

from gofallback.model.base import Strict


class CgoSpec(Strict):
    """What the C compiler decides of the bytes. A part of `gofallback.artifact.spec.BuildSpec`."""

    compiler: Literal["zig", "gcc"]
    version: str = ""
    """Version of Zig; of GCC where group data names it."""
    target: str = ""
    """Zig's triple with the version of glibc; empty for GCC, whose name contains it."""
    cc: str = ""
    """Programs of a GCC, with {triple} already replaced."""
    cxx: str = ""
    ar: str = ""
    strip: str = ""
    cflags: tuple[str, ...] = ()
    cppflags: tuple[str, ...] = ()
    cxxflags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    pkg_config: str = ""
    pkg_config_path: tuple[str, ...] = ()
    sysroot: str = ""
    """SHA-256 that names the sysroot's content (`gofallback.controller.sysroot`); empty: no sysroot."""

    @property
    def name(self) -> str:
        """The compiler's name for people: ``zig``, or the program of a GCC."""
        return "zig" if self.compiler == "zig" else self.cc

    @property
    def libc(self) -> str:
        """``gnu`` or ``musl``; empty for GCC."""
        found = re.search(r"-(gnu|musl)", self.target)
        return found.group(1) if found else ""

    @property
    def glibc(self) -> str:
        """Version of glibc the binary is linked for, or empty."""
        return self.target.partition(".")[2]


def link_flags(cgo: CgoSpec, linkage: str) -> list[str]:
    """Words of ``-ldflags`` that make the C compiler link, whatever Go would choose."""
    if linkage == "static":
        return ["-linkmode=external", "-extldflags=-static"]
    # Zig links musl statically by default.
    return ["-linkmode=external", *(["-extldflags=-dynamic"] if cgo.libc == "musl" else [])]
